"""Types in words: `Annotated[float, Field(gt=0, le=1)]` is "a number in (0, 1]"."""

import collections.abc
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

_WORDS = {  # one value, several values
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    bool: ("true or false", "booleans"),
    types.NoneType: ("null", "nulls"),
    None: ("null", "nulls"),
    Path: ("a path", "paths"),
    Any: ("any value", "values"),
}

_SPLIT = {"true or false": ("true", "false")}


def describe_type(annotation: Any, *, several: bool = False) -> str:
    """What the values of a type are: "an integer >= 1", "a list of strings", "one of auto, off"."""
    annotation, rules = unwrap(annotation)
    expected = [rule.expected for rule in rules if isinstance(getattr(rule, "expected", None), str)]
    if expected:
        return f"values ({expected[0]})" if several else expected[0]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None and annotation in _WORDS:
        return _WORDS[annotation][several] + _describe_range(rules)
    if origin is Literal:
        names = ", ".join(_word(value) for value in arguments)
        return ("values out of " if several else "one of ") + names if len(arguments) > 1 else names
    if origin in (Union, types.UnionType):
        return _join_choices([describe_type(member, several=several) for member in arguments])
    return _describe_container(origin or annotation, arguments, rules, several)


def _join_choices(choices: list[str]) -> str:
    """ "true or false" and "null" are "true, false or null"."""
    words = [word for choice in choices for word in _SPLIT.get(choice, (choice,))]
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def unwrap(annotation: Any) -> tuple[Any, list]:
    """The type inside `Annotated`, and the rules around it, with those inside a pydantic Field spread out."""
    rules: list = []
    while get_origin(annotation) is Annotated:
        for rule in annotation.__metadata__:
            rules += rule.metadata if isinstance(rule, FieldInfo) else [rule]
        annotation = annotation.__origin__
    return annotation, rules


def describe_part(annotation: Any, path: Sequence[Any], *, key: bool = False) -> str:
    """What is expected at `path` (keys and positions) inside a value of that type; with `key`, of the last key."""
    candidates = [annotation]
    for place, step in enumerate(path, start=1):
        asks_key = key and place == len(path)
        candidates = [part for candidate in candidates for part in _find_parts(candidate, step, asks_key)]
    return _join_choices([describe_type(part) for part in candidates]) if candidates else "any value"


def _find_parts(annotation: Any, step: Any, asks_key: bool) -> list:
    annotation, _ = unwrap(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return [part for member in arguments for part in _find_parts(member, step, asks_key)]
    if origin in (list, set, frozenset) or (origin is tuple and arguments[-1] is Ellipsis):
        return [arguments[0]]
    if origin is tuple and isinstance(step, int) and step < len(arguments):
        return [arguments[step]]
    return [arguments[0 if asks_key else 1]] if origin is dict else []


def _describe_container(kind: Any, arguments: tuple, rules: list, several: bool) -> str:
    if kind in (dict, collections.abc.Mapping):
        pair = [describe_type(argument, several=True) for argument in arguments]
        return ("mappings" if several else "a mapping") + (f" from {pair[0]} to {pair[1]}" if pair else "")
    if kind in (list, set, frozenset, tuple):
        lists, alike = "lists" if several else "a list", len({str(argument) for argument in arguments}) == 1
        if kind is tuple and arguments and arguments[-1] is not Ellipsis:
            if not alike:
                return f"{lists} [{', '.join(describe_type(argument) for argument in arguments)}]"
            return f"{lists} of {len(arguments)} {describe_type(arguments[0], several=True)}"
        least, most = _find_bound(rules, "min_length"), _find_bound(rules, "max_length")
        if least and least == most:
            return f"{lists} of {least} {describe_type(arguments[0] if arguments else Any, several=True)}"
        if not several and least:
            lists = "a non-empty list" if least == 1 else f"a list (at least {least})"
        return f"{lists} of {describe_type(arguments[0], several=True)}" if arguments else lists
    return getattr(kind, "__name__", str(kind))


def _describe_range(rules: list) -> str:
    closed_low, open_low = _find_bound(rules, "ge"), _find_bound(rules, "gt")
    closed_high, open_high = _find_bound(rules, "le"), _find_bound(rules, "lt")
    low = open_low if closed_low is None else closed_low
    high = open_high if closed_high is None else closed_high
    if low is not None and high is not None:
        return f" in {'(' if closed_low is None else '['}{low}, {high}{')' if closed_high is None else ']'}"
    if low is not None:
        return f" {'>' if closed_low is None else '>='} {low}"
    return "" if high is None else f" {'<' if closed_high is None else '<='} {high}"


def _find_bound(rules: list, name: str) -> Any:
    return next((getattr(rule, name) for rule in rules if getattr(rule, name, None) is not None), None)


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)
