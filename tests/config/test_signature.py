"""A constructor's signature is the schema of its block: what may be set, of which type, in which words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from pydantic import BaseModel, Field, ValidationError

from segkit.config.describe_types import describe_part, describe_type
from segkit.config.signature import (
    REQUIRED,
    Parameter,
    accepts,
    component_parameters,
    duration_parameters,
    read_fields,
    read_parameters,
    read_term_keys,
    summarise,
)
from segkit.losses.calls import call_accepted
from segkit.registry import OPTIMIZERS
from segkit.types import (
    ComponentOf,
    ComponentsOf,
    Count,
    Duration,
    Fractional,
    PositiveInt,
    Probability,
    Share,
)


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


# --- components and schedules in a signature


class Term:
    def __init__(self, name: str, loss: Any, weight: Share = 1.0): ...


def compose(
    num_classes: int,
    *,
    part: Annotated[Any, ComponentOf("criterion")] = None,
    net: Annotated[torch.nn.Module, ComponentOf("criterion")] = {"name": "ce"},  # noqa: B006
    terms: Annotated[list[Term], ComponentsOf("loss", into=Term)],
    thresh: Probability = 0.7,
    count: Count = "1/16",
    start: Duration | None = 0,
    k: PositiveInt = 1,
    flag: bool = True,
    word: str = "x",
    either: float | Literal["auto"] | None = None,
    numbers: list[float] | None = None,
    untyped=2.0,
    nothing=None,
): ...


def test_parameters_that_are_components():
    parameters = read(compose, ("num_classes",))
    assert {name: p.component for name, p in parameters.items() if p.component} == component_parameters(
        compose
    )
    assert component_parameters(compose) == {
        "part": ComponentOf("criterion"),
        "net": ComponentOf("criterion"),
        "terms": ComponentsOf("loss", into=Term),
    }
    assert parameters["terms"].required and parameters["net"].default == {"name": "ce"}
    assert [parameters[name].allows_none for name in ("part", "net", "terms")] == [True, False, False]
    assert parameters["part"].expected == "a criterion, such as {name: ...} or null"
    assert parameters["terms"].expected == "a list of loss blocks, such as [{name: ...}]"
    json.dumps([parameter.json_schema() for parameter in parameters.values()])


def test_keys_of_a_term_are_what_its_class_takes_beside_name_and_component():
    (weight,) = read_term_keys(component_parameters(compose)["terms"])
    assert (weight.name, weight.default, weight.expected) == ("weight", 1.0, "a number in [0, 1]")
    assert read_term_keys(ComponentsOf("loss")) == read_term_keys(ComponentOf("loss")) == []


@pytest.mark.parametrize(
    ("name", "expected", "good", "bad"),
    [
        ("thresh", "a number in (0, 1]", 0.5, "1/2"),
        ("count", "a count of at least 1, or a share in (0, 1] such as 1/16 or 5%", "1/2", 0),
        ("k", "an integer >= 1", 3, 3.5),
        ("either", "a number", 3.5, "auto"),
        ("untyped", "an integer or a number", 3, "3"),
    ],
)
def test_numbers_among_the_values(name, expected, good, bad):
    number = read(compose, ("num_classes",))[name].number
    assert number.expected == expected and number.check(good) == good
    for value in (bad, None):
        with pytest.raises(ValidationError):
            number.check(value)


def test_what_is_no_number():
    parameters = read(compose, ("num_classes",))
    for name in ("part", "terms", "start", "flag", "word", "numbers", "nothing"):
        assert parameters[name].number is None, name


def test_which_numbers_are_whole():
    numbers = {name: p.number for name, p in read(compose, ("num_classes",)).items() if p.number}
    assert numbers["k"].is_whole(1, 5) and numbers["count"].is_whole(1, 5)
    assert not numbers["count"].is_whole("1/2", 0.25)
    assert not any(numbers[name].is_whole(1, 5) for name in ("thresh", "either", "untyped"))
    assert numbers["count"].mixes_counts(1, "1/2") and not numbers["count"].mixes_counts(0.5, "1/2")
    assert not numbers["k"].mixes_counts(1, 5) and not numbers["untyped"].mixes_counts(1, 0.5)


def test_call_with_what_is_accepted():
    assert call_accepted(lambda *, b: b, a=1, b=2) == 2
