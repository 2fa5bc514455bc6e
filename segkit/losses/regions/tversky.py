"""`tversky`: overlap of predicted and true regions, with a price for each kind of error."""

from functools import partial

from torch import Tensor

from segkit.losses.common.region import (
    Classes,
    check_factor,
    overlap,
)
from segkit.losses.common.soft_counts import OverlapLoss, SoftCounts, overlap_loss
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
) -> OverlapLoss:
    """Tversky loss: soft overlap in which false positives count alpha and false negatives beta."""
    for key, value in (("alpha", alpha), ("beta", beta), ("smooth", smooth)):
        check_factor(value, name=key)
    return OverlapLoss(
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
    form = partial(
        class_tversky,
        alpha=check_factor(alpha, name="alpha"),
        beta=check_factor(beta, name="beta"),
        smooth=check_factor(smooth, name="smooth"),
    )
    return overlap_loss(form, logits, target, weight, classes=classes, scope=scope, ignore_index=ignore_index)


def class_tversky(counts: SoftCounts, *, alpha: float, beta: float, smooth: float) -> Tensor:
    """The loss of each class (C,)."""
    errors = alpha * counts.fp + beta * counts.fn
    return 1 - overlap(counts.tp + smooth, counts.tp + errors + smooth)
