"""Any loss with numbers that move with the iteration. The loss need not know: it is constructed anew for new values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from segkit.errors import ConfigError
from segkit.losses.calls import call_accepted, find_method
from segkit.schedule import scheduled

#: Into how many steps the way of a schedule is cut to try its values before a run.
TRIED = 32


@dataclass(frozen=True)
class Schedule:
    """A number as a pure function of the iteration; see `segkit.schedule.scheduled`.

    `name` is that of the shape. With `whole` the values are rounded. `key` is where a configuration has it, and
    `refuses(value)` says why the option cannot have a value, or None; both are for messages.
    """

    name: str
    shape: Callable[[float], float]
    before: float
    after: float
    start: int
    end: int
    whole: bool = False
    key: str = ""
    refuses: Callable[[float], str | None] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"start={self.start} is after end={self.end}; it must not be larger")

    def __call__(self, iteration: int) -> float:
        value = scheduled(
            iteration,
            start=self.start,
            end=self.end,
            before=self.before,
            after=self.after,
            shape=self.shape,
        )
        return round(value) if self.whole else value

    def __str__(self) -> str:
        if self.before == self.after:
            return f"{self.before:g} {self.name}"
        return f"{self.before:g} -> {self.after:g} {self.name} over {self.start:,}-{self.end:,}"


class Scheduled(nn.Module):
    """A loss some of whose options follow schedules.

    `construct(**values)` makes the loss for one value of each option in `schedules`. Like every loss it keeps no
    state: the loss of an iteration is a function of the iteration. It has what the constructed loss has, with the
    values of the iteration, and reports them as `schedule_<option>`.
    """

    place: Tensor

    def __init__(
        self,
        construct: Callable[..., nn.Module],
        schedules: Mapping[str, Schedule],
        *,
        name: str = "loss",
        allow_inactive: bool = False,
    ):
        super().__init__()
        self.construct, self.schedules = construct, dict(schedules)
        self.name, self.allow_inactive = name, allow_inactive
        self.register_buffer("place", torch.empty(0), persistent=False)  # knows the device
        self._latest: tuple[Any, nn.Module] | None = None
        self._call = _call  # or that compiled
        first = self.at(0)
        if any(parameter.requires_grad for parameter in first.parameters()):
            raise ConfigError(
                f"{name}: a loss with parameters that it learns is made anew whenever {', '.join(self.schedules)} "
                "moves, and would forget them -> a number instead of a schedule"
            )
        self._first = (first,)  # in a tuple, and so no part of this module: it has no state of its own
        self.needs_weight = getattr(first, "needs_weight", False)
        self.unpromised = getattr(first, "unpromised", {})
        self.label_maps = getattr(first, "label_maps", {})
        if hasattr(first, "logits_channels"):
            self.logits_channels = first.logits_channels
        # What not every loss has is there exactly if this one has it.
        for method in ("pixels", "denominator"):
            if hasattr(first, method):
                setattr(self, method, getattr(self, f"_{method}"))

    def values_at(self, iteration: int) -> dict[str, float]:
        """The scheduled options at an iteration."""
        if iteration is None:
            raise TypeError(f"{self.name} needs the iteration, got None")
        return {option: schedule(iteration) for option, schedule in self.schedules.items()}

    def at(self, iteration: int) -> nn.Module:
        """The loss with the values of an iteration, on this module's device."""
        values = self.values_at(iteration)
        wanted = (values, self.place.device, self.training)
        if self._latest is None or self._latest[0] != wanted:
            # A constructor that draws must give the same loss each time, and leave the run's numbers alone.
            with torch.random.fork_rng(devices=[]):
                torch.random.default_generator.manual_seed(0)
                loss = self.construct(**values)
            # Without blocking: a copy of a few numbers must not make the host wait in every iteration.
            loss = loss.to(self.place.device, non_blocking=True).train(self.training)
            self._latest = (wanted, loss)
        return self._latest[1]

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
        """What the loss of this iteration gives, and the scheduled values."""
        more: dict[str, Any] = {"maps": maps} if maps else {}
        more |= {"shares": shares} if shares else {}  # of a sum
        loss, metrics = self._call(self.at(iteration), logits, target, weight, iteration, more)
        values = {f"schedule_{option}": float(value) for option, value in self.values_at(iteration).items()}
        return loss, {**metrics, **values}

    def compile(self, **options: Any) -> None:
        """Compile in place, as `nn.Module.compile` with the `options` of `torch.compile`: the loss of an iteration, and
        not the making of it. So a number of the loss that moves enters the graph from outside, and one compilation for
        numbers that stay and one for numbers that move are all; a loss that branches on them has one per branch."""
        self._call = torch.compile(_call, **options)

    def _pixels(self, logits: Tensor, target: Tensor, weight: Tensor | None = None, *, iteration: int) -> Any:
        pixels: Any = self.at(iteration).pixels
        return pixels(logits, target, weight, iteration=iteration)

    def _denominator(self, target: Tensor, weight: Tensor | None = None) -> Any:
        # By which pixels count and what they weigh, which is no matter of schedules but of the labels.
        denominator: Any = self._first[0].to(self.place.device).denominator
        return denominator(target, weight)

    def check_run(
        self, *, iterations: int, pixels_per_batch: int, images_per_batch: int = 1, accumulate: int = 1
    ) -> None:
        """Raises ConfigError for a schedule that never starts in such a run, for a value that its option cannot
        have, and for a loss that would do nothing at the first and at the last iteration."""
        if not self.allow_inactive:
            late = [schedule for schedule in self.schedules.values() if schedule.start >= iterations]
            if late:
                raise ConfigError([_never_starts(schedule, iterations) for schedule in late])
        for iteration in self._moments(iterations):
            self._require_valid(iteration)
        run = {
            "pixels_per_batch": pixels_per_batch,
            "images_per_batch": images_per_batch,
            "accumulate": accumulate,
        }
        check_first = find_method(self.at(0), "check_run")
        if check_first is None:
            return
        try:
            call_accepted(check_first, iterations=iterations, **run)
        except ConfigError:  # it may be of use later
            check_last: Any = self.at(iterations - 1).check_run
            call_accepted(check_last, iterations=iterations, **run)

    def describe(self, *, iterations: int, pixels_per_batch: int, images_per_batch: int = 1) -> str:
        """One line for the console: the loss as it is in the end, and its schedules."""
        last = self.at(max(0, iterations - 1))
        line = self.name
        describe = find_method(last, "describe")
        if describe is not None:
            line = call_accepted(
                describe,
                iterations=iterations,
                pixels_per_batch=pixels_per_batch,
                images_per_batch=images_per_batch,
            )
        return f"{line}  scheduled: {', '.join(f'{name} {way}' for name, way in self.schedules.items())}"

    def _moments(self, iterations: int) -> list[int]:
        """Iterations of a run at which values are tried: its first and last, and some on the way of each schedule."""
        moments = {0, iterations - 1}
        for schedule in self.schedules.values():
            steps = range(TRIED + 1)
            moments |= {schedule.start + (schedule.end - schedule.start) * n // TRIED for n in steps}
        return [moment for moment in sorted(moments) if moment < iterations]

    def _require_valid(self, iteration: int) -> None:
        values = self.values_at(iteration)
        for option, schedule in self.schedules.items():
            reason = schedule.refuses(values[option]) if schedule.refuses else None
            if reason is not None:
                key = schedule.key or option
                raise ConfigError(
                    f"{key}: {reason}, but its schedule gives {values[option]:g} at iteration {iteration:,}"
                )
        try:
            self.at(iteration)
        except (ValueError, ConfigError) as error:
            given = ", ".join(f"{option} {value:g}" for option, value in values.items())
            raise ConfigError(
                f"{error} (at iteration {iteration:,}, where the schedules give {given})"
            ) from error


def _call(
    loss: nn.Module,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    iteration: int,
    more: Mapping[str, Any],
) -> Any:
    return loss(logits, target, weight, iteration=iteration, **more)


def _never_starts(schedule: Schedule, iterations: int) -> str:
    return (
        f"{schedule.key or schedule.name}: its schedule would never start: start={schedule.start} but the run has "
        f"{iterations} iterations -> start: 10%, end: 50%"
    )
