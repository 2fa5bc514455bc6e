"""Everything that changes with time, as pure functions of the iteration.

`iteration` counts completed optimiser updates: an update reads 0 ... total-1. Nothing here keeps state, so
validation, gradient accumulation and resuming cannot shift a schedule.
"""

import math
import re
from collections.abc import Callable
from fractions import Fraction

#: Characters of a number in a text; a float has 24 at most.
LONGEST_NUMBER = 100


def parse_duration(value: int | str) -> int | Fraction:
    """An iteration count (int >= 0) or a share of the run (Fraction in [0, 1]) from `200` or `"10%"`.

    Raises ValueError for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"must not be negative, got {value}")
        return value
    if isinstance(value, str) and value.strip().endswith("%"):
        share = _read_fraction(value.strip()[:-1].strip())
        share = None if share is None else share / 100
        if share is not None and 0 <= share <= 1:
            return share
    raise ValueError(f"must be a number of iterations or a share of the run such as 10%, got {value!r}")


def iterations(value: int | str, total: int) -> int:
    """Iterations meant by `value` in a run of `total` iterations: `"10%"` of 2000 is 200."""
    parsed = parse_duration(value)
    return math.floor(parsed * total) if isinstance(parsed, Fraction) else parsed


def parse_count(value: int | float | str | Fraction) -> int | Fraction:
    """A number of pixels (int >= 1) or a share of the valid pixels (Fraction in (0, 1]).

    `100` is a count; `"1/16"`, `"5%"` and `0.0625` are shares. Raises ValueError for anything else.
    """
    share = None
    if isinstance(value, bool):
        pass
    elif isinstance(value, int):
        if value >= 1:
            return value
    elif isinstance(value, float) and math.isfinite(value):
        share = Fraction(str(value))
    elif isinstance(value, Fraction):
        share = value
    elif isinstance(value, str):
        text = value.strip()
        share = _read_fraction(text.removesuffix("%").strip())
        share = share / 100 if share is not None and text.endswith("%") else share
    if share is not None and 0 < share <= 1:
        return share
    raise ValueError(f"must be a count of at least 1, or a share in (0, 1] such as 1/16 or 5%, got {value!r}")


def _read_fraction(text: str) -> Fraction | None:
    """The number in a text such as `1/16` or `2.5`, None if there is none."""
    if len(text) > LONGEST_NUMBER or re.search(r"[eE][-+]?[0-9_]{4}", text):
        return None  # Fraction would write out all the digits of 1e999999999
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None


def ramp(iteration: int, *, start: int, end: int, before: float, after: float) -> float:
    """`before` until `start`, linear to `after` at `end`, `after` from then on. `start == end` is a step.

    At `iteration == start == end` the value is `after`.
    """
    if iteration >= end:
        return after
    if iteration <= start:
        return before
    return before + (after - before) * (iteration - start) / (end - start)


def scheduled(
    iteration: int, *, start: int, end: int, before: float, after: float, shape: Callable[[float], float]
) -> float:
    """`before` until `start`, `after + (before - after) * shape(p)` with p from 0 at `start` to 1 at `end`, and the
    value at p = 1 from then on. `start == end` is a step to that value. `shape` maps [0, 1] to a factor.
    """
    if iteration < start:
        return before
    factor = shape((iteration - start) / (end - start) if iteration < end else 1.0)
    # after + (before - after) is not always before; for smaller factors rounding stays between the two.
    return before if factor == 1.0 else after + (before - after) * factor


def due(iteration: int, every: int, *, total: int) -> bool:
    """Whether periodic work happens after the update that made the count `iteration`: each `every`, and at
    the end of the run. `every == 0` means never, not even at the end."""
    return every > 0 and (iteration % every == 0 or iteration == total)


def learning_rate(
    iteration: int,
    *,
    base: float,
    total: int,
    shape: Callable[[float], float],
    warmup: int = 0,
    warmup_factor: float = 0.0,
) -> float:
    """Learning rate of the update that reads `iteration`.

    Linear from `warmup_factor * base` to `base` over the first `warmup` iterations, then `base * shape(p)` with
    p going from 0 to 1 over the rest of the run. `shape` maps [0, 1] to a factor.
    """
    if iteration < warmup:
        return base * (warmup_factor + (1.0 - warmup_factor) * (iteration + 1) / (warmup + 1))
    return base * shape((iteration - warmup) / max(1, total - warmup))
