"""In what a difference is told: points, which are hundredths, of shares; nats of cross-entropy; bits of information;
units of the rest."""

from collections.abc import Sequence
from dataclasses import dataclass

MINUS = "−"  # as wide as the plus; the renderers know it
MOST_DIGITS = 5


@dataclass(frozen=True)
class Unit:
    """So many of it are 1; `digits` are its usual decimals."""

    name: str
    factor: float
    digits: int

    def digits_for(self, values: Sequence[float]) -> int:
        """The usual decimals, or as many more as it takes that nothing but 0 is written as 0."""
        for digits in range(self.digits, MOST_DIGITS):
            if all(round(self.factor * value, digits) for value in values if value):
                return digits
        return MOST_DIGITS

    def write(self, value: float, digits: int) -> str:
        """`−1.2` for -0.012 in points: the rounded value with a proper minus, never `-0.0`."""
        text = f"{round(self.factor * value, digits) + 0.0:,.{digits}f}"  # + 0.0: no minus zero
        return text.replace("-", MINUS)

    def write_signed(self, value: float, digits: int) -> str:
        """With a plus too, unless it rounds to zero."""
        return f"{'+' if round(self.factor * value, digits) > 0 else ''}{self.write(value, digits)}"


POINTS = Unit("points", 100.0, 1)
NATS = Unit("nats", 1.0, 3)
BITS = Unit("bits", 1.0, 3)
UNITS = Unit("units", 1.0, 3)
