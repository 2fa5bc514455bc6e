"""`dice`: overlap of predicted and true regions, over their mean size."""

from functools import partial

from torch import Tensor

from segkit.losses.common.region import (
    Classes,
    Common,
    check_factor,
    check_form,
    overlap,
)
from segkit.losses.common.soft_counts import OverlapLoss, SoftCounts, overlap_loss
from segkit.losses.scope import RegionScopeName
from segkit.registry import LOSSES
from segkit.types import NonNegativeFloat


@LOSSES.register("dice")
def dice(
    num_classes: int,
    ignore_index: int = 255,
    *,
    smooth: NonNegativeFloat = 1.0,
    form: Common = "product",
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
) -> OverlapLoss:
    """Dice loss, 1 - 2 |P and Y| / (|P| + |Y|) of soft regions, the mean over classes."""
    check_factor(smooth, name="smooth")
    return OverlapLoss(
        num_classes,
        ignore_index,
        partial(class_dice, smooth=smooth),
        classes=classes,
        scope=scope,
        common=check_form(form),
        name="dice",
        details=f"smooth {smooth:g}" + ("" if form == "product" else f"  form {form}"),
    )


def dice_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    smooth: float = 1.0,
    form: Common = "product",
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
    ignore_index: int = 255,
) -> Tensor:
    """The mean over classes of 1 - (2 I_c + smooth) / (P_c + Y_c + smooth), as a 0-d tensor, with
    I_c = sum_V m p_c y_c, P_c = sum_V m p_c and Y_c = sum_V m y_c over the batch.

    p = softmax(logits), y one-hot or soft labels, m the weight map or 1. `classes`: those with a valid pixel
    ("present"), or "all". Inputs and errors as for `pixel_cross_entropy`. After Milletari et al. 2016 (V-Net),
    without their squares.

    With soft labels the loss is smallest at p = y only if `form` is "metric", which has I_c = sum_V m (p_c + y_c -
    |p_c - y_c|) / 2 instead; for hard labels both are the same. After Wang et al. 2023 (Dice semimetric losses:
    optimizing the Dice score with soft labels).
    """
    return overlap_loss(
        partial(class_dice, smooth=check_factor(smooth, name="smooth")),
        logits,
        target,
        weight,
        classes=classes,
        scope=scope,
        ignore_index=ignore_index,
        common=check_form(form),
    )


def class_dice(counts: SoftCounts, *, smooth: float) -> Tensor:
    """The loss of each class (C,)."""
    return 1 - overlap(2 * counts.tp + smooth, counts.predicted + counts.true + smooth)
