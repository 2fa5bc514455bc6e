"""How a number of the report is written, in one place: tables, figures and sentences use the same text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from segkit.ablation.statistics.difference import MINUS, Difference, Score, write_p

NOTHING = "-"


def is_number(value: float | None) -> TypeGuard[float]:
    """Whether there is a number to show."""
    return value is not None and math.isfinite(value)


def percent_text(share: float | None) -> str:
    """`60.4` for 0.604, `-` where there is nothing to measure."""
    return signless(100 * share, 1) if is_number(share) else NOTHING


def points_text(share: float | None, digits: int = 1) -> str:
    """`+1.2` for a difference of 0.012: percentage points, always with a sign unless it rounds to zero."""
    if not is_number(share):
        return NOTHING
    return f"{'+' if round(100 * share, digits) > 0 else ''}{signless(100 * share, digits)}"


def interval_text(interval: Sequence[float], digits: int = 1) -> str:
    """`[+0.3, +2.1]` in percentage points."""
    return f"[{points_text(interval[0], digits)}, {points_text(interval[1], digits)}]"


@dataclass(frozen=True)
class DifferenceText:
    """A difference as every table, figure and sentence writes it."""

    value: str
    interval: str
    p_holm: str
    noise: str
    images: str


def difference_text(found: Difference) -> DifferenceText:
    """With one decimal, or the few more that it takes to write nothing but 0 as 0."""
    digits = _digits_for([found.value, *found.interval])
    return DifferenceText(
        points_text(found.value, digits),
        interval_text(found.interval, digits),
        p_text(found.p_holm),
        half_width_text(found.noise, digits),
        half_width_text(found.from_images, digits),
    )


def _digits_for(shares: Sequence[float]) -> int:
    for digits in range(1, 5):
        rounded = [round(abs(100 * share), digits) for share in shares]
        if not any(share and not shown for share, shown in zip(shares, rounded, strict=True)):
            return digits
    return 5


def score_text(score: Score | None) -> str:
    """`60.4 ± 0.5` in percent; without the deviation for one seed."""
    if score is None or not is_number(score.mean):
        return NOTHING
    deviation = f" ± {signless(100 * score.std, 1)}" if is_number(score.std) else ""
    return percent_text(score.mean) + deviation


def spread_text(score: Score | None, digits: int | None = None) -> str:
    """`297 ± 4`, an amount with its sample standard deviation over seeds; with so many decimals, or three digits."""
    if score is None or not is_number(score.mean):
        return NOTHING
    places = digits if digits is not None else _amount_digits(score.mean)
    deviation = f" ± {signless(score.std, places)}" if is_number(score.std) else ""
    return signless(score.mean, places) + deviation


def half_width_text(share: float | None, digits: int = 1) -> str:
    """`±0.5` for 0.005."""
    return f"±{signless(100 * share, digits)}" if is_number(share) else NOTHING


def p_text(p: float | None) -> str:
    """`0.012`, one digit below 0.001, such as `0.0003`, and `<0.0001` below that."""
    return write_p(p).removeprefix("= ").replace("< ", "<") if is_number(p) else NOTHING


def amount_text(value: float | None) -> str:
    """A speed, a size or a duration with about three digits: `3,120`, `41.5`, `2.08`."""
    if not is_number(value):
        return NOTHING
    return signless(value, _amount_digits(value))


def _amount_digits(value: float) -> int:
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2


def signless(value: float, digits: int) -> str:
    """The rounded value with a proper minus, never `-0.0`."""
    text = f"{value:,.{digits}f}"
    if text.startswith("-"):
        text = text[1:] if float(text.replace(",", "")) == 0 else MINUS + text[1:]
    return text
