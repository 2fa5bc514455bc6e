"""`sum`: several losses added, each with a weight."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from segkit.losses.calls import call_accepted, find_method
from segkit.registry import LOSSES
from segkit.types import ComponentsOf, NonNegativeFloat


@dataclass(frozen=True)
class Term:
    """One of the losses of a sum: what it is called in the log, the loss, and what it is multiplied by."""

    name: str
    loss: nn.Module
    weight: NonNegativeFloat = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"the weight of {self.name} must be a number >= 0, got {self.weight}")


class SumLoss(nn.Module):
    """sum over the terms of weight x loss. Raises ValueError for terms that do not fit together.

    Every term gets the same logits, target, weight map and iteration, and one that has `label_maps` the maps. A term of
    weight 0 is computed too: what it reports is logged, and a NaN in it is not hidden.
    """

    def __init__(self, terms: list[Term], num_classes: int):
        super().__init__()
        names = [term.name for term in terms]
        if not terms or len(set(names)) < len(names):
            raise ValueError(f"the terms of a sum need different names, and there must be one: {names}")
        self.names, self.weights = names, [term.weight for term in terms]
        self.losses = nn.ModuleList(term.loss for term in terms)
        self.needs_weight = any(getattr(loss, "needs_weight", False) for loss in self.losses)
        channels = [getattr(loss, "logits_channels", num_classes) for loss in self.losses]
        if len(set(channels)) > 1:
            needs = ", ".join(f"{name} {count}" for name, count in zip(names, channels, strict=True))
            raise ValueError(f"the terms need different numbers of logits per pixel: {needs}")
        self.logits_channels = channels[0]
        # What terms do not promise, and what they want made of the labels.
        self.unpromised, self.label_maps = (
            _merge(self.losses, name) for name in ("unpromised", "label_maps")
        )
        if any(hasattr(loss, "pixels") for loss in self.losses):  # there exactly if a term can tell
            self.pixels = self._pixels

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        *,
        iteration: int,
        maps: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The sum and what to log: of each term `<name>/value`, before its weight, and `<name>/<metric>`; plain `ce`
        from the first term that reports it."""
        if iteration is None:
            raise TypeError("sum needs the iteration, got None")
        # Once for all terms: else the gradient of each would be rounded to half precision before they are added.
        logits = logits if logits.dtype == torch.float64 else logits.float()
        parts: list[Tensor] = []
        metrics: dict[str, Tensor | float] = {}
        ce: dict[str, Tensor | float] = {}
        for name, factor, loss in zip(self.names, self.weights, self.losses, strict=True):
            more = {"maps": maps} if maps and getattr(loss, "label_maps", {}) else {}
            value, values = loss(logits, target, weight, iteration=iteration, **more)
            parts.append(factor * value)
            metrics[f"{name}/value"] = value.detach()
            metrics |= {f"{name}/{metric}": measured for metric, measured in values.items()}
            if "ce" in values and not ce:
                ce = {"ce": values["ce"]}
        return sum(parts[1:], parts[0]), {**ce, **metrics}

    def compile(self, **options: Any) -> None:
        """Compile every term in place, as `nn.Module.compile` with `options` of `torch.compile`: a term that follows
        a schedule has its own way to do it."""
        for loss in self.losses:
            loss.compile(**options)

    def _pixels(self, logits: Tensor, target: Tensor, weight: Tensor | None = None, *, iteration: int) -> Any:
        pixels = next(filter(None, (find_method(loss, "pixels") for loss in self.losses)))
        return pixels(logits, target, weight, iteration=iteration)

    def check_run(self, *, iterations: int, pixels_per_batch: int, images_per_batch: int = 1) -> None:
        """Raises ConfigError if one of the terms would do nothing in such a run."""
        run = _facts(iterations, pixels_per_batch, images_per_batch)
        for loss in self.losses:
            check_run = find_method(loss, "check_run")
            if check_run is not None:
                call_accepted(check_run, **run)

    def describe(self, *, iterations: int, pixels_per_batch: int, images_per_batch: int = 1) -> str:
        """One line for the console."""
        run = _facts(iterations, pixels_per_batch, images_per_batch)
        terms = []
        for name, factor, loss in zip(self.names, self.weights, self.losses, strict=True):
            describe = find_method(loss, "describe")
            line = name if describe is None else call_accepted(describe, **run)
            terms.append(f"{factor:g} x ({line})")
        return f"sum  {' + '.join(terms)}"


def _merge(losses: Iterable[nn.Module], attribute: str) -> dict[str, Any]:
    """What the losses have in a dict of that name, together."""
    parts: list[Any] = [getattr(loss, attribute, {}) for loss in losses]
    return {key: value for part in parts for key, value in part.items()}


def _facts(iterations: int, pixels_per_batch: int, images_per_batch: int) -> dict[str, int]:
    return {
        "iterations": iterations,
        "pixels_per_batch": pixels_per_batch,
        "images_per_batch": images_per_batch,
    }


@LOSSES.register("sum")
def sum_of_losses(
    num_classes: int, *, terms: Annotated[list[Term], ComponentsOf("loss", into=Term)]
) -> SumLoss:
    """Several losses added, such as terms: [{name: ohem_ce, thresh: 0.6}, {name: dice, weight: 0.5}]."""
    return SumLoss(terms, num_classes)
