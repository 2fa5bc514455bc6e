"""The learning-rate schedules a configuration can name (`schedule.name`).

Each is a pure function of `progress`, the share in [0, 1] of the run done after the warm-up, and returns the
factor on the base learning rate.
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
def poly(progress: float, *, power: PositiveFloat = 0.9, end: Share = 0.0) -> float:
    """(1 - progress)^power, down to `end` x the base rate (DeepLab's schedule)."""
    return end + (1.0 - end) * (1.0 - progress) ** power


@SCHEDULES.register("linear")
def linear(progress: float, *, end: Share = 0.0) -> float:
    """A straight line down to `end` x the base rate."""
    return end + (1.0 - end) * (1.0 - progress)


@SCHEDULES.register("cosine")
def cosine(progress: float, *, end: Share = 0.0) -> float:
    """Half a cosine down to `end` x the base rate (SGDR without restarts)."""
    return end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


@SCHEDULES.register("step")
def step(
    progress: float,
    *,
    at: Annotated[list[Share], Field(min_length=1)] = [0.6, 0.8],  # noqa: B006 (shown as the default, never mutated)
    gamma: NonNegativeFloat = 0.1,
) -> float:
    """The rate times `gamma` at each share of the run listed in `at`."""
    return gamma ** sum(progress >= share for share in at)
