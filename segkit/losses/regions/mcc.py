"""`mcc`: how the predicted and the true region of each class correlate, pixels outside of both included."""

from functools import partial

import torch
from torch import Tensor

from segkit.losses.common.region import (
    Classes,
    check_factor,
)
from segkit.losses.common.soft_counts import OverlapLoss, SoftCounts, overlap_loss
from segkit.losses.scope import RegionScopeName
from segkit.registry import LOSSES
from segkit.types import NonNegativeFloat


@LOSSES.register("mcc")
def mcc(
    num_classes: int,
    ignore_index: int = 255,
    *,
    smooth: NonNegativeFloat = 1.0,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
) -> OverlapLoss:
    """Matthews loss, 1 - the correlation of soft regions (MCC) of a class against the rest, the mean over classes."""
    return OverlapLoss(
        num_classes,
        ignore_index,
        partial(class_mcc, smooth=check_factor(smooth, name="smooth")),
        classes=classes,
        scope=scope,
        name="mcc",
        details=f"smooth {smooth:g}",
    )


def mcc_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    smooth: float = 1.0,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
    ignore_index: int = 255,
) -> Tensor:
    """The mean over classes of 1 - M_c, as a 0-d tensor, with M_c = (TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)
    (TN + FN)), TP = smooth + sum_V m p_c y_c, TN = smooth + sum_V m (1 - p_c)(1 - y_c), FP = sum_V m p_c (1 - y_c) and
    FN = sum_V m (1 - p_c) y_c over the batch: 0 if all is right, 1 for a guess, 2 if all is wrong.

    p = softmax(logits), y one-hot or soft labels, m the weight map or 1. `smooth` is the mass of a pixel inside and of
    one outside of the class that are added as predicted rightly: without it a class that has no pixel, or every one,
    has no correlation and no gradient; it then counts 0 if nothing is wrong, and else 1. `classes`: those with a valid
    pixel ("present"), or "all". Inputs and errors as for `pixel_cross_entropy`. After Abhishek and Hamarneh 2021
    (Matthews correlation coefficient loss for deep convolutional networks: application to skin lesion segmentation),
    for several classes each against the rest.
    """
    form = partial(class_mcc, smooth=check_factor(smooth, name="smooth"))
    return overlap_loss(form, logits, target, weight, classes=classes, scope=scope, ignore_index=ignore_index)


def class_mcc(counts: SoftCounts, *, smooth: float) -> Tensor:
    """The loss of each class (C,)."""
    tp, fp, fn, tn, _ = counts
    tp, tn = tp + smooth, tn + smooth
    inside, outside = (tp + fp) * (tp + fn), (tn + fp) * (tn + fn)
    undefined = (inside == 0) | (outside == 0)
    # Two roots of two factors each: four would overflow in fp32 for a batch of many pixels.
    inside, outside = (torch.where(undefined, 1, product).sqrt() for product in (inside, outside))
    correlation = (tp / inside) * (tn / outside) - (fp / inside) * (fn / outside)
    # Where it is undefined the numerator is 0.
    return 1 - torch.where(undefined & (fp + fn == 0), 1 + correlation, correlation)
