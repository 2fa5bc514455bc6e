"""`spatial_smoothing_ce`: cross-entropy whose labels are unsure where the pixels around are of other classes."""

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import weighted_mean
from segkit.losses.criteria import SpatialSmoothingCrossEntropy, pixel_spatial_smoothing
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.registry import LOSSES
from segkit.types import ClassWeights, PositiveFloat, Radius


@LOSSES.register("spatial_smoothing_ce")
def spatial_smoothing_ce(
    num_classes: int,
    ignore_index: int = 255,
    *,
    sigma: PositiveFloat = 1.0,
    radius: Radius = 1,
    class_weights: ClassWeights | None = None,
    scope: ScopeName = "batch",
) -> PixelLoss:
    """Cross-entropy with labels smoothed over neighbouring pixels: the mean over valid pixels."""
    criterion = SpatialSmoothingCrossEntropy(
        num_classes, ignore_index, sigma=sigma, radius=radius, class_weights=class_weights
    )
    return PixelLoss(criterion, All(), weighted_mean, name="spatial_smoothing_ce", scope=scope)


def spatial_smoothing_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    sigma: float = 1.0,
    radius: int = 1,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    scope: ScopeName = "batch",
) -> Tensor:
    """sum_V sum_c a_c y_c (-log p_c) / sum_V a_t, as a 0-d tensor, y the labels smoothed by a Gaussian.

    A weight map multiplies both sums. `sigma` > 0 in pixels, `radius` from 0, which is cross-entropy, to 10. After
    Islam and Glocker 2021. Inputs and errors as for `pixel_spatial_smoothing`.
    """
    values = pixel_spatial_smoothing(
        logits, target, sigma=sigma, radius=radius, ignore_index=ignore_index, class_weights=class_weights
    )
    return compose(values, All(), weighted_mean, weight, scope=scope)
