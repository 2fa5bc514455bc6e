"""A constructor's signature as the schema of its configuration block.

Types, defaults, ranges and messages come from the annotations; there is no second place to state them. What a
file cannot hold (a tensor, a module, a function) is left out: `float | Tensor` is a number in a file, and a
parameter with only such types keeps its default.
"""

import collections.abc
import functools
import inspect
import operator
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic

from segkit.config.describe_types import describe_type
from segkit.types import ComponentOf, ComponentsOf, CountLike, Downloads, FromLabels, TimeLike

REQUIRED = inspect.Parameter.empty
_RULES = pydantic.ConfigDict(strict=True, allow_inf_nan=False)
_PLAIN = (int, float, str, bool, types.NoneType)
_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_NEVER = object()  # the form of a type that no file can hold


@dataclass(frozen=True)
class Parameter:
    """One key of a block: its name, the type its values may have, and its default (or REQUIRED)."""

    name: str
    annotation: Any
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def expected(self) -> str:
        """The allowed values in words, such as "a number in (0, 1]"."""
        return describe_type(self.annotation)

    @property
    def component(self) -> ComponentOf | ComponentsOf | None:
        """The mark of a parameter whose value is a block, or a list of blocks; None for all others."""
        return _find_mark(self.annotation, (ComponentOf, ComponentsOf))

    @property
    def number(self) -> "Parameter | None":
        """The numbers among the allowed values, which a schedule may run through; None if there are none."""
        form = _find_number_form(self.annotation)
        if self.annotation is Any and type(self.default) in (int, float):  # no type, but a number by default
            form = int | float
        return None if form is _NEVER else Parameter(self.name, form)

    @property
    def allows_none(self) -> bool:
        """Whether null is among the allowed values."""
        return types.NoneType in get_args(self.annotation)

    def mixes_counts(self, *values: Any) -> bool:
        """Whether some of the values are counts and others shares, so that nothing lies between them."""
        return bool(_find_mark(self.annotation, CountLike)) and len({isinstance(v, int) for v in values}) > 1

    def is_whole(self, *values: Any) -> bool:
        """Whether numbers between such values must be whole: of an integer, and of a count that is no share."""
        if _find_mark(self.annotation, CountLike):
            return all(isinstance(value, int) for value in values)
        return not _accepts_float(self.annotation)

    def check(self, value: Any) -> Any:
        """The value as the constructor gets it. Strict: "3" is not 3 and true is not 1, but 3 is a number.

        Raises pydantic.ValidationError.
        """
        return self._adapter.validate_python(value)

    def json_schema(self) -> dict[str, Any]:
        """JSON schema of the value, with the default."""
        schema = self._adapter.json_schema()
        if not self.required:
            schema["default"] = self._adapter.dump_python(self.default, mode="json", warnings=False)
        return schema

    @functools.cached_property
    def _adapter(self) -> pydantic.TypeAdapter:
        return pydantic.TypeAdapter(self.annotation, config=_RULES)


def read_parameters(constructor: Callable, given: tuple[str, ...] = ()) -> list[Parameter]:
    """The parameters that a file may set, in the order of the signature, without the `given` ones.

    Raises TypeError, a mistake of the constructor's author, for a required parameter that no file could set.
    """
    return list(_read_parameters(constructor, given))


# So that validators are made once, not for each of the configurations of an ablation.
@functools.lru_cache(maxsize=1000)
def _read_parameters(constructor: Callable, given: tuple[str, ...]) -> tuple[Parameter, ...]:
    parameters = []
    for parameter in _read_signature(constructor).parameters.values():
        if parameter.name in given or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        form = _find_file_form(parameter.annotation)
        if parameter.default is None and form is not _NEVER:
            form = form | None if form is not Any else form
        if (
            form is not _NEVER
            and parameter.kind is not parameter.POSITIONAL_ONLY
            and _is_plain(parameter.default)
        ):
            parameters.append(Parameter(parameter.name, form, parameter.default))
        elif parameter.default is REQUIRED:
            raise TypeError(
                f"{constructor.__module__}.{constructor.__qualname__}: a configuration cannot set the required "
                f"parameter '{parameter.name}: {parameter.annotation}'; give it a default or a plain type"
            )
    return tuple(parameters)


def read_fields(model: type[pydantic.BaseModel]) -> list[Parameter]:
    """The fields of a pydantic model as parameters."""
    return list(_read_fields(model))


@functools.cache
def _read_fields(model: type[pydantic.BaseModel]) -> tuple[Parameter, ...]:
    parameters = []
    for name, field in model.model_fields.items():
        declared: Any = field.annotation
        annotation = _find_file_form(Annotated[(declared, *field.metadata)] if field.metadata else declared)
        parameters.append(Parameter(name, annotation, REQUIRED if field.is_required() else field.default))
    return tuple(parameters)


def component_parameters(constructor: Callable) -> dict[str, ComponentOf | ComponentsOf]:
    """The parameters whose values are components themselves, with their marks."""
    marks = {
        parameter.name: _find_mark(parameter.annotation, (ComponentOf, ComponentsOf))
        for parameter in _read_signature(constructor).parameters.values()
    }
    return {name: mark for name, mark in marks.items() if mark is not None}


def read_term_keys(mark: ComponentOf | ComponentsOf) -> list[Parameter]:
    """What a block in a list may say of itself, beside the options of its component: see `ComponentsOf.into`."""
    into = getattr(mark, "into", None)
    if into is None:
        return []
    name, component, *_ = _read_signature(into).parameters
    return read_parameters(into, (name, component))


def duration_parameters(constructor: Callable) -> set[str]:
    """Names of the parameters that are iterations to the constructor, and may be a share (`10%`) in a file."""
    return _marked_parameters(constructor, TimeLike)


def download_parameters(constructor: Callable) -> set[str]:
    """Names of the parameters that make the constructor fetch pretrained weights, unless they are `none`."""
    return _marked_parameters(constructor, Downloads)


def accepts(constructor: Callable, name: str) -> bool:
    """Whether the constructor has a parameter of that name."""
    return name in _read_signature(constructor).parameters


def summarise(constructor: Callable) -> str:
    """First line of the constructor's own docstring, or nothing."""
    lines = (constructor.__doc__ or "").strip().splitlines()
    return lines[0].strip() if lines else ""


def _read_signature(constructor: Callable) -> inspect.Signature:
    return inspect.signature(constructor, eval_str=True)


def label_parameters(constructor: Callable) -> set[str]:
    """Names of the parameters for which a word in a file stands for numbers from the training labels."""
    return _marked_parameters(constructor, FromLabels)


def _marked_parameters(constructor: Callable, marker: type) -> set[str]:
    parameters = _read_signature(constructor).parameters.values()
    return {parameter.name for parameter in parameters if _find_mark(parameter.annotation, marker)}


def _find_mark(annotation: Any, marker: type | tuple[type, ...]) -> Any:
    """The instance of `marker` in a type or in a member of a union, or None."""
    members: tuple = ()
    if get_origin(annotation) is Annotated:
        for item in annotation.__metadata__:
            if isinstance(item, marker):
                return item
        members = (annotation.__origin__,)
    elif _is_union(annotation):
        members = get_args(annotation)
    return next((mark for member in members if (mark := _find_mark(member, marker))), None)


def _find_number_form(annotation: Any) -> Any:
    """The numbers in a type, with their rules, or _NEVER. A time is none: it says when, and does not change."""
    if annotation in (int, float):
        return annotation
    if get_origin(annotation) is Annotated:
        if any(isinstance(item, CountLike) for item in annotation.__metadata__):
            return annotation  # a share of pixels may be written as text: "1/16"
        if any(isinstance(item, TimeLike) for item in annotation.__metadata__):
            return _NEVER
        form = _find_number_form(annotation.__origin__)
        return form if form is _NEVER else Annotated[(form, *annotation.__metadata__)]
    members = get_args(annotation) if _is_union(annotation) else ()
    forms = [form for form in map(_find_number_form, members) if form is not _NEVER]
    return functools.reduce(operator.or_, forms) if forms else _NEVER


def _accepts_float(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _accepts_float(annotation.__origin__)
    if _is_union(annotation):
        return any(map(_accepts_float, get_args(annotation)))
    return annotation is float


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _is_plain(value: Any) -> bool:
    """Whether a default can be written to a file."""
    if isinstance(value, dict):
        return all(_is_plain(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is REQUIRED or isinstance(value, (*_PLAIN, Path))


def _find_file_form(annotation: Any) -> Any:
    """The part of a type that a file can hold, or _NEVER. A tuple or a set is a list in a file, a path a string."""
    origin = get_origin(annotation)
    if annotation in (Any, REQUIRED):
        return Any
    if origin is Annotated:
        mark = _find_mark(annotation, (ComponentOf, ComponentsOf))
        if mark is not None:
            return Annotated[list[dict] if isinstance(mark, ComponentsOf) else dict, mark]
        form = _find_file_form(annotation.__origin__)
        return form if form is _NEVER else Annotated[(form, *annotation.__metadata__)]
    if _is_union(annotation):
        forms = [form for form in map(_find_file_form, get_args(annotation)) if form is not _NEVER]
        return functools.reduce(operator.or_, forms) if forms else _NEVER
    if annotation in _PLAIN or origin is Literal:
        return annotation
    if annotation is Path:
        return Annotated[Path, pydantic.Field(strict=False)]
    if annotation is None:
        return None
    return _find_container_form(annotation, origin or annotation, get_args(annotation))


def _find_container_form(annotation: Any, origin: Any, arguments: tuple) -> Any:
    forms = tuple(Ellipsis if argument is Ellipsis else _find_file_form(argument) for argument in arguments)
    if _NEVER in forms:
        return _NEVER
    if origin in _LISTS:
        return types.GenericAlias(list, forms) if forms else list
    if origin in _MAPPINGS:
        return types.GenericAlias(dict, forms) if forms else dict
    if origin in (tuple, set, frozenset):
        container: Any = types.GenericAlias(origin, forms) if forms else origin
        return Annotated[container, pydantic.Field(strict=False)]  # the items stay strict
    return _NEVER
