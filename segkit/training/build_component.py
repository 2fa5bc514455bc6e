"""One component of a configuration to the object it describes, with the components and schedules inside it."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from segkit import schedule
from segkit.config.schema import NESTED, Component, OptionSchedule
from segkit.config.signature import (
    Parameter,
    component_parameters,
    download_parameters,
    duration_parameters,
    label_parameters,
    read_parameters,
    read_term_keys,
)
from segkit.errors import ConfigError, DataError
from segkit.registry import DATASETS, LOSSES, MODELS, SCHEDULES, Registry
from segkit.types import ComponentOf, ComponentsOf

if TYPE_CHECKING:  # it needs torch, and a data set of files does not
    from segkit.losses.common.scheduled import Schedule


@dataclass(frozen=True)
class Recipe:
    """A call of `constructor` with `arguments`, among them recipes, lists of recipes, and schedules by option.

    `block` names the component in messages.
    """

    constructor: Callable[..., Any]
    arguments: Mapping[str, Any]
    block: str


@dataclass(frozen=True)
class Option:
    """An argument that follows a schedule; `name` tells it from the others of the same loss."""

    name: str
    schedule: "Schedule"


def build_component(registry: Registry, component: Component, block: str, *, total: int, **known: Any) -> Any:
    """Call the constructor that `component` names with its parameters (durations in iterations, components built)
    and what of `known` it accepts. A loss with schedules is built as a Scheduled.

    A ValueError of a constructor becomes a ConfigError naming the block.
    """
    recipe = write_recipe(registry, component, block, total=total, known=known)
    options = dict(find_options(recipe))
    if not options:
        return make(recipe)
    from segkit.losses.common.scheduled import Scheduled  # needs torch

    return Scheduled(
        partial(make, recipe),
        options,
        name=component.name,
        allow_inactive=component.params.get("allow_inactive", False),
    )


def write_recipe(
    registry: Registry,
    component: Component,
    block: str,
    *,
    total: int,
    known: dict[str, Any],
    label: str = "",
) -> Recipe:
    """How to make a component. `label` begins the names of the options in it: `selection.` for `selection.thresh`."""
    constructor = registry.get(component.name)
    accepted = inspect.signature(constructor).parameters
    given = {name: value for name, value in known.items() if name in accepted and name in registry.given}
    parameters = {parameter.name: parameter for parameter in read_parameters(constructor, registry.given)}
    marks, times = component_parameters(constructor), duration_parameters(constructor)
    words = label_parameters(constructor)
    arguments: dict[str, Any] = {}
    for name, value in component.params.items():
        key = f"{block}.{name}"
        if isinstance(value, OptionSchedule):
            moving = build_schedule(value, parameters[name], key, total=total)
            arguments[name] = Option(f"{label}{name}", moving)
        elif value is None:
            arguments[name] = None
        elif name in words and isinstance(value, str | Mapping):
            arguments[name] = _weights_from_labels(known, value, key)
        elif name in marks:
            arguments[name] = _write_inner(marks[name], value, key, label, total=total, known=known)
        else:
            arguments[name] = schedule.iterations(value, total) if name in times else value
    return Recipe(constructor, {**given, **arguments}, f"{block}: {component.name}")


def _weights_from_labels(known: dict[str, Any], word: str | Mapping[str, float], key: str) -> list[float]:
    if "weigh_classes" not in known:
        raise ConfigError(
            f"{key}={word} is computed from training labels, and there are none here: give numbers"
        )
    return known["weigh_classes"](word)


def _write_inner(
    mark: ComponentOf | ComponentsOf, value: Any, key: str, label: str, *, total: int, known: dict[str, Any]
) -> Any:
    """The argument for a parameter that is a component, or a list of them."""
    registry = NESTED[mark.kind].registry
    if isinstance(mark, ComponentOf):
        label = f"{label}{key.rpartition('.')[2]}."
        return _write_part(registry, value, key, label, total=total, known=known)
    keys = {parameter.name: parameter for parameter in read_term_keys(mark)}
    parts = []
    for place, (component, name) in enumerate(zip(value, number_names(value), strict=True)):
        option_label = f"{label}{name}."
        own = {word: component.params[word] for word in keys}
        rest = {word: item for word, item in component.params.items() if word not in keys}
        inner, place_key = Component(name=component.name, params=rest), f"{key}[{place}]"
        part = _write_part(registry, inner, place_key, option_label, total=total, known=known)
        if mark.into is not None:
            first, second, *_ = inspect.signature(mark.into).parameters
            for word, item in own.items():
                if isinstance(item, OptionSchedule):
                    moving = build_schedule(item, keys[word], f"{place_key}.{word}", total=total)
                    own[word] = Option(f"{option_label}{word}", moving)
            part = Recipe(mark.into, {first: name, second: part, **own}, f"{place_key}: {component.name}")
        parts.append(part)
    return parts


def _write_part(
    registry: Registry, component: Component, key: str, label: str, *, total: int, known: dict[str, Any]
) -> Any:
    """A loss in a loss is built at once: it gets the iteration, and so has schedules of its own. So is a data set in a
    data set: what is wrong with its files is said with its place."""
    if registry is LOSSES:
        return build_component(registry, component, key, total=total, **known)
    if registry is DATASETS:
        try:
            return build_component(registry, component, key, total=total, **known)
        except DataError as error:
            raise type(error)(f"{key}: {error}") from error
    return write_recipe(registry, component, key, total=total, known=known, label=label)


def number_names(components: list[Component]) -> list[str]:
    """A name for each: its component's, and from the second of the same on with a number (`ce`, `ce_2`)."""
    names = [component.name for component in components]
    return [
        name if names.index(name) == place else f"{name}_{names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def build_schedule(component: OptionSchedule, parameter: Parameter, key: str, *, total: int) -> "Schedule":
    """The schedule of one option, with `start` and `end` in iterations."""
    shape = dict(component.params)
    before = shape.pop("from")
    after = shape.pop("to", before)
    written = {name: shape.pop(name, 0) for name in ("start", "end")}
    start, end = (schedule.iterations(written[name], total) for name in ("start", "end"))
    number = parameter.number
    assert number is not None  # or the configuration would have been refused
    if start > end:
        if start < total:
            raise ConfigError(
                f"{key}: start={written['start']} (iteration {start:,}) is after end={written['end']} "
                f"(iteration {end:,}); it must not be larger"
            )
        end = start  # it would never start, which the check of the run reports
    from segkit.losses.common.scheduled import Schedule  # needs torch

    return Schedule(
        component.name,
        build_shape(component.name, shape, key),
        before=_to_number(before),
        after=_to_number(after),
        start=start,
        end=end,
        whole=number.is_whole(before, after),
        key=key,
        refuses=partial(_why_refused, number),
    )


def build_shape(
    name: str,
    options: Mapping[str, Any],
    key: str,
    *,
    least: float = -math.inf,
    looked_at: tuple[float, ...] = (0.0, 0.5, 1.0),
) -> Callable[[float], float]:
    """The schedule of that name as a function of the progress. Raises ConfigError if it cannot be called as one, or
    gives no number, or one below `least`, at the progress that is `looked_at`."""
    shape = partial(SCHEDULES.get(name), **options)
    try:
        inspect.signature(shape).bind(0.0)
    except TypeError as error:
        raise ConfigError(f"{key}: {name}: {error} -> def {name}(progress: float, ...) -> float") from error
    for progress in looked_at:
        factor = shape(progress)
        if not isinstance(factor, Real) or not math.isfinite(factor) or factor < least:
            rule = "a number" if least == -math.inf else f"a number from {least:g} on"
            raise ConfigError(
                f"{key}: {name} gives {factor!r} at progress {progress:g}, and must give {rule}"
            )
    return shape


def _to_number(value: float | str) -> float:
    return float(schedule.parse_count(value)) if isinstance(value, str) else value


def _why_refused(parameter: Parameter, value: float) -> str | None:
    try:
        parameter.check(value)
    except ValidationError:
        return f"expected {parameter.expected}"
    return None


def find_options(argument: Any) -> Iterator[tuple[str, "Schedule"]]:
    """The schedules in a recipe, by name."""
    if isinstance(argument, Option):
        yield argument.name, argument.schedule
    elif isinstance(argument, Recipe):
        for inner in argument.arguments.values():
            yield from find_options(inner)
    elif isinstance(argument, list):
        for inner in argument:
            yield from find_options(inner)


def make(recipe: Recipe, /, **values: float) -> Any:
    """What a recipe describes, with a value for each of its scheduled options."""

    def fill(argument: Any) -> Any:
        if isinstance(argument, Option):
            return values[argument.name]
        if isinstance(argument, Recipe):
            return make(argument, **values)
        return [fill(inner) for inner in argument] if isinstance(argument, list) else argument

    arguments = {name: fill(argument) for name, argument in recipe.arguments.items()}
    try:
        return recipe.constructor(**arguments)
    except ValueError as error:
        raise ConfigError(f"{recipe.block}: {error}") from error


def without_downloads(component: Component) -> Component:
    """The component with what would fetch pretrained weights set to `none`: the checkpoint has the weights."""
    off = dict.fromkeys(download_parameters(MODELS.get(component.name)) & set(component.params), "none")
    return component.model_copy(update={"params": {**component.params, **off}})
