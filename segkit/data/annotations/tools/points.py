"""Numbers of shapes as files have them, checked: what is no point of an image is refused where its entry is known."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from segkit.errors import DataError

#: Pixels from the first one up to which something can have been drawn; what lies outside of the image is cut off.
FARTHEST = 1_000_000
MEND = "mend it in the tool that drew it and save again, or leave such images out: data.on_bad_sample=skip"


def bad_shape(source: str, entry: str, rule: str, *, advice: str = MEND) -> DataError:
    """The DataError to raise for a shape that cannot be drawn: `rule` says what is wrong with it."""
    return DataError(f"cannot draw {source}, {entry}: {rule}\n   -> {advice}")


def check_number(value: Any, *, source: str, entry: str, what: str = "a coordinate") -> float:
    """A finite number of a size that pixels have. Raises DataError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad_shape(source, entry, f"{value!r:.40} is no number")
    if isinstance(value, float) and not math.isfinite(value):
        raise bad_shape(source, entry, f"{what} is {value}")
    if abs(value) > FARTHEST:
        far = f"{what} is {value!r:.40}, farther than {FARTHEST:,} pixels from the image"
        raise bad_shape(source, entry, far)
    return float(value)


def parse_number(text: str, *, source: str, entry: str, what: str = "a coordinate") -> float:
    """The same of a number that is written as text."""
    try:
        value = float(text)
    except ValueError:
        raise bad_shape(source, entry, f"{text!r:.40} is no number") from None
    return check_number(value, source=source, entry=entry, what=what)


def check_points(values: Any, *, source: str, entry: str, least: int, kind: str) -> np.ndarray:
    """Points (K, 2) float64 from a list of [x, y]. Raises DataError for fewer than `least` of them, which a `kind` of
    shape needs, and for what is no point."""
    if not isinstance(values, list) or not all(
        isinstance(value, list) and len(value) == 2 for value in values
    ):
        raise bad_shape(source, entry, "its points are no list of [x, y]")
    check_count(len(values), source=source, entry=entry, least=least, kind=kind)
    quick = _convert(values)
    if quick is not None:
        return quick
    checked = [[check_number(number, source=source, entry=entry) for number in value] for value in values]
    return np.array(checked, dtype=np.float64).reshape(-1, 2)


def _convert(values: list[list[Any]]) -> np.ndarray | None:
    """All numbers at once, if nothing is wrong with any of them; a point after the other takes ten times as long."""
    try:
        points = np.array(values)
    except ValueError:  # lists of lists
        return None
    fine = points.dtype.kind in "if" and points.size and bool((np.abs(points) <= FARTHEST).all())
    return points.astype(np.float64) if fine else None


def check_count(
    found: int, *, source: str, entry: str, least: int, kind: str, most: int | None = None
) -> None:
    """Raises DataError for a shape of fewer points than its kind has, or of more."""
    if found < least or (most is not None and found > most):
        expected = (
            f"{least}" if most == least else f"{least} or more" if most is None else f"{least} to {most}"
        )
        count = f"{found} point{'s' * (found != 1)}"
        raise bad_shape(source, entry, f"{count}, where a {kind} has {expected}")


def check_box(numbers: Sequence[float], *, source: str, entry: str) -> None:
    """Raises DataError for a box (left, top, right, bottom) without an area."""
    left, top, right, bottom = numbers
    if not (right > left and bottom > top):
        raise bad_shape(
            source, entry, f"a box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) covers nothing"
        )
