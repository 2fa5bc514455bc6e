"""The options of `data:` that a proposal is made of, and how flags name values."""

from collections.abc import Mapping, Sequence
from typing import Any

from segkit.data.check.raw_values import RawValues
from segkit.data.files.label_map import IGNORE

#: The id that data sets usually give to pixels nobody labelled, and that `ignore_index` is by default.
UNKNOWN = 255
#: The same in masks of 16 bits, which can have more classes than that.
UNKNOWN_16 = 65535


def number_options(
    values: Sequence[int], names: Sequence[str], ignored: Sequence[int], *, colours: bool = False
) -> dict[str, Any]:
    """Options that make the values the classes 0, 1, 2 ... in this order."""
    key = show_colour if colours else int
    label_map: dict[int | str, int | str] = {key(value): n for n, value in enumerate(values)}
    says_nothing = list(values) == list(range(len(values))) and not colours
    if says_nothing:
        label_map = {}
    return named_options(names, {**label_map, **{key(value): IGNORE for value in ignored}})


def named_options(names: Sequence[str], label_map: Mapping[int | str, int | str]) -> dict[str, Any]:
    """`classes` and what goes with them."""
    options: dict[str, Any] = {"classes": list(names)}
    if label_map:
        options["label_map"] = dict(label_map)
    return options | free_ignore_index(len(names))


def free_ignore_index(classes: int) -> dict[str, Any]:
    """The option that so many classes need, of which one else has the id 255."""
    return {"ignore_index": UNKNOWN_16} if classes > UNKNOWN else {}


def default_names(count: int) -> list[str]:
    """Names for classes that nobody named."""
    return [f"class_{n}" for n in range(count)]


def ignored_in(values: list[int], ignored: frozenset[int] | None) -> list[int]:
    """Those of the values that mean unknown, sorted."""
    return sorted(value for value in ignored or () if value in values)


def ignore_flag(values: Sequence[int]) -> str:
    """The flag that says that these values mean unknown."""
    return f"--ignore {' '.join(map(str, sorted(values)))}"


def show_raw(value: int, raw: RawValues) -> str:
    """A value, or colour, of masks as a label map has it."""
    return show_colour(value) if raw.are_colours else str(value)


def show_colour(value: int) -> str:
    """0xRRGGBB as a label map has it."""
    return f"#{value:06x}"


def explain_ignored(ignored: frozenset[int] | None) -> list[str]:
    """How to say which value means unknown, unless that was said."""
    return ["if one of the values means unknown: --ignore VALUE"] if ignored is None else []
