"""Types for the signatures of registered components: what a value may be, checked before anything is built.

A component that uses them in its signature gets their rules and error messages from the configuration; called
from Python, it still checks what it depends on.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, Field

from segkit.schedule import parse_count, parse_duration


class Downloads:
    """Marks a parameter that makes the constructor fetch pretrained weights, unless it is `none`."""


@dataclass(frozen=True)
class Expects:
    """Says in an `Annotated` type what its values are, for messages: "expected <what>, got 3"."""

    expected: str


@dataclass(frozen=True)
class TimeLike(Expects):
    """Marks a parameter counted in iterations that a file may also give as a share of the run (`10%`)."""

    expected: str = "a number of iterations or a share of the run such as 10%"


def _check_duration(value: int | str) -> int | str:
    parse_duration(value)
    return value


def _check_count(value: int | float | str) -> int | float | str:
    parse_count(value)
    return value


#: Iterations, or a share of the run such as `10%`; the component itself always receives iterations.
Duration = Annotated[int | str, AfterValidator(_check_duration), TimeLike()]
#: A number of pixels (integer >= 1) or a share of the valid pixels (`1/16`, `5%`, 0.0625).
Count = Annotated[
    int | float | str,
    AfterValidator(_check_count),
    Expects("a count of at least 1, or a share in (0, 1] such as 1/16 or 5%"),
]
#: In (0, 1].
Probability = Annotated[float, Field(gt=0, le=1)]
#: In [0, 1].
Share = Annotated[float, Field(ge=0, le=1)]
#: In [0, 1).
Fractional = Annotated[float, Field(ge=0, lt=1)]
PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]

__all__ = [
    "Count",
    "Downloads",
    "Duration",
    "Expects",
    "Fraction",
    "Fractional",
    "NonNegativeFloat",
    "NonNegativeInt",
    "PositiveFloat",
    "PositiveInt",
    "Probability",
    "Share",
    "TimeLike",
    "parse_count",
    "parse_duration",
]
