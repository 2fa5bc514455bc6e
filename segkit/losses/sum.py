"""`sum`: several losses added, each with a weight."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from segkit.errors import ConfigError
from segkit.losses.calls import call_accepted, find_method
from segkit.losses.common.balance import balance as balance_terms
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


#: What terms are multiplied by besides their weights: nothing, or what brings their gradients to one norm.
Balance = Literal["none", "gradient"]


class SumLoss(nn.Module):
    """sum over the terms of weight x loss. Raises ValueError for terms that do not fit together.

    Every term gets the same logits, target, weight map and iteration, and one that has `label_maps` the maps. A term of
    weight 0 is computed too: what it reports is logged, and a NaN in it is not hidden. Where one term takes a single
    logit z per pixel and another one logit per class, of two, the model gives z, and the other term gets (0, z), of
    which softmax makes the sigmoid of z.

    With `balance="gradient"` the terms are brought to the same norm of their gradients first (see common/balance.py),
    in each batch anew.
    """

    def __init__(self, terms: list[Term], num_classes: int, *, balance: Balance = "none"):
        super().__init__()
        if balance not in ("none", "gradient"):
            raise ValueError(f"balance must be one of none, gradient, got {balance!r}")
        self.balance = balance
        names = [term.name for term in terms]
        if not terms or len(set(names)) < len(names):
            raise ValueError(f"the terms of a sum need different names, and there must be one: {names}")
        self.names, self.weights = names, [term.weight for term in terms]
        self.losses = nn.ModuleList(term.loss for term in terms)
        self.needs_weight = any(getattr(loss, "needs_weight", False) for loss in self.losses)
        self.channels: list[Any] = [getattr(loss, "logits_channels", num_classes) for loss in self.losses]
        if len(set(self.channels)) > 1 and set(self.channels) != {1, 2}:
            needs = ", ".join(f"{name} {count}" for name, count in zip(names, self.channels, strict=True))
            raise ValueError(f"the terms need different numbers of logits per pixel: {needs}")
        self.logits_channels = min(self.channels)
        # What terms do not promise, and what they want made of the labels.
        self.unpromised, self.label_maps = (
            _merge(self.losses, name) for name in ("unpromised", "label_maps")
        )
        if any(hasattr(loss, "pixels") for loss in self.losses):  # there exactly if a term can tell
            self.pixels = self._pixels
        if balance == "none":  # what is balanced is refused in parts
            self.denominator = self._denominators

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        *,
        iteration: int,
        maps: Mapping[str, Tensor] | None = None,
        shares: Sequence[Any] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The sum and what to log: of each term `<name>/value`, before its weight, and `<name>/<metric>`, with balance
        also `<name>/factor`; plain `ce` from the first term that reports it.

        Where the batch is one of several in an update, `shares` is what each term of it counts there, by what it says
        in `denominator`: values are multiplied by these, so that they add up to that of the update.
        """
        if iteration is None:
            raise TypeError("sum needs the iteration, got None")
        # Once for all terms: else the gradient of each would be rounded to half precision before they are added.
        logits = logits if logits.dtype == torch.float64 else logits.float()
        told: dict[str, dict[str, Tensor | float]] = {}

        def term(name: str, loss: nn.Module, channels: int, share: Any, logits: Tensor) -> Tensor:
            more: dict[str, Any] = {"maps": maps} if maps and getattr(loss, "label_maps", {}) else {}
            within = {"shares": share} if isinstance(share, tuple) else {}  # a sum again
            value, told[name] = loss(
                _with_channels(logits, channels), target, weight, iteration=iteration, **more, **within
            )
            return value if share is None or within else share * value

        terms = [
            partial(term, name, loss, channels, share)
            for name, loss, channels, share in zip(
                self.names, self.losses, self.channels, shares or [None] * len(self.names), strict=True
            )
        ]
        factors: list[Tensor] = []
        if self.balance == "gradient":
            total, parts, factors = balance_terms(terms, self.weights, logits)
        else:
            parts = [compute(logits) for compute in terms]
            weighted = [factor * part for factor, part in zip(self.weights, parts, strict=True)]
            total = sum(weighted[1:], weighted[0])
        metrics: dict[str, Tensor | float] = {}
        for name, part in zip(self.names, parts, strict=True):
            metrics[f"{name}/value"] = part.detach()
            metrics |= {f"{name}/{metric}": measured for metric, measured in told[name].items()}
        metrics |= {f"{name}/factor": factor for name, factor in zip(self.names, factors, strict=False)}
        ce = next((values["ce"] for values in told.values() if "ce" in values), None)
        return total, metrics if ce is None else {"ce": ce, **metrics}

    def compile(self, **options: Any) -> None:
        """Compile every term in place, as `nn.Module.compile` with `options` of `torch.compile`: a term that follows
        a schedule has its own way to do it."""
        for loss in self.losses:
            loss.compile(**options)

    def _denominators(self, target: Tensor, weight: Tensor | None = None) -> tuple[Any, ...]:
        """What the mean of each term divides by, from the labels alone: see `PixelLoss.denominator`. None for a term
        that does not say."""
        finds = [find_method(loss, "denominator") for loss in self.losses]
        return tuple(None if find is None else find(target, weight) for find in finds)

    def _pixels(self, logits: Tensor, target: Tensor, weight: Tensor | None = None, *, iteration: int) -> Any:
        for loss, channels in zip(self.losses, self.channels, strict=True):
            pixels = find_method(loss, "pixels")
            if pixels is not None:
                return pixels(_with_channels(logits, channels), target, weight, iteration=iteration)
        raise AttributeError("no term of the sum can tell which pixels it keeps")

    def check_run(
        self, *, iterations: int, pixels_per_batch: int, images_per_batch: int = 1, accumulate: int = 1
    ) -> None:
        """Raises ConfigError if one of the terms would do nothing in such a run, if none has a weight, and for a
        balance that would be that of each of the `accumulate` micro-batches."""
        if not any(self.weights):
            raise ConfigError("sum: the weights of all terms are 0: nothing would be learned")
        if self.balance == "gradient" and accumulate > 1:
            raise ConfigError(
                f"balance: gradient compares the gradients of a whole batch, and train.accumulate={accumulate} would "
                "compare those of each part of it\n"
                "   -> train.accumulate=1, with more processes or a smaller batch, or balance: none"
            )
        run = _facts(iterations, pixels_per_batch, images_per_batch) | {"accumulate": accumulate}
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
        balanced = "" if self.balance == "none" else "  balanced by gradient norms"
        return f"sum  {' + '.join(terms)}{balanced}"


def _with_channels(logits: Tensor, channels: int) -> Tensor:
    """The logits (N, 1, *any) or (N, C, *any) with so many channels: of one logit z also (0, z)."""
    if channels == 2 and logits.shape[1] == 1:
        return torch.cat([torch.zeros_like(logits), logits], dim=1)
    return logits


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
    num_classes: int,
    *,
    terms: Annotated[list[Term], ComponentsOf("loss", into=Term)],
    balance: Balance = "none",
) -> SumLoss:
    """Several losses added, such as terms: [{name: ohem_ce, thresh: 0.6}, {name: dice, weight: 0.5}]."""
    return SumLoss(terms, num_classes, balance=balance)
