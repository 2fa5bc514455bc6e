"""`tversky`: overlap of predicted and true regions, with a price for each kind of error."""

from functools import partial

from torch import Tensor

from segkit.losses.common.region import (
    Classes,
    RegionLoss,
    Regions,
    check_classes,
    check_factor,
    choose_region_scope,
    overlap,
    read_regions,
    region_mean,
)
from segkit.losses.criteria import read_inputs
from segkit.losses.scope import RegionScopeName
from segkit.registry import LOSSES
from segkit.types import NonNegativeFloat


@LOSSES.register("tversky")
def tversky(
    num_classes: int,
    ignore_index: int = 255,
    *,
    alpha: NonNegativeFloat = 0.3,
    beta: NonNegativeFloat = 0.7,
    smooth: NonNegativeFloat = 1.0,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
) -> RegionLoss:
    """Tversky loss: soft overlap in which false positives count alpha and false negatives beta."""
    for key, value in (("alpha", alpha), ("beta", beta), ("smooth", smooth)):
        check_factor(value, name=key)
    return RegionLoss(
        num_classes,
        ignore_index,
        partial(class_tversky, alpha=alpha, beta=beta, smooth=smooth),
        classes=classes,
        scope=scope,
        name="tversky",
        details=f"alpha {alpha:g}  beta {beta:g}  smooth {smooth:g}",
    )


def tversky_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 1.0,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
    ignore_index: int = 255,
) -> Tensor:
    """The mean over classes of 1 - (I_c + smooth) / (I_c + alpha FP_c + beta FN_c + smooth), as a 0-d tensor, with
    I_c = sum_V m p_c y_c, FP_c = sum_V m p_c (1 - y_c) and FN_c = sum_V m (1 - p_c) y_c over the batch.

    p = softmax(logits), y one-hot or soft labels, m the weight map or 1. `alpha = beta = 0.5` is Dice with twice the
    smooth, `alpha = beta = 1` is Jaccard. `classes`: those with a valid pixel ("present"), or "all". Inputs and
    errors as for `pixel_cross_entropy`. After Salehi et al. 2017 (Tversky loss function for image segmentation using
    3D fully convolutional deep networks).
    """
    inputs = read_inputs(logits, target, ignore_index=ignore_index)
    form = partial(
        class_tversky,
        alpha=check_factor(alpha, name="alpha"),
        beta=check_factor(beta, name="beta"),
        smooth=check_factor(smooth, name="smooth"),
    )
    return region_mean(
        form, read_regions(inputs, weight, scope=choose_region_scope(scope)), classes=check_classes(classes)
    )


def class_tversky(regions: Regions, *, alpha: float, beta: float, smooth: float) -> Tensor:
    """The loss of each class (C,)."""
    both, predicted, true = regions.sum(regions.p * regions.y, regions.p, regions.y)
    false_positive, false_negative = predicted - both, true - both
    return 1 - overlap(both + smooth, both + alpha * false_positive + beta * false_negative + smooth)
