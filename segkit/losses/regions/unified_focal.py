"""`unified_focal`: a focal loss of the pixels and a focal Tversky loss of the regions, with the same two numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from segkit.losses.common.batch_loss import choose_region_scope
from segkit.losses.common.region import Classes, check_classes, check_factor, part, power
from segkit.losses.common.soft_counts import Counted, OverlapLoss, SoftCounts, class_mean, count_softly
from segkit.losses.scope import RegionScopeName, Scope
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

    def weigh(self, rare: Tensor, ce: Tensor, suppressed: Tensor) -> Tensor:
        """a (1 - p)^g ce of pixels whose class is `rare` (bool) or not, from ce and (1 - p)^gamma."""
        share = rare.to(ce.dtype)  # 1 of a rare class, else 0
        factor = self.delta * share + (1 - self.delta) * (1 - share)
        return factor * ce * (suppressed if self.symmetric else torch.where(rare, 1.0, suppressed))


class UnifiedFocal(OverlapLoss):
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

    def combine(self, counted: Counted) -> Tensor:
        by_region = class_mean(self.form, counted.counts, classes=self.classes)
        return self.mix * focal_mean(counted, self.focus, self.scope) + (1 - self.mix) * by_region


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
    focus = Focus(delta, gamma, symmetric, background, smooth).check(logits.shape[1])
    group = choose_region_scope(scope)
    counted = count_softly(logits, target, weight, ignore_index=ignore_index, scope=group)
    by_region = class_mean(
        partial(class_focal_tversky, focus=focus), counted.counts, classes=check_classes(classes)
    )
    return mix * focal_mean(counted, focus, group) + (1 - mix) * by_region


def focal_mean(counted: Counted, focus: Focus, scope: Scope) -> Tensor:
    """The focal loss of the valid pixels of all processes, 0-d: their mean by mass."""
    sums = _sum_pixels(counted, focus) if counted.compared is not None else _sum_regions(counted, focus)
    loss, mass = scope.across_with_gradient(sums).unbind()
    return loss / (mass + (mass == 0))


def _sum_regions(counted: Counted, focus: Focus) -> Tensor:
    """The sum of the focal loss, and that of the masses (2,), from the probabilities of all classes."""
    inputs, regions = counted.inputs, counted.regions
    assert inputs is not None and regions is not None
    y = regions.y
    # Where a label is 0 its term is 0, whatever the probability, which may be 0 too.
    log_p = torch.where(y != 0, inputs.log_p, 0.0)  # (N, C, *spatial)
    ce, suppressed = -y * log_p, power(-torch.expm1(log_p), focus.gamma)
    rare = focus.rare(y.device, y.shape[1]).view(-1, *[1] * (y.ndim - 2))  # (C, 1, ..., 1)
    loss = focus.weigh(rare, ce, suppressed)
    return torch.stack([(regions.weight * loss).sum(), regions.weight.sum()])


def _sum_pixels(counted: Counted, focus: Focus) -> Tensor:
    """The same from the cross-entropy of each pixel, whose label is one class."""
    compared = counted.compared
    assert compared is not None
    ce = compared.ce  # (N, *spatial)
    mass = compared.valid.to(ce.dtype) if counted.mass is None else counted.mass
    rare = focus.rare(ce.device, compared.num_classes)[compared.read_labels().label]
    loss = focus.weigh(rare, ce, power(-torch.expm1(-ce), focus.gamma))
    # Ignored pixels have no cross-entropy, and no mass.
    return torch.stack([(mass * loss).sum(), mass.sum()])


def class_focal_tversky(counts: SoftCounts, *, focus: Focus) -> Tensor:
    """The focal Tversky loss of each class (C,)."""
    errors = focus.delta * counts.fn + (1 - focus.delta) * counts.fp
    gap = part(errors, counts.tp + focus.smooth)
    enhanced = power(gap, 1 - focus.gamma)
    return enhanced if focus.symmetric else torch.where(focus.rare(gap.device, len(gap)), enhanced, gap)


def check_share(value: float, *, name: str) -> float:
    """Raises ValueError that names the option unless it is in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
    return value
