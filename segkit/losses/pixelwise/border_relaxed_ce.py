"""`border_relaxed_ce`: cross-entropy that is content with any class of the pixels around, at a border."""

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import weighted_mean
from segkit.losses.criteria import BorderRelaxedCrossEntropy, pixel_border_relaxed
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.registry import LOSSES
from segkit.types import ClassWeights, Radius


@LOSSES.register("border_relaxed_ce")
def border_relaxed_ce(
    num_classes: int,
    ignore_index: int = 255,
    *,
    radius: Radius = 1,
    class_weights: ClassWeights | None = None,
    scope: ScopeName = "batch",
) -> PixelLoss:
    """-log of the probability of all classes near the pixel: the mean over valid pixels."""
    criterion = BorderRelaxedCrossEntropy(
        num_classes, ignore_index, radius=radius, class_weights=class_weights
    )
    return PixelLoss(criterion, All(), weighted_mean, name="border_relaxed_ce", scope=scope)


def border_relaxed_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    radius: int = 1,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    scope: ScopeName = "batch",
) -> Tensor:
    """sum_V a_t (-log sum_{c in W} p_c) / sum_V a_t, as a 0-d tensor, W the classes within `radius` rows and columns.

    A weight map multiplies both sums. `radius` from 0, which is cross-entropy, to 10. After Zhu et al. 2019. Inputs and
    errors as for `pixel_border_relaxed`.
    """
    values = pixel_border_relaxed(
        logits, target, radius=radius, ignore_index=ignore_index, class_weights=class_weights
    )
    return compose(values, All(), weighted_mean, weight, scope=scope)
