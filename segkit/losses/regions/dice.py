"""`dice`: overlap of predicted and true regions, over their mean size."""

from functools import partial

from torch import Tensor

from segkit.losses.common.region import (
    Classes,
    Common,
    RegionLoss,
    Regions,
    check_classes,
    check_factor,
    check_form,
    choose_region_scope,
    measure_regions,
    overlap,
    read_regions,
    region_mean,
)
from segkit.losses.criteria import read_inputs
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
) -> RegionLoss:
    """Dice loss, 1 - 2 |P and Y| / (|P| + |Y|) of soft regions, the mean over classes."""
    check_factor(smooth, name="smooth")
    return RegionLoss(
        num_classes,
        ignore_index,
        partial(class_dice, smooth=smooth, form=check_form(form)),
        classes=classes,
        scope=scope,
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
    inputs = read_inputs(logits, target, ignore_index=ignore_index)
    class_form = partial(class_dice, smooth=check_factor(smooth, name="smooth"), form=check_form(form))
    return region_mean(
        class_form,
        read_regions(inputs, weight, scope=choose_region_scope(scope)),
        classes=check_classes(classes),
    )


def class_dice(regions: Regions, *, smooth: float, form: Common = "product") -> Tensor:
    """The loss of each class (C,)."""
    both, predicted, true = measure_regions(regions, form)
    return 1 - overlap(2 * both + smooth, predicted + true + smooth)
