"""A pixel loss is criterion x selection x reduction; the named losses are compositions of these three."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from segkit.errors import ConfigError
from segkit.losses.common.measure import measure
from segkit.losses.common.reduction import read_weight, weighted_mean
from segkit.losses.criteria import PixelValues, class_weight_of, read_labels
from segkit.losses.scope import BATCH, Image, choose_scope
from segkit.losses.selections import Selected, Selection


@dataclass(frozen=True)
class PixelReport:
    """What a loss does with each pixel, for pictures; all (N, *spatial), without gradient.

    `loss`: plain cross-entropy, fp32, 0 at ignored pixels. `kept`: fp32 in [0, 1], a fraction where pixels
    tie. `valid`: bool.
    """

    loss: Tensor
    kept: Tensor
    valid: Tensor


class Criterion(Protocol):
    """What a pixel loss asks of its criterion, which is a module; see criteria/."""

    ignore_index: int

    def __call__(self, logits: Tensor, target: Tensor, /, **more: Any) -> PixelValues: ...
    def describe(self) -> str: ...


class PixelLoss(nn.Module):
    """Any criterion with any selection and any reduction.

    `criterion(logits, target) -> PixelValues` (see criteria/), `selection(ce, valid, *, iteration, scope) ->
    Selected` (selections/), `reduction(values, selected, weight, *, scope) -> scalar` (reduction.py). `scope` is
    `batch`, `image` or `rank` (scope.py). It keeps no state: the same arguments give the same value, in train and
    eval mode, any number of times.

    `name` and `details` are for the console and for errors; `needs_weight` refuses to run without a weight
    map; `allow_inactive` lets `check_run` pass a run that would not use the selection at all.
    """

    def __init__(
        self,
        criterion: Criterion,
        selection: Selection,
        reduction: Callable[..., Tensor],
        *,
        scope: str = "batch",
        name: str = "pixel_loss",
        details: str = "",
        needs_weight: bool = False,
        allow_inactive: bool = False,
    ):
        super().__init__()
        _require_parts(criterion, "criterion", ("ignore_index", "describe"), "segkit.losses.FunctionOfCE")
        wanted = ("values_at", "describe", "find_inactive")
        _require_parts(selection, "selection", wanted, "segkit.losses.Selection")
        self.criterion, self.selection, self.reduction = criterion, selection, reduction
        self.scope = choose_scope(scope)
        backend = getattr(criterion, "backend", "auto")
        if backend != "auto":
            self.scope = self.scope.with_triton(backend == "triton")
        self.name, self.details = name, details
        self.needs_weight, self.allow_inactive = needs_weight, allow_inactive
        self.unpromised = getattr(criterion, "unpromised", {})  # what `check_loss` need not ask
        self.label_maps = getattr(criterion, "label_maps", {})
        channels = getattr(criterion, "logits_channels", None)
        if channels is not None:  # else the model has one channel per class
            self.logits_channels = channels

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        *,
        iteration: int,
        maps: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The loss and what to log of it: (scalar with gradient, {name: detached tensor or float}).

        `logits` (N, C, *any); `target` class ids (N, *spatial) or soft labels (N, C, *spatial); `weight`
        (N, *spatial) multiplies the selected pixels; `iteration`: completed optimiser updates; `maps`: what the
        functions in `label_maps` make of the labels of each image, for a criterion that has such; without them it
        makes them itself. Raises ValueError for inputs that do not fit together, ConfigError if a weight map is needed
        and missing.

        In several processes the scalar is this one's part times their number, so that the mean over the processes is
        the loss (see segkit/losses/scope.py); the values to log are of all of them, except in scope `rank`.
        """
        if iteration is None:
            raise TypeError(f"{self.name} needs the iteration, got None")
        if self.needs_weight and weight is None:
            raise ConfigError(f"{self.name} needs a weight map -> data.weight_map='{{name: boundary}}'")
        more = {"maps": maps} if maps else {}
        values = self.criterion(logits, target, **more)
        selected = self.selection(values.ce, values.valid, iteration=iteration, scope=self.scope)
        loss = self.reduction(values, selected, weight, scope=self.scope)
        report = measure(values, selected, scope=self.scope) | self.selection.values_at(iteration)
        return loss, report

    @torch.no_grad()
    def denominator(self, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """What a mean over this batch divides by, as a 0-d tensor, from the labels alone.

        Batches whose losses are averaged with these as weights give the loss of all their pixels at once: exactly
        where nothing is mined. A selection mines in each batch for itself; its weight is the number of valid pixels.
        With weights as denominator it is the sum of class weight x weight map over the valid pixels; in scope `image`
        the number of images with a valid pixel. It is of all processes, which must all call it, except in scope `rank`.
        """
        labels = read_labels(target, self.criterion.ignore_index)
        valid = labels.valid
        if isinstance(self.scope, Image):
            return self.scope.count_images(valid)
        if self.reduction is not weighted_mean:
            return self.scope.sum(valid).sum()
        class_weights = getattr(self.criterion, "class_weights", None)
        mass = class_weight_of(target, labels, class_weights, torch.float32)
        return self.scope.sum(mass if weight is None else mass * read_weight(weight, valid, mass.dtype)).sum()

    @torch.no_grad()
    def pixels(
        self, logits: Tensor, target: Tensor, weight: Tensor | None = None, *, iteration: int
    ) -> PixelReport:
        """Which pixels the loss keeps, and the cross-entropy of each, at the target's size.

        It never talks to other processes, so that one of them can make pictures: these pixels are treated as if they
        were all.
        """
        scope = self.scope.alone
        values = self.criterion(logits, target)
        selected = self.selection(values.ce, values.valid, iteration=iteration, scope=scope)
        return PixelReport(loss=values.ce.float(), kept=selected.share.float(), valid=values.valid)

    def check_run(self, *, iterations: int, pixels_per_batch: int, images_per_batch: int = 1) -> None:
        """Raises ConfigError if the loss would silently be plain cross-entropy throughout such a run."""
        pixels = self.scope.pixels_per_group(pixels_per_batch, images_per_batch)
        problem = self.selection.find_inactive(iterations=iterations, pixels=pixels, holder=self.scope.holder)
        if problem is not None and not self.allow_inactive:
            raise ConfigError(f"{self.name} {problem}")

    def describe(self, *, iterations: int, pixels_per_batch: int, images_per_batch: int = 1) -> str:
        """One line for the console."""
        pixels = self.scope.pixels_per_group(pixels_per_batch, images_per_batch)
        selection = self.selection.describe(iterations=iterations, pixels=pixels)
        scope = "" if self.scope.name == BATCH.name else f"scope {self.scope.name}"
        parts = (self.name, self.details, selection, self.criterion.describe(), scope)
        return "  ".join(part for part in parts if part)


def compose(
    values: PixelValues,
    selection: Selection,
    reduction: Callable[..., Tensor],
    weight: Tensor | None = None,
    *,
    scope: str = "batch",
    iteration: int | None = None,
) -> Tensor:
    """The value of a pixel loss from what its criterion says of each pixel, as a 0-d tensor."""
    group = choose_scope(scope)
    selected: Selected = selection(values.ce, values.valid, iteration=iteration, scope=group)
    return reduction(values, selected, weight, scope=group)


def _require_parts(part: Any, kind: str, wanted: tuple[str, ...], base: str) -> None:
    """Raises ValueError for a criterion or selection, of somebody's own, that lacks what is asked of all."""
    absent = [name for name in wanted if not hasattr(part, name)]
    if absent:
        raise ValueError(
            f"the {kind} {type(part).__name__} has no {', '.join(absent)} -> derive it from {base}, which has them, or "
            f"write it as those in segkit/losses/{'criteria' if kind == 'criterion' else 'selections'}"
        )
