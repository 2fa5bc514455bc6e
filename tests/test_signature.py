"""A constructor's signature is the schema of its block: what may be set, of which type, in which words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from pydantic import BaseModel, Field, ValidationError

from segkit.describe_types import describe_part, describe_type
from segkit.registry import OPTIMIZERS
from segkit.signature import (
    REQUIRED,
    Parameter,
    accepts,
    duration_parameters,
    read_fields,
    read_parameters,
    summarise,
)
from segkit.types import Count, Duration, Fractional, PositiveInt, Probability, Share


def read(constructor, given=()):
    return {parameter.name: parameter for parameter in read_parameters(constructor, given)}


def refuses(annotation, value):
    with pytest.raises(ValidationError):
        Parameter("x", annotation).check(value)
    return True


class Net(torch.nn.Module):
    """A net.

    More about it.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        width: PositiveInt,
        norm: Literal["batch", "none"] = "batch",
        freeze: Duration | None = None,
        activation: type[torch.nn.Module] = torch.nn.ReLU,
        make: Callable[[int], int] = abs,
        layer=torch.nn.Conv2d,
        anything=3,
        maybe: int = None,  # noqa: RUF013 (people write this)
        **extra: Any,
    ):
        super().__init__()


def test_parameters_of_a_class():
    parameters = read(Net, ("num_classes", "in_channels"))
    assert list(parameters) == ["width", "norm", "freeze", "anything", "maybe"]
    assert parameters["width"].required and parameters["width"].default is REQUIRED
    assert parameters["norm"].default == "batch" and not parameters["norm"].required
    assert parameters["anything"].check("word") == "word"
    assert parameters["maybe"].check(None) is None


def test_given_arguments_and_summary():
    assert accepts(Net, "num_classes") and not accepts(Net, "params")
    assert summarise(Net) == "A net."

    class Bare(torch.nn.Module):
        pass

    assert summarise(Bare) == ""


def test_required_parameter_that_no_file_can_set():
    def loss(backbone: torch.nn.Module): ...

    with pytest.raises(TypeError, match="a configuration cannot set the required parameter 'backbone"):
        read_parameters(loss)


def test_duration_parameters():
    def loss(
        start: Duration, *, end: Duration | None = None, many: list[Duration] = (), k: Count = 1, n: int = 0
    ):
        pass

    assert duration_parameters(loss) == {"start", "end"}
    assert duration_parameters(Net) == {"freeze"}


def test_every_optimizer_of_torch_has_a_plain_schema():
    for name in OPTIMIZERS.names():
        parameters = read(OPTIMIZERS.get(name), OPTIMIZERS.given)
        assert "params" not in parameters
        assert parameters["lr"].expected == "a number"
        assert parameters["lr"].check(1) == 1.0
        for parameter in parameters.values():
            assert parameter.json_schema()["default"] is not REQUIRED
    adam = read(OPTIMIZERS.get("adam"), OPTIMIZERS.given)
    assert adam["betas"].check([0.9, 0.99]) == (0.9, 0.99)
    assert adam["betas"].expected == "a list of 2 numbers"
    assert adam["foreach"].expected == "true, false or null"


def test_sequences_and_mappings_are_lists_and_dicts():
    def loss(a: Sequence[float] = (), b: Mapping[int | str, int] | None = None, c: Path = Path("x")): ...

    parameters = read(loss)
    assert parameters["a"].check([1, 2.5]) == [1.0, 2.5]
    assert parameters["b"].check({0: 1, "x": 2}) == {0: 1, "x": 2}
    assert parameters["c"].check("data") == Path("data")


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "3"),
        (int, True),
        (int, 3.0),
        (float, "3"),
        (float, True),
        (float, float("nan")),
        (float, float("inf")),
        (bool, 1),
        (bool, "no"),
        (str, 3),
        (Probability, 0),
        (Fractional, 1),
        (Share, 1.5),
        (PositiveInt, 0),
        (Count, 0),
        (Count, "17/16"),
        (Duration, "101%"),
        (Duration, 2.0),
        (Duration, -1),
        (list[int], [1, "2"]),
        (list[int], "12"),
        (dict[str, int], [1]),
        (Literal["a", "b"], "c"),
    ],
)
def test_strict(annotation, value):
    assert refuses(annotation, value)


@pytest.mark.parametrize("value", [[1.0], [1, 2, 3], [True, 1.0], ["1", 1.0], 1.0, "ab"])
def test_tuples_are_strict_inside(value):
    def loss(betas: tuple[float, float] = (0, 1)): ...

    with pytest.raises(ValidationError):
        read(loss)["betas"].check(value)


def test_an_integer_is_a_number():
    assert Parameter("x", float).check(3) == 3.0
    assert type(Parameter("x", float).check(3)) is float
    assert type(Parameter("x", int | float).check(3)) is int


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "an integer"),
        (PositiveInt, "an integer >= 1"),
        (Annotated[int, Field(ge=2, le=8)], "an integer in [2, 8]"),
        (Annotated[float, Field(gt=0)], "a number > 0"),
        (Annotated[float, Field(lt=1)], "a number < 1"),
        (Annotated[float, Field(le=1)], "a number <= 1"),
        (Probability, "a number in (0, 1]"),
        (Fractional, "a number in [0, 1)"),
        (Share, "a number in [0, 1]"),
        (bool, "true or false"),
        (bool | None, "true, false or null"),
        (str | None, "a string or null"),
        (Literal["auto", "off"], "one of auto, off"),
        (Literal["auto", None, True, 1], "one of auto, null, true, 1"),
        (Literal["auto"], "auto"),
        (list, "a list"),
        (list[str], "a list of strings"),
        (list[Share], "a list of numbers in [0, 1]"),
        (Annotated[list[int], Field(min_length=1)], "a non-empty list of integers"),
        (Annotated[list[int], Field(min_length=3)], "a list (at least 3) of integers"),
        (Annotated[list[int], Field(min_length=2, max_length=2)], "a list of 2 integers"),
        (list[list[int]], "a list of lists of integers"),
        (tuple[float, float], "a list of 2 numbers"),
        (tuple[int, ...], "a list of integers"),
        (tuple[int, str], "a list [an integer, a string]"),
        (dict, "a mapping"),
        (dict[int | str, int], "a mapping from integers or strings to integers"),
        (Any, "any value"),
        (Path, "a path"),
        (Duration, "a number of iterations or a share of the run such as 10%"),
        (Count, "a count of at least 1, or a share in (0, 1] such as 1/16 or 5%"),
    ],
)
def test_types_in_words(annotation, words):
    assert describe_type(annotation) == words


def test_parts_in_words():
    assert describe_part(list[str], (3,)) == "a string"
    assert describe_part(list[str] | str | None, (0,)) == "a string"
    assert describe_part(tuple[int, str], (1,)) == "a string"
    assert describe_part(tuple[int, ...], (7,)) == "an integer"
    assert describe_part(dict[str, list[Share]], ("a", 0)) == "a number in [0, 1]"
    assert describe_part(dict[int | str, float], (1.5,), key=True) == "an integer or a string"
    assert describe_part(list, (0,)) == "any value"
    assert describe_part(int, ()) == "an integer"


def test_fields_of_a_model():
    class Block(BaseModel):
        size: Annotated[int, Field(ge=2)] = 2
        name: str
        every: Duration = "10%"

    fields = {field.name: field for field in read_fields(Block)}
    assert fields["size"].expected == "an integer >= 2" and fields["size"].default == 2
    assert fields["name"].required
    assert fields["every"].expected == "a number of iterations or a share of the run such as 10%"
    assert fields["every"].check("5%") == "5%"


def test_json_schema_of_a_parameter():
    schema = Parameter("x", Probability, 0.7).json_schema()
    assert schema == {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.7}
