"""Criterion `bce`: binary cross-entropy per pixel, of one logit."""

import torch
from torch import Tensor, nn

from segkit.losses.criteria.inputs import show_shape
from segkit.losses.criteria.pixel_cross_entropy import pixel_cross_entropy, require_reference
from segkit.losses.criteria.values import (
    PixelValues,
    check_label_smoothing,
    describe_cross_entropy,
    read_class_weights,
)
from segkit.losses.kernels import BackendName, check_backend
from segkit.registry import CRITERIA
from segkit.types import ClassWeights, Fractional


@CRITERIA.register("bce")
class BinaryCrossEntropy(nn.Module):
    """Binary cross-entropy per pixel: one logit, for two classes.

    `class_weights`: two numbers >= 0, for class 0 and class 1. `label_smoothing` in [0, 1). `backend`: see `kernels`.
    Raises ValueError otherwise, and unless there are two classes. The formula is that of
    `pixel_binary_cross_entropy`.
    """

    #: Channels of the logits, for whoever builds the model.
    logits_channels = 1

    def __init__(
        self,
        num_classes: int = 2,
        ignore_index: int = 255,
        *,
        class_weights: ClassWeights | None = None,
        label_smoothing: Fractional = 0.0,
        backend: BackendName = "auto",
    ):
        super().__init__()
        if num_classes != 2:
            raise ValueError(f"one logit tells two classes apart, but there are {num_classes}: use ce")
        check_label_smoothing(label_smoothing)
        self.backend = check_backend(backend)
        if label_smoothing:
            require_reference(backend, "label_smoothing")
        self.num_classes, self.ignore_index, self.label_smoothing = num_classes, ignore_index, label_smoothing
        weights = read_class_weights(class_weights, num_classes)
        self.register_buffer("class_weights", weights, persistent=False)  # follows the device, is not saved

    def forward(self, logits: Tensor, target: Tensor) -> PixelValues:
        """Logits (N, 1, *any), target (N, *spatial) or (N, 2, *spatial) -> values (N, *spatial)."""
        return pixel_binary_cross_entropy(
            logits,
            target,
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
            backend=self.backend,
        )

    def describe(self) -> str:
        """The options that differ from plain binary cross-entropy, for one line on the console."""
        return describe_cross_entropy(self.class_weights, self.label_smoothing)


def pixel_binary_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    backend: str = "auto",
) -> PixelValues:
    """Binary cross-entropy of every pixel: -a_1 y log sigmoid(z) - a_0 (1 - y) log sigmoid(-z).

    `logits` z (N, 1, *any) floating point. `target` is class ids 0 and 1 (N, *spatial), or soft labels
    (N, 2, *spatial). It is the cross-entropy of the two logits [0, z], whose softmax is [1 - sigmoid(z),
    sigmoid(z)], so that all else is as in `pixel_cross_entropy`.
    """
    if logits.ndim > 1 and logits.shape[1] != 1:
        raise ValueError(f"logits {show_shape(logits)} must have one channel in dimension 1, for class 1")
    if target.is_floating_point() and 1 < target.ndim == logits.ndim and target.shape[1] != 2:
        raise ValueError(
            f"soft labels of two classes are (N, 2, ...), one for class 0 and one for class 1, but the target has "
            f"shape {show_shape(target)}; class ids must be integers: target.long()"
        )
    return pixel_cross_entropy(
        two_class_logits(logits),
        target,
        ignore_index=ignore_index,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
        backend=backend,
    )


def two_class_logits(logits: Tensor) -> Tensor:
    """One logit z (N, 1, ...) as the two logits [0, z] (N, 2, ...) of the same probabilities."""
    if logits.ndim < 2:
        return logits  # refused, with its own message, by what takes it
    return torch.cat([torch.zeros_like(logits), logits], dim=1)
