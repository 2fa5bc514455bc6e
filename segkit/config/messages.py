"""Mistakes in a configuration, in words: the key, what is allowed, the value found, and what to write instead."""

import re
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from segkit.config.describe_types import describe_part
from segkit.config.problem import Problem, shorten
from segkit.config.signature import Parameter
from segkit.config.yaml_source import Node, dump_inline, parse_scalar, to_plain
from segkit.system.typed import typed


def list_problems(problems: list[Problem]) -> list[str]:
    """The messages in the order of the files, the command line last; what helps with several stands once."""
    said: set[str] = set()
    messages = []
    for problem in sorted(problems, key=lambda problem: problem.mark.order):
        hints = tuple(hint for hint in problem.hints if hint not in said or hint.startswith("->"))
        said.update(hints)
        messages.append(str(replace(problem, hints=hints)))
    return messages


def describe_error(node: Node, path: tuple, parameter: Parameter, error: ValidationError) -> Problem:
    """The mistake in one value in our words, at the place of the innermost wrong part."""
    located = [(_locate(node, detail["loc"]), detail) for detail in error.errors(include_url=False)]
    deepest = max(len(inner) for inner, _ in located)
    located = [(inner, detail) for inner, detail in located if len(inner) == deepest]
    inner = located[0][0]
    details = [detail for place, detail in located if place == inner]
    part = node
    for step in inner:
        part = part.value[step]
    more = len({place for place, _ in located}) - 1
    after = f"; and {more} more in it" if more else ""
    custom = next((detail for detail in details if detail["type"] == "value_error"), None)
    dotted, value = dotted_key((*path, *inner)), to_plain(part)
    if custom is not None:
        rule = custom["msg"].removeprefix("Value error, ")
        text = f"{dotted}: expected {rule[8:]}" if rule.startswith("must be ") else f"{dotted} {rule}"
        return Problem(part.mark, text + after)
    is_key = all("[key]" in detail["loc"] for detail in details)
    if is_key:
        expected = describe_part(parameter.annotation, inner, key=True)
        return Problem(part.key_mark or part.mark, f"{dotted}: a key must be {expected}{after}")
    expected = describe_part(parameter.annotation, inner)
    return Problem(
        part.mark, f"{dotted}: expected {expected}, got {show_value(value)}{after}", _hint(expected, value)
    )


def _locate(node: Node, location: tuple) -> tuple:
    """The keys and positions in pydantic's location, without its labels for members of unions."""
    path = []
    for step in location:
        if isinstance(node.value, dict):  # pydantic writes keys that are neither int nor str as text
            key = next((key for key in node.value if key == step or str(key) == step), None)
            known = key is not None
        else:
            key, known = (
                step,
                isinstance(node.value, list) and isinstance(step, int) and step < len(node.value),
            )
        if known:
            path.append(key)
            node = node.value[key]
    return tuple(path)


def _hint(expected: str, value: Any) -> tuple[str, ...]:
    """What to write instead, where the slip is a common one."""
    if isinstance(value, float) and "integer" in expected and value.is_integer():
        return (f"-> {int(value)}",)
    if isinstance(value, str) and isinstance(parse_scalar(value), int | float) and "string" not in expected:
        return (f"-> {value} without quotes",)
    if isinstance(value, str) and value.lower() in ("yes", "no", "on", "off") and "true" in expected:
        return (f"-> {'true' if value.lower() in ('yes', 'on') else 'false'}",)
    return ()


def colon_hint(text: str) -> tuple[str, ...]:
    """What `width:4` or `width 4` was to be: YAML takes it for one word without a colon and a space behind it."""
    found = re.match(r"(\w+)(?:\s*:\s*|\s+)(\S+)", text)
    return (f"-> {found[1]}: {found[2]}   (with a colon and a space behind it)",) if found else ()


def list_hint(listing: str) -> str:
    return f"({typed('train', '--list', listing)})"


def dotted_key(path: tuple) -> str:
    """loss.terms[0].name"""
    words = [
        f"[{step}]" if isinstance(step, int) and place else f".{step}" for place, step in enumerate(path)
    ]
    return "".join(words).removeprefix(".")


def show_value(value: Any) -> str:
    return repr(shorten(value, 60)) if isinstance(value, str) else shorten(dump_inline(value), 60)
