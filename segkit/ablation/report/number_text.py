"""How a number of the report is written, in one place: tables, figures and sentences use the same text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from segkit.ablation.statistics.difference import Difference, Score, write_p
from segkit.ablation.statistics.unit import POINTS, Unit

NOTHING = "-"
AMOUNT = Unit("", 1.0, 2)


def is_number(value: float | None) -> TypeGuard[float]:
    """Whether there is a number to show."""
    return value is not None and math.isfinite(value)


def percent_text(share: float | None) -> str:
    """`60.4` for 0.604, `-` where there is nothing to measure."""
    return value_text(share, POINTS)


def value_text(value: float | None, unit: Unit) -> str:
    """A score in its unit, with the decimals usual there."""
    return unit.write(value, unit.digits) if is_number(value) else NOTHING


def say_unit(unit: Unit) -> str:
    """`percentage points`, or what else differences are in."""
    return "percentage points" if unit is POINTS else unit.name


def points_text(share: float | None, digits: int = 1, unit: Unit = POINTS) -> str:
    """`+1.2` for a difference of 0.012: percentage points, always with a sign unless it rounds to zero."""
    return unit.write_signed(share, digits) if is_number(share) else NOTHING


def interval_text(interval: Sequence[float], digits: int = 1, unit: Unit = POINTS) -> str:
    """`[+0.3, +2.1]` in percentage points."""
    return f"[{points_text(interval[0], digits, unit)}, {points_text(interval[1], digits, unit)}]"


@dataclass(frozen=True)
class DifferenceText:
    """A difference as every table, figure and sentence writes it, without its unit."""

    value: str
    interval: str
    p_holm: str
    noise: str
    images: str


def difference_text(found: Difference) -> DifferenceText:
    """In its unit, with the decimals usual there, or the few more that it takes to write nothing but 0 as 0."""
    unit = found.unit
    digits = unit.digits_for([found.value, *found.interval])
    return DifferenceText(
        points_text(found.value, digits, unit),
        interval_text(found.interval, digits, unit),
        p_text(found.p_holm),
        half_width_text(found.noise, digits, unit),
        half_width_text(found.from_images, digits, unit),
    )


def score_text(score: Score | None, unit: Unit = POINTS) -> str:
    """`60.4 ± 0.5` in percent, `0.185 ± 0.004` in nats; without the deviation for one seed."""
    if score is None or not is_number(score.mean):
        return NOTHING
    deviation = f" ± {unit.write(score.std, unit.digits)}" if is_number(score.std) else ""
    return unit.write(score.mean, unit.digits) + deviation


def spread_text(score: Score | None, digits: int | None = None) -> str:
    """`297 ± 4`, an amount with its sample standard deviation over seeds; with so many decimals, or three digits."""
    if score is None or not is_number(score.mean):
        return NOTHING
    places = digits if digits is not None else _amount_digits(score.mean)
    deviation = f" ± {AMOUNT.write(score.std, places)}" if is_number(score.std) else ""
    return AMOUNT.write(score.mean, places) + deviation


def half_width_text(share: float | None, digits: int = 1, unit: Unit = POINTS) -> str:
    """`±0.5` for 0.005."""
    return f"±{unit.write(share, digits)}" if is_number(share) else NOTHING


def p_text(p: float | None) -> str:
    """`0.012`, one digit below 0.001, such as `0.0003`, and `<0.0001` below that."""
    return write_p(p).removeprefix("= ").replace("< ", "<") if is_number(p) else NOTHING


def amount_text(value: float | None) -> str:
    """A speed, a size or a duration with about three digits: `3,120`, `41.5`, `2.08`, `0.0032`."""
    if not is_number(value):
        return NOTHING
    return AMOUNT.write(value, _amount_digits(value))


def _amount_digits(value: float) -> int:
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 or value == 0 else 4
