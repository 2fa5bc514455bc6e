"""`cldice`: whether thin structures are connected, by comparing skeletons with regions."""

from functools import partial

import torch
from torch import Tensor

from segkit.losses.common.places import UNPROMISED
from segkit.losses.common.region import (
    Classes,
    RegionLoss,
    Regions,
    check_classes,
    check_factor,
    check_only,
    choose_region_scope,
    overlap,
    read_regions,
    region_mean,
)
from segkit.losses.common.skeleton import soft_skeleton
from segkit.losses.criteria import read_inputs
from segkit.losses.scope import RegionScopeName
from segkit.registry import LOSSES
from segkit.types import NonNegativeFloat, NonNegativeInt, PositiveInt, Share


@LOSSES.register("cldice")
def cldice(
    num_classes: int,
    ignore_index: int = 255,
    *,
    alpha: Share = 0.5,
    iterations: PositiveInt = 3,
    smooth: NonNegativeFloat = 1.0,
    only: list[NonNegativeInt] | None = None,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
) -> RegionLoss:
    """(1 - alpha) dice + alpha clDice, which compares soft skeletons with regions: for thin, connected structures."""
    return RegionLoss(
        num_classes,
        ignore_index,
        _choose_form(alpha, iterations, smooth),
        classes=classes,
        scope=scope,
        only=only,
        name="cldice",
        details=f"alpha {alpha:g}  iterations {iterations}  smooth {smooth:g}"
        + (f"  only {list(only)}" if only else ""),
        unpromised=UNPROMISED,
    )


def cldice_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    alpha: float = 0.5,
    iterations: int = 3,
    smooth: float = 1.0,
    only: list[int] | None = None,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
    ignore_index: int = 255,
) -> Tensor:
    """The mean over classes of (1 - alpha) dice_c + alpha (1 - 2 P_c S_c / (P_c + S_c)), as a 0-d tensor, with

        P_c = (sum_V m skeleton(p_c) y_c + smooth) / (sum_V m skeleton(p_c) + smooth)    of what was predicted
        S_c = (sum_V m skeleton(y_c) p_c + smooth) / (sum_V m skeleton(y_c) + smooth)    of what is there

    over the batch. p = softmax(logits), y one-hot or soft labels, m the weight map or 1, dice_c as in `dice`; the soft
    skeleton of an image is that of `soft_skeleton` with so many `iterations`: at least half of the width in pixels of
    the widest structure. Ignored pixels, and those of weight 0, are as the outside of the image. `only`: the ids of
    the classes that are compared, None for all; `classes`: of these, those with a valid pixel ("present"), or "all".
    Inputs and errors as for `pixel_cross_entropy`. After Shit et al. 2021 (clDice: a novel topology-preserving loss
    function for tubular structure segmentation), who pool all classes but the background.
    """
    inputs = read_inputs(logits, target, ignore_index=ignore_index)
    regions = read_regions(
        inputs, weight, scope=choose_region_scope(scope), only=check_only(only, logits.shape[1])
    )
    return region_mean(_choose_form(alpha, iterations, smooth), regions, classes=check_classes(classes))


def class_cldice(regions: Regions, *, alpha: float, iterations: int, smooth: float) -> Tensor:
    """The loss of each class (C,)."""
    p, y, inside = regions.p, regions.y, regions.weight > 0
    predicted_ridge, true_ridge = (soft_skeleton(region, inside, iterations) for region in (p, y))
    both, predicted, true, ridge_hit, ridge, true_ridge_hit, true_ridge_mass = regions.sum(
        p * y, p, y, predicted_ridge * y, predicted_ridge, true_ridge * p, true_ridge
    )
    dice = 1 - overlap(2 * both + smooth, predicted + true + smooth)
    precision = overlap(ridge_hit + smooth, ridge + smooth)
    sensitivity = overlap(true_ridge_hit + smooth, true_ridge_mass + smooth)
    total = precision + sensitivity
    harmonic = 2 * precision * sensitivity / torch.where(total == 0, 1, total)
    return (1 - alpha) * dice + alpha * (1 - harmonic)


def _choose_form(alpha: float, iterations: int, smooth: float) -> partial[Tensor]:
    """The form with these options. Raises ValueError that names the one that is out of its range."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    if iterations < 1 or iterations != int(iterations):
        raise ValueError(f"iterations must be a whole number >= 1, got {iterations}")
    return partial(
        class_cldice, alpha=alpha, iterations=int(iterations), smooth=check_factor(smooth, name="smooth")
    )
