"""The schedules a configuration can name: of the learning rate (`schedule.name`), and of any number of a loss.

Each is a pure function of `progress` in [0, 1] and returns a factor. For the learning rate, progress is the
share of the run done after the warm-up, and the factor is on the base rate; for an option of a loss, it is the
share done of the way from `start` to `end`, and the factor 1 means its `from`, 0 its `to`.
"""

import math
from typing import Annotated

from pydantic import Field

from segkit.registry import SCHEDULES
from segkit.types import NonNegativeFloat, PositiveFloat, Share


@SCHEDULES.register("constant")
def constant(progress: float) -> float:
    """The same rate throughout."""
    return 1.0


@SCHEDULES.register("poly")
def poly(progress: float, *, power: PositiveFloat = 0.9, final: Share = 0.0) -> float:
    """(1 - progress)^power, down to `final` x the base rate (DeepLab's schedule)."""
    return final + (1.0 - final) * (1.0 - progress) ** power


@SCHEDULES.register("linear")
def linear(progress: float, *, final: Share = 0.0) -> float:
    """A straight line down to `final` x the base rate."""
    return final + (1.0 - final) * (1.0 - progress)


@SCHEDULES.register("cosine")
def cosine(progress: float, *, final: Share = 0.0) -> float:
    """Half a cosine down to `final` x the base rate (SGDR without restarts)."""
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


@SCHEDULES.register("step")
def step(
    progress: float,
    *,
    at: Annotated[list[Share], Field(min_length=1)] = [0.6, 0.8],  # noqa: B006 (shown as the default, never mutated)
    gamma: NonNegativeFloat = 0.1,
) -> float:
    """The rate times `gamma` at each share of the run listed in `at`."""
    return gamma ** sum(progress >= share for share in at)
