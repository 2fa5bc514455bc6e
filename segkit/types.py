"""Types for the signatures of registered components: what a value may be, checked before anything is built.

A component that uses them in its signature gets their rules and error messages from the configuration; called
from Python, it still checks what it depends on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from segkit.schedule import parse_count, parse_duration


class Downloads:
    """Marks a parameter that makes the constructor fetch pretrained weights, unless it is `none`."""


class FromLabels:
    """Marks a parameter that a file may give as a word, for which the build puts numbers from the training labels."""


@dataclass(frozen=True)
class Expects:
    """Says in an `Annotated` type what its values are, for messages: "expected <what>, got 3"."""

    expected: str


@dataclass(frozen=True)
class TimeLike(Expects):
    """Marks a parameter counted in iterations that a file may also give as a share of the run (`10%`)."""

    expected: str = "a number of iterations or a share of the run such as 10%"


@dataclass(frozen=True)
class CountLike(Expects):
    """Marks a count that may also be a share; between two counts, a schedule of it gives whole numbers."""

    expected: str = "a count of at least 1, or a share in (0, 1] such as 1/16 or 5%"


@dataclass(frozen=True)
class ComponentOf:
    """Marks a parameter that is a component of a registry, by the registry's `kind` ("criterion").

    In a file its value is a block `{name: ..., <options>}`, checked like any other; the constructor receives what
    the block builds. Its default is None, or a block as a dict.
    """

    kind: str

    @property
    def expected(self) -> str:
        return f"a {self.kind}, such as {{name: ...}}"


@dataclass(frozen=True)
class ComponentsOf:
    """Marks a parameter that is a list, of at least one, of components of a registry.

    The constructor receives a list of what the blocks build or, with `into`, of `into(name, component, ...)`; what
    else `into` takes are further keys of each block.
    """

    kind: str
    into: Callable[..., Any] | None = None

    @property
    def expected(self) -> str:
        return f"a list of {self.kind} blocks, such as [{{name: ...}}]"


def _check_duration(value: int | str) -> int | str:
    parse_duration(value)
    return value


def _check_count(value: int | float | str) -> int | float | str:
    parse_count(value)
    # As text, since the share 1.0 equals the count 1 wherever settings are compared.
    return "100%" if isinstance(value, float) and value == 1 else value


def _check_effective_number(value: dict[str, Any]) -> dict[str, Any]:
    beta = value.get("effective_number")
    if len(value) != 1 or not isinstance(beta, float) or not 0 < beta < 1:
        # Not a ValueError, whose text would stand for all that the parameter takes.
        raise PydanticCustomError("effective_number", "not {{effective_number: beta}}")
    return value


#: Iterations, or a share of the run such as `10%`; the component itself always receives iterations.
Duration = Annotated[int | str, AfterValidator(_check_duration), TimeLike()]
#: A number of pixels (integer >= 1) or a share of the valid pixels (`1/16`, `5%`, 0.0625).
Count = Annotated[
    int | float | str,
    AfterValidator(_check_count),
    CountLike(),
]


def check_order(ends: list) -> list:
    """The two ends of a range. Raises ValueError unless the first is the lowest."""
    if ends[0] > ends[1]:
        raise ValueError(f"must be [lowest, highest], got [{ends[0]}, {ends[1]}]")
    return ends


#: In (0, 1].
Probability = Annotated[float, Field(gt=0, le=1)]
#: In [0, 1].
Share = Annotated[float, Field(ge=0, le=1)]
#: In [0, 1).
Fractional = Annotated[float, Field(ge=0, lt=1)]
PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
#: Of a window around a pixel, in pixels.
Radius = Annotated[int, Field(ge=0, le=10)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
#: Of a p-norm; nearer to 1, powers of p / (p - 1) leave the range of floats.
NormOrder = Annotated[float, Field(ge=1.05, allow_inf_nan=False)]
NegativeFloat = Annotated[float, Field(lt=0, allow_inf_nan=False)]
AtLeastMinusOne = Annotated[float, Field(ge=-1, allow_inf_nan=False)]
Angle = Annotated[float, Field(ge=0, le=180)]

_TWO = Field(min_length=2, max_length=2)
#: [lowest, highest].
Range = Annotated[list[float], _TWO, AfterValidator(check_order)]
PositiveRange = Annotated[list[PositiveFloat], _TWO, AfterValidator(check_order)]
ShareRange = Annotated[list[Share], _TWO, AfterValidator(check_order)]

#: Height and width in pixels, as a list in a configuration file.
Size = Annotated[list[PositiveInt], _TWO]

#: One number > 0 per class, of which only the ratios matter, or `frequency`: the shares of the training labels.
ClassPriors = Annotated[list[PositiveFloat] | Literal["frequency"], FromLabels()]

#: How many pixels of a class count, by a number in (0, 1).
EffectiveNumber = Annotated[
    dict[str, Any],
    AfterValidator(_check_effective_number),
    Expects("{effective_number: beta} with beta in (0, 1)"),
]

#: One number >= 0 per class, or how to compute them from the training labels; the component receives numbers.
ClassWeights = Annotated[
    list[NonNegativeFloat] | Literal["balanced", "median_frequency"] | EffectiveNumber,
    FromLabels(),
]

__all__ = [
    "Angle",
    "AtLeastMinusOne",
    "ClassPriors",
    "ClassWeights",
    "ComponentOf",
    "ComponentsOf",
    "Count",
    "CountLike",
    "Downloads",
    "Duration",
    "Expects",
    "Fraction",
    "Fractional",
    "FromLabels",
    "NegativeFloat",
    "NonNegativeFloat",
    "NonNegativeInt",
    "NormOrder",
    "PositiveFloat",
    "PositiveInt",
    "PositiveRange",
    "Probability",
    "Radius",
    "Range",
    "Share",
    "ShareRange",
    "Size",
    "TimeLike",
    "check_order",
    "parse_count",
    "parse_duration",
]
