"""Region losses: overlaps of a class's predicted and true region, of the batch as a whole, on however many processes.

Regions are soft: a pixel belongs to the predicted region of class c with mass m p_c, and to the true one with mass
m y_c, where p = softmax(logits), y are the one-hot or soft labels, and m is the weight map (1 without). Ignored pixels
have no mass.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from segkit.losses.common.batch_loss import BatchLoss
from segkit.losses.common.batch_loss import choose_region_scope as choose_region_scope
from segkit.losses.common.reduction import read_weight
from segkit.losses.criteria.inputs import Inputs
from segkit.losses.powers import raise_to
from segkit.losses.scope import BATCH, RegionScopeName, Scope

#: Which classes are averaged: those that the batch's valid pixels have, or all.
Classes = Literal["present", "all"]
#: How much of a pixel lies in two soft regions: the product of its masses, or what they have in common.
Common = Literal["product", "metric"]


@dataclass(frozen=True)
class Regions:
    """Masses per pixel and class, all (N, C, *spatial), 0 at ignored pixels.

    `p`: probabilities, with gradient. `y`: labels, one-hot or soft. `weight`: the mass of the pixel (N, 1, *spatial).
    `scope`: whether the regions go on in the other processes.
    """

    p: Tensor
    y: Tensor
    weight: Tensor
    scope: Scope = BATCH

    def sum(self, *masses: Tensor) -> Tensor:
        """Sums of weight x masses (N, C, *spatial) per class, one row for each -> (K, C); (C,) of a single one."""
        rows = [(self.weight * each).transpose(0, 1).flatten(1).sum(dim=1) for each in masses]
        return self.scope.across_with_gradient(rows[0] if len(rows) == 1 else torch.stack(rows))


#: The loss of each class (C,), in [0, 1], from the regions.
RegionForm = Callable[[Regions], Tensor]


class RegionLoss(BatchLoss):
    """A loss that compares regions: `form(regions) -> (C,)`, averaged over the `classes` present, or all.

    `only`: the ids of the classes that are compared, None for all. The rest as for `BatchLoss`.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int,
        form: RegionForm,
        *,
        classes: Classes,
        scope: RegionScopeName = "batch",
        only: Sequence[int] | None = None,
        name: str,
        details: str = "",
        unpromised: Mapping[str, str] | None = None,
    ):
        super().__init__(
            num_classes,
            ignore_index,
            scope=scope,
            name=name,
            details="  ".join(word for word in (details, f"classes {classes}") if word),
            unpromised=unpromised,
        )
        self.form, self.classes, self.only = form, check_classes(classes), check_only(only, num_classes)

    def compare(self, logits: Tensor, inputs: Inputs, weight: Tensor | None) -> Tensor:
        regions = read_regions(inputs, weight, scope=self.scope, only=self.only)
        return region_mean(self.form, regions, classes=self.classes)


def region_mean(form: RegionForm, regions: Regions, *, classes: Classes) -> Tensor:
    """The mean of `form` over the classes, as a 0-d tensor. A class is present if its true region has mass."""
    losses = form(regions)  # (C,)
    if classes == "all":
        return losses.mean()
    return mean_of_classes(losses, regions.sum(regions.y) > 0, classes)


def mean_of_classes(losses: Tensor, present: Tensor, classes: Classes) -> Tensor:
    """The mean of losses (C,) over the classes, 0-d: those that are `present` (C,) bool, or all."""
    if classes == "all":
        return losses.mean()
    # Times 0 and not dropped, so that a NaN is never hidden.
    return (losses * present).sum() / present.sum().clamp_min(1)


def read_regions(
    inputs: Inputs, weight: Tensor | None, *, scope: Scope = BATCH, only: Sequence[int] | None = None
) -> Regions:
    """The regions of a batch from its pixels, of all classes or of those in `only`. Raises ValueError for a weight map
    that does not fit."""
    valid = inputs.valid.unsqueeze(1)  # (N, *spatial) -> (N, 1, *spatial)
    p = torch.where(valid, inputs.log_p.exp(), 0.0)
    if inputs.soft:
        y = inputs.target
    else:
        ids = torch.arange(p.shape[1], device=p.device).view(-1, *[1] * (p.ndim - 2))
        y = ((inputs.target.unsqueeze(1) == ids) & valid).to(p.dtype)  # (N, C, *spatial)
    if only is not None:  # a list as an index would be copied to the device
        p, y = (torch.stack([masses[:, each] for each in only], dim=1) for masses in (p, y))
    mass = inputs.valid.to(p.dtype) if weight is None else read_weight(weight, inputs.valid, p.dtype)
    return Regions(p, y, mass.unsqueeze(1), scope)


def overlap(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator (C,), and 1 where both are 0: nothing is there, and nothing was predicted."""
    empty = is_nothing(denominator)
    return torch.where(empty, 1 + 0 * numerator, numerator / torch.where(empty, 1, denominator))


def is_nothing(mass: Tensor) -> Tensor:
    """Whether a class has no mass (C,), or so little that a slope of 1 / mass would leave the range of floats: below
    1e-31 pixels in fp32."""
    limits = torch.finfo(mass.dtype)
    return mass.abs() < limits.tiny / limits.eps


def part(errors: Tensor, rest: Tensor) -> Tensor:
    """errors / (errors + rest) (C,) of masses >= 0, and 0 where both are 0: 1 - overlap(rest, errors + rest), but never
    below 0 and with all its digits where it is small."""
    whole = errors + rest
    empty = is_nothing(whole)
    return torch.where(empty, 0 * errors, errors / torch.where(empty, 1, whole))


def power(x: Tensor, exponent: float) -> Tensor:
    """x^exponent of x >= 0, with a finite slope everywhere: an exponent below 1 has an infinite one at 0, which would
    make 0 x infinity of a gradient that tends to 0. Below the smallest normal number the power counts as constant, and
    at 0 it is x."""
    return torch.where(x > 0, raise_to(x.clamp_min(torch.finfo(x.dtype).tiny), exponent), x)


def check_classes(classes: Classes) -> Classes:
    """Raises ValueError unless it is `present` or `all`."""
    if classes not in ("present", "all"):
        raise ValueError(f"classes must be one of present, all, got {classes!r}")
    return classes


def check_form(form: Common) -> Common:
    """Raises ValueError unless it is `product` or `metric`."""
    if form not in ("product", "metric"):
        raise ValueError(f"form must be one of product, metric, got {form!r}")
    return form


def check_only(only: Sequence[int] | None, num_classes: int) -> tuple[int, ...] | None:
    """The classes that are compared. Raises ValueError unless they are ids of classes, each once, and at least one."""
    if only is None:
        return None
    if not only or len(set(only)) < len(only) or not all(0 <= each < num_classes for each in only):
        raise ValueError(
            f"only must be a list of ids of classes (0-{num_classes - 1}), each once, got {list(only)}"
        )
    return tuple(only)


def check_factor(value: float, *, name: str) -> float:
    """Raises ValueError that names the option unless it is a finite number >= 0."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number >= 0, got {value}")
    return value
