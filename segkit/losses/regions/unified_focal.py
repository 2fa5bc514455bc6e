"""`unified_focal`: a focal loss of the pixels and a focal Tversky loss of the regions, with the same two numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from segkit.losses.common.region import (
    Classes,
    RegionLoss,
    Regions,
    check_classes,
    check_factor,
    choose_region_scope,
    part,
    power,
    read_regions,
    region_mean,
)
from segkit.losses.criteria import read_inputs
from segkit.losses.criteria.inputs import Inputs
from segkit.losses.scope import RegionScopeName
from segkit.registry import LOSSES
from segkit.types import Fractional, NonNegativeFloat, NonNegativeInt, Share


@dataclass(frozen=True)
class Focus:
    """What both parts share; see `unified_focal_loss`. `background` are the ids of the classes that are not rare."""

    delta: float
    gamma: float
    symmetric: bool
    background: Sequence[int]
    smooth: float

    def check(self, num_classes: int) -> "Focus":
        """Itself. Raises ValueError that names the option for one out of its range."""
        check_share(self.delta, name="delta")
        if not 0 <= self.gamma < 1:
            raise ValueError(f"gamma must be in [0, 1), got {self.gamma}")
        check_factor(self.smooth, name="smooth")
        ids = set(self.background)
        if not ids or not ids < set(range(num_classes)):
            raise ValueError(
                f"background must name at least one of the {num_classes} classes (0-{num_classes - 1}) and not all, "
                f"got {sorted(ids)}"
            )
        return self

    def rare(self, device: torch.device, num_classes: int) -> Tensor:
        """(C,) bool: the classes that are not background."""
        ids = torch.arange(num_classes, device=device)
        return torch.stack([ids != common for common in self.background]).all(dim=0)


class UnifiedFocal(RegionLoss):
    """`mix` x the focal loss of the pixels + (1 - mix) x the focal Tversky loss of the regions."""

    def __init__(
        self,
        num_classes: int,
        ignore_index: int,
        focus: Focus,
        *,
        mix: float,
        classes: Classes,
        scope: RegionScopeName,
    ):
        super().__init__(
            num_classes,
            ignore_index,
            partial(class_focal_tversky, focus=focus.check(num_classes)),
            classes=classes,
            scope=scope,
            name="unified_focal",
            details=f"{'symmetric' if focus.symmetric else 'asymmetric'}  mix {mix:g}  delta {focus.delta:g}  "
            f"gamma {focus.gamma:g}  background {', '.join(map(str, focus.background))}",
        )
        self.focus, self.mix = focus, check_share(mix, name="mix")

    def compare(self, logits: Tensor, inputs: Inputs, weight: Tensor | None) -> Tensor:
        regions = read_regions(inputs, weight, scope=self.scope)
        by_region = region_mean(self.form, regions, classes=self.classes)
        return self.mix * focal_mean(inputs, regions, self.focus) + (1 - self.mix) * by_region


@LOSSES.register("unified_focal")
def unified_focal(
    num_classes: int,
    ignore_index: int = 255,
    *,
    mix: Share = 0.5,
    delta: Share = 0.6,
    gamma: Fractional = 0.5,
    symmetric: bool = False,
    background: list[NonNegativeInt] = [0],  # noqa: B006 (never changed)
    smooth: NonNegativeFloat = 1e-6,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
) -> UnifiedFocal:
    """Unified focal loss: mix x focal loss + (1 - mix) x focal Tversky loss, which favour all but `background`."""
    focus = Focus(delta, gamma, symmetric, background, smooth)
    return UnifiedFocal(num_classes, ignore_index, focus, mix=mix, classes=classes, scope=scope)


def unified_focal_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    mix: float = 0.5,
    delta: float = 0.6,
    gamma: float = 0.5,
    symmetric: bool = False,
    background: Sequence[int] = (0,),
    smooth: float = 1e-6,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
    ignore_index: int = 255,
) -> Tensor:
    """mix F + (1 - mix) R, as a 0-d tensor.

    F = sum_V m sum_c a_c y_c (1 - p_c)^g_c (-log p_c) / sum_V m, with a_c = delta for the rare classes, which are all
    that are not `background`, and 1 - delta for those. R is the mean over classes of (1 - T_c)^(1 - h_c) with
    T_c = (I_c + smooth) / (I_c + delta FN_c + (1 - delta) FP_c + smooth), I_c = sum_V m p_c y_c,
    FP_c = sum_V m p_c (1 - y_c) and FN_c = sum_V m (1 - p_c) y_c over the batch. g_c is `gamma` for the background,
    whose easy pixels are suppressed, and 0 for rare classes; h_c is `gamma` for rare classes, which are enhanced, and 0
    for the background. If `symmetric`, both are `gamma` for all classes.

    p = softmax(logits), y one-hot or soft labels, m the weight map or 1. `classes`: those with a valid pixel
    ("present"), or "all". Inputs and errors as for `pixel_cross_entropy`, and ValueError for an option out of its
    range. After Yeung et al. 2022 (Unified focal loss: Generalising Dice and cross entropy-based losses to handle class
    imbalanced medical image segmentation), in the form of their code.
    """
    check_share(mix, name="mix")
    inputs = read_inputs(logits, target, ignore_index=ignore_index)
    focus = Focus(delta, gamma, symmetric, background, smooth).check(logits.shape[1])
    regions = read_regions(inputs, weight, scope=choose_region_scope(scope))
    by_region = region_mean(
        partial(class_focal_tversky, focus=focus), regions, classes=check_classes(classes)
    )
    return mix * focal_mean(inputs, regions, focus) + (1 - mix) * by_region


def focal_mean(inputs: Inputs, regions: Regions, focus: Focus) -> Tensor:
    """The focal loss of the valid pixels of all processes, 0-d: their mean by mass."""
    y = regions.y
    # Where a label is 0 its term is 0, whatever the probability, which may be 0 too.
    log_p = torch.where(y != 0, inputs.log_p, 0.0)  # (N, C, *spatial)
    ce, suppressed = -y * log_p, power(-torch.expm1(log_p), focus.gamma)
    rare = focus.rare(y.device, y.shape[1]).view(-1, *[1] * (y.ndim - 2))  # (C, 1, ..., 1)
    share = rare.to(y.dtype)  # 1 of a rare class, else 0
    factor = focus.delta * share + (1 - focus.delta) * (1 - share)
    if not focus.symmetric:
        suppressed = torch.where(rare, 1.0, suppressed)
    loss = (regions.weight * factor * ce * suppressed).sum()
    loss, mass = regions.scope.across_with_gradient(torch.stack([loss, regions.weight.sum()])).unbind()
    return loss / (mass + (mass == 0))


def class_focal_tversky(regions: Regions, *, focus: Focus) -> Tensor:
    """The focal Tversky loss of each class (C,)."""
    p, y = regions.p, regions.y
    both, false_positive, false_negative = regions.sum(p * y, p * (1 - y), (1 - p) * y)
    errors = focus.delta * false_negative + (1 - focus.delta) * false_positive
    gap = part(errors, both + focus.smooth)
    enhanced = power(gap, 1 - focus.gamma)
    return enhanced if focus.symmetric else torch.where(focus.rare(gap.device, len(gap)), enhanced, gap)


def check_share(value: float, *, name: str) -> float:
    """Raises ValueError that names the option unless it is in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
    return value
