"""Criterion `margin_smoothing_ce`: cross-entropy that holds logits together which are further apart than a margin."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from segkit.losses.criteria.comparison import compare_by_numba
from segkit.losses.criteria.inputs import read_inputs
from segkit.losses.criteria.pixel_cross_entropy import values_of
from segkit.losses.criteria.values import (
    PixelValues,
    check_channels,
    describe_cross_entropy,
    read_class_weights,
)
from segkit.registry import CRITERIA
from segkit.types import ClassWeights, NonNegativeFloat

if TYPE_CHECKING:
    from segkit.losses.kernels.cpu.criteria import Criterion


@CRITERIA.register("margin_smoothing_ce")
class MarginSmoothingCrossEntropy(nn.Module):
    """Cross-entropy + strength x what the logits of a pixel exceed a margin by; selections rank plain ce.

    `margin` >= 0 and `strength` >= 0; a strength of 0 is cross-entropy. `class_weights`: one number >= 0 per class,
    which multiplies both. Raises ValueError otherwise. The formula is that of `pixel_margin_smoothing`.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        *,
        margin: NonNegativeFloat = 10.0,
        strength: NonNegativeFloat = 0.1,
        class_weights: ClassWeights | None = None,
    ):
        super().__init__()
        check_margin(margin, strength)
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.margin, self.strength = margin, strength
        weights = read_class_weights(class_weights, num_classes)
        self.register_buffer("class_weights", weights, persistent=False)  # follows the device, is not saved

    def forward(self, logits: Tensor, target: Tensor) -> PixelValues:
        """Logits (N, C, *any), target (N, *spatial) or (N, C, *spatial) -> values (N, *spatial)."""
        check_channels(logits, self.num_classes)
        return pixel_margin_smoothing(
            logits,
            target,
            margin=self.margin,
            strength=self.strength,
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
        )

    def describe(self) -> str:
        """The options, for one line on the console."""
        options = f"margin {self.margin:g}  strength {self.strength:g}"
        weights = describe_cross_entropy(self.class_weights, 0.0)
        return "  ".join(part for part in (options, weights) if part)


def pixel_margin_smoothing(
    logits: Tensor,
    target: Tensor,
    *,
    margin: float = 10.0,
    strength: float = 0.1,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
) -> PixelValues:
    """a_t (ce + strength sum_k max(0, max_j z_j - z_k - margin)) of every pixel, z its logits.

    After Liu et al. 2022 (The devil is in the margin: margin-based label smoothing for network calibration). Where two
    classes are both the largest, they share the gradient of the maximum. Inputs and errors as for
    `pixel_cross_entropy`; of soft labels y, a_t is sum_c a_c y_c.
    """
    check_margin(margin, strength)

    def make() -> "Criterion":
        from segkit.losses.kernels.cpu import criteria  # imports numba

        return criteria.margin(target, margin=margin, strength=strength)

    fused = compare_by_numba(logits, target, make, ignore_index=ignore_index, class_weights=class_weights)
    if fused is not None:
        return fused
    inputs = read_inputs(logits, target, ignore_index=ignore_index)
    values = values_of(inputs, ignore_index, class_weights=class_weights)
    # Differences of logits are those of log-probabilities, which pass no gradient to ignored pixels.
    distance = inputs.log_p.amax(dim=1, keepdim=True) - inputs.log_p  # (N, C, *spatial)
    excess = torch.relu(distance - margin).sum(dim=1)
    penalty = strength * torch.where(values.valid, excess, 0.0)
    return values.with_value(
        values.value + (penalty if class_weights is None else penalty * values.class_weight)
    )


def check_margin(margin: float, strength: float) -> None:
    """Raises ValueError that names the option unless both are finite numbers >= 0."""
    for name, value in (("margin", margin), ("strength", strength)):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} must be a number >= 0, got {value}")
