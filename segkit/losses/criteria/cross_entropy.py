"""Criterion `ce`: cross-entropy per pixel."""

from torch import Tensor, nn

from segkit.losses.criteria.pixel_cross_entropy import pixel_cross_entropy, require_reference
from segkit.losses.criteria.values import (
    PixelValues,
    check_channels,
    check_label_smoothing,
    describe_cross_entropy,
    read_class_weights,
)
from segkit.losses.kernels import BackendName, check_backend
from segkit.registry import CRITERIA
from segkit.types import ClassWeights, Fractional


@CRITERIA.register("ce")
class CrossEntropy(nn.Module):
    """Cross-entropy per pixel, with class weights and label smoothing.

    `class_weights`: one number >= 0 per class. `label_smoothing` in [0, 1). `backend`: see `kernels`. Raises
    ValueError otherwise. The formula and what it takes are those of `pixel_cross_entropy`.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        *,
        class_weights: ClassWeights | None = None,
        label_smoothing: Fractional = 0.0,
        backend: BackendName = "auto",
    ):
        super().__init__()
        check_label_smoothing(label_smoothing)
        self.backend = check_backend(backend)
        if label_smoothing:
            require_reference(backend, "label_smoothing")
        self.num_classes, self.ignore_index, self.label_smoothing = num_classes, ignore_index, label_smoothing
        # A buffer, to follow the module to its device; not saved, because the weights are configuration.
        weights = read_class_weights(class_weights, num_classes)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> PixelValues:
        """Logits (N, C, *any), target (N, *spatial) or (N, C, *spatial) -> values (N, *spatial)."""
        check_channels(logits, self.num_classes)
        return pixel_cross_entropy(
            logits,
            target,
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
            backend=self.backend,
        )

    def describe(self) -> str:
        """The options that differ from plain cross-entropy, for one line on the console."""
        return describe_cross_entropy(self.class_weights, self.label_smoothing)
