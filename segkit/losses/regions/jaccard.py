"""`jaccard`: overlap of predicted and true regions, over their union."""

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


@LOSSES.register("jaccard")
def jaccard(
    num_classes: int,
    ignore_index: int = 255,
    *,
    smooth: NonNegativeFloat = 1.0,
    form: Common = "product",
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
) -> OverlapLoss:
    """Jaccard loss, 1 - |P and Y| / |P or Y| of soft regions (soft IoU), the mean over classes."""
    check_factor(smooth, name="smooth")
    return OverlapLoss(
        num_classes,
        ignore_index,
        partial(class_jaccard, smooth=smooth),
        classes=classes,
        scope=scope,
        common=check_form(form),
        name="jaccard",
        details=f"smooth {smooth:g}" + ("" if form == "product" else f"  form {form}"),
    )


def jaccard_loss(
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
    """The mean over classes of 1 - (I_c + smooth) / (P_c + Y_c - I_c + smooth), as a 0-d tensor, with
    I_c = sum_V m p_c y_c, P_c = sum_V m p_c and Y_c = sum_V m y_c over the batch.

    p = softmax(logits), y one-hot or soft labels, m the weight map or 1. `classes`: those with a valid pixel
    ("present"), or "all". Inputs and errors as for `pixel_cross_entropy`. After Rahman and Wang 2016 (Optimizing
    intersection-over-union in deep neural networks for image segmentation).

    With soft labels the loss is smallest at p = y only if `form` is "metric", which has I_c = sum_V m (p_c + y_c -
    |p_c - y_c|) / 2 instead; for hard labels both are the same. After Wang et al. 2023 (Jaccard metric losses:
    optimizing the Jaccard index with soft labels).
    """
    return overlap_loss(
        partial(class_jaccard, smooth=check_factor(smooth, name="smooth")),
        logits,
        target,
        weight,
        classes=classes,
        scope=scope,
        ignore_index=ignore_index,
        common=check_form(form),
    )


def class_jaccard(counts: SoftCounts, *, smooth: float) -> Tensor:
    """The loss of each class (C,)."""
    return 1 - overlap(counts.tp + smooth, counts.true + counts.fp + smooth)
