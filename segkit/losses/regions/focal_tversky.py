"""`focal_tversky`: the Tversky loss of each class to a power, so that classes far from their regions weigh more."""

from functools import partial

from torch import Tensor

from segkit.losses.common.region import (
    Classes,
    check_factor,
    part,
    power,
)
from segkit.losses.common.soft_counts import OverlapLoss, SoftCounts, overlap_loss
from segkit.losses.scope import RegionScopeName
from segkit.registry import LOSSES
from segkit.types import NonNegativeFloat, PositiveFloat


@LOSSES.register("focal_tversky")
def focal_tversky(
    num_classes: int,
    ignore_index: int = 255,
    *,
    alpha: NonNegativeFloat = 0.3,
    beta: NonNegativeFloat = 0.7,
    gamma: PositiveFloat = 4 / 3,
    smooth: NonNegativeFloat = 1.0,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
) -> OverlapLoss:
    """Focal Tversky loss, (1 - Tversky index)^(1/gamma); false positives count alpha and false negatives beta."""
    form = make_form(alpha=alpha, beta=beta, gamma=gamma, smooth=smooth)
    return OverlapLoss(
        num_classes,
        ignore_index,
        form,
        classes=classes,
        scope=scope,
        name="focal_tversky",
        details=f"alpha {alpha:g}  beta {beta:g}  gamma {gamma:g}  smooth {smooth:g}",
    )


def focal_tversky_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
    smooth: float = 1.0,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
    ignore_index: int = 255,
) -> Tensor:
    """The mean over classes of (1 - T_c)^(1/gamma), as a 0-d tensor, with the Tversky index
    T_c = (I_c + smooth) / (I_c + alpha FP_c + beta FN_c + smooth), I_c = sum_V m p_c y_c, FP_c = sum_V m p_c (1 - y_c)
    and FN_c = sum_V m (1 - p_c) y_c over the batch.

    p = softmax(logits), y one-hot or soft labels, m the weight map or 1. `gamma = 1` is the Tversky loss; above 1, as
    in the paper (1 to 3), the slope grows as a class gets better, below 1 it shrinks. `classes`: those with a valid
    pixel ("present"), or "all". Inputs and errors as for `pixel_cross_entropy`. After Abraham and Khan 2018 (A novel
    focal Tversky loss function with improved attention U-Net for lesion segmentation), which calls the price of false
    negatives alpha and sums over the classes.
    """
    form = make_form(alpha=alpha, beta=beta, gamma=gamma, smooth=smooth)
    return overlap_loss(form, logits, target, weight, classes=classes, scope=scope, ignore_index=ignore_index)


def make_form(*, alpha: float, beta: float, gamma: float, smooth: float) -> partial[Tensor]:
    """`class_focal_tversky` with these numbers. Raises ValueError for one out of its range."""
    for key, value in (("alpha", alpha), ("beta", beta), ("smooth", smooth)):
        check_factor(value, name=key)
    if not 0 < gamma < float("inf"):
        raise ValueError(f"gamma must be a number > 0, got {gamma}")
    return partial(class_focal_tversky, alpha=alpha, beta=beta, gamma=gamma, smooth=smooth)


def class_focal_tversky(
    counts: SoftCounts, *, alpha: float, beta: float, gamma: float, smooth: float
) -> Tensor:
    """The loss of each class (C,)."""
    return power(part(alpha * counts.fp + beta * counts.fn, counts.tp + smooth), 1 / gamma)
