"""`margin_smoothing_ce`: cross-entropy for probabilities that mean what they say, by logits that stay together."""

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import weighted_mean
from segkit.losses.criteria import MarginSmoothingCrossEntropy, pixel_margin_smoothing
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.registry import LOSSES
from segkit.types import ClassWeights, NonNegativeFloat


@LOSSES.register("margin_smoothing_ce")
def margin_smoothing_ce(
    num_classes: int,
    ignore_index: int = 255,
    *,
    margin: NonNegativeFloat = 10.0,
    strength: NonNegativeFloat = 0.1,
    class_weights: ClassWeights | None = None,
    scope: ScopeName = "batch",
) -> PixelLoss:
    """Cross-entropy + strength x what logits exceed a margin by: the mean over valid pixels."""
    criterion = MarginSmoothingCrossEntropy(
        num_classes, ignore_index, margin=margin, strength=strength, class_weights=class_weights
    )
    return PixelLoss(criterion, All(), weighted_mean, name="margin_smoothing_ce", scope=scope)


def margin_smoothing_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    margin: float = 10.0,
    strength: float = 0.1,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    scope: ScopeName = "batch",
) -> Tensor:
    """sum_V a_t (ce + strength sum_k max(0, max_j z_j - z_k - margin)) / sum_V a_t, as a 0-d tensor.

    A weight map multiplies both sums. `margin` and `strength` >= 0. After Liu et al. 2022. Inputs and errors as for
    `pixel_margin_smoothing`.
    """
    values = pixel_margin_smoothing(
        logits,
        target,
        margin=margin,
        strength=strength,
        ignore_index=ignore_index,
        class_weights=class_weights,
    )
    return compose(values, All(), weighted_mean, weight, scope=scope)
