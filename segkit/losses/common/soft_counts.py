"""Losses of how soft regions overlap: functions of what of each class is found, missed, and seen where it is not.

These sums are all that such a loss asks of the pixels, so that on a CPU with numba they are made in one pass over the
logits, and their gradient in another, without a map of all classes and pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from segkit.losses.common.batch_loss import BatchLoss, choose_region_scope
from segkit.losses.common.reduction import read_weight
from segkit.losses.common.region import Classes, Common, Regions, check_classes, mean_of_classes, read_regions
from segkit.losses.criteria import PixelValues, read_inputs, values_of
from segkit.losses.criteria.comparison import Comparison
from segkit.losses.criteria.inputs import Inputs, check_shapes
from segkit.losses.kernels import counts_by_numba, numba_soft_counts
from segkit.losses.kernels.labels import valid_pixels
from segkit.losses.kernels.reference import resize
from segkit.losses.scope import BATCH, RegionScopeName, Scope


class SoftCounts(NamedTuple):
    """Masses of each class (C,), over all pixels of the scope: `tp` sum_V m p y, `fp` sum_V m p (1 - y), `fn`
    sum_V m (1 - p) y, `tn` sum_V m (1 - p)(1 - y), and `true` sum_V m y.

    p = softmax(logits), y one-hot or soft labels, m the weight map or 1. In the metric form (p + y - |p - y|) / 2, the
    smaller of both, stands for p y; for hard labels they are the same.
    """

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor
    true: Tensor

    @property
    def predicted(self) -> Tensor:
        """sum_V m p (C,)."""
        return self.tp + self.fp


#: The loss of each class (C,) from the counts.
CountForm = Callable[[SoftCounts], Tensor]


@dataclass(frozen=True)
class Counted:
    """The counts of a batch, and what they were made from: `inputs` and `regions`, or where the kernels have made them,
    which keep no regions, `compared` and the masses `mass` (N, *spatial), None for 1."""

    counts: SoftCounts
    inputs: Inputs | None = None
    regions: Regions | None = None
    compared: Comparison | None = None
    mass: Tensor | None = None

    def values(self, ignore_index: int) -> PixelValues:
        """Plain cross-entropy of the pixels, for what is reported."""
        if self.compared is not None:
            return self.compared.values(self.compared.ce)
        assert self.inputs is not None
        return values_of(self.inputs, ignore_index)


class OverlapLoss(BatchLoss):
    """A loss that is a function of the counts: `form(counts) -> (C,)`, averaged over the `classes` present, or all.

    `common`: how much of a pixel lies in two soft regions. The rest as for `BatchLoss`.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int,
        form: CountForm,
        *,
        classes: Classes,
        scope: RegionScopeName = "batch",
        common: Common = "product",
        name: str,
        details: str = "",
    ):
        super().__init__(
            num_classes,
            ignore_index,
            scope=scope,
            name=name,
            details="  ".join(word for word in (details, f"classes {classes}") if word),
        )
        self.form, self.classes, self.common = form, check_classes(classes), common

    def combine(self, counted: Counted) -> Tensor:
        """The loss, 0-d."""
        return class_mean(self.form, counted.counts, classes=self.classes)

    def evaluate(self, logits: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, PixelValues]:
        ignore_index = self.criterion.ignore_index
        counted = count_softly(
            logits, target, weight, ignore_index=ignore_index, scope=self.scope, common=self.common
        )
        return self.combine(counted), counted.values(ignore_index)


def overlap_loss(
    form: CountForm,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *,
    classes: Classes,
    scope: str,
    ignore_index: int,
    common: Common = "product",
) -> Tensor:
    """The mean of `form` over the classes, 0-d. Inputs and errors as for `pixel_cross_entropy`."""
    check_classes(classes)
    counted = count_softly(
        logits, target, weight, ignore_index=ignore_index, scope=choose_region_scope(scope), common=common
    )
    return class_mean(form, counted.counts, classes=classes)


def class_mean(form: CountForm, counts: SoftCounts, *, classes: Classes) -> Tensor:
    """The mean of `form` over the classes, 0-d. A class is present if its true region has mass."""
    return mean_of_classes(form(counts), counts.true > 0, classes)


def count_softly(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *,
    ignore_index: int,
    scope: Scope = BATCH,
    common: Common = "product",
) -> Counted:
    """The counts of a batch. Inputs and errors as for `pixel_cross_entropy`; ValueError also for a weight map that does
    not fit."""
    learned = weight is not None and weight.requires_grad
    if not learned and counts_by_numba(logits, target):
        return _count_fused(logits, target, weight, ignore_index, scope)
    inputs = read_inputs(logits, target, ignore_index=ignore_index)
    regions = read_regions(inputs, weight, scope=scope)
    return Counted(count_regions(regions, common), inputs=inputs, regions=regions)


def count_regions(regions: Regions, common: Common = "product") -> SoftCounts:
    """The counts of regions that are there pixel by pixel."""
    p, y, m = regions.p, regions.y, regions.weight
    both = p * y if common == "product" else (p + y - (p - y).abs()) / 2
    # MPS has only fp32.
    double = torch.float32 if p.device.type == "mps" else torch.float64
    dims = [0, *range(2, p.ndim)]
    rows = [(m * each).sum(dim=dims, dtype=double) for each in (both, p - both, y - both, y)]
    return _read_sums(torch.cat([*rows, m.sum(dtype=double).view(1)]), regions.scope, p.dtype)


def _count_fused(
    logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, scope: Scope
) -> Counted:
    check_shapes(logits, target)
    mass = None if weight is None else read_weight(weight, valid_pixels(target, ignore_index), torch.float32)
    if logits.shape[2:] != target.shape[1:]:
        logits = resize(logits.float(), target.shape[1:])
    sums, ce, wrong, valid = numba_soft_counts(logits, target, mass, ignore_index=ignore_index)
    total = sums[-1].sum().view(1)
    counts = _read_sums(torch.cat([sums.flatten(), total]), scope, torch.float32)
    compared = Comparison(target, ignore_index, logits.shape[1], None, ce, wrong, valid, None, "numba")
    return Counted(counts, compared=compared, mass=mass)


def _read_sums(sums: Tensor, scope: Scope, dtype: torch.dtype) -> SoftCounts:
    """Of the sums (4C + 1,) of this process: tp, fp, fn and true of each class, and the mass of all pixels."""
    sums = scope.across_with_gradient(sums)
    tp, fp, fn, true = sums[:-1].view(4, -1).unbind()
    # In fp64, in which nearly everything less nearly everything leaves what it should. Never below 0.
    tn = (sums[-1] - true - fp).clamp_min(0)
    return SoftCounts(*(each.to(dtype) for each in (tp, fp, fn, tn, true)))
