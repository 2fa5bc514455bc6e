"""What is wrong in a summary.json or an env.json: each can be edited by hand, or come in a stranger's packed study."""

from collections.abc import Callable, Mapping
from typing import Any

#: No count of segkit's is larger, and a larger one may be none of a float.
LARGEST = 2**63

#: Entries of summary.json that are numbers, and those of its two moments.
NUMBERS = ("images_per_second", "memory_gb", "training_seconds", "seconds")
COUNTS = ("iterations", "parameters", "flops_per_image")
MOMENTS = ("best", "last")
SCORES = ("mIoU", "accuracy", "ce")
#: Entries of env.json that are objects.
OBJECTS = ("fingerprints", "own_code")
WORDS = ("segkit", "git_commit")


def wrong_in_summary(summary: Mapping[str, Any]) -> str | None:
    """`best should be an object, is []`; None if all that is read of it can be."""
    if "iterations" in summary and summary["iterations"] is None:
        return "iterations should be a whole number, is None"
    wrong = _first_wrong(summary, COUNTS, _is_count, "a whole number")
    wrong = wrong or _first_wrong(summary, NUMBERS, _is_number, "a number")
    wrong = wrong or _first_wrong(summary, MOMENTS, _is_object, "an object")
    for name in MOMENTS:
        moment = summary.get(name) or {}
        wrong = wrong or _first_wrong(
            moment, ("iteration", "images"), _is_count, "a whole number", f"{name}."
        )
        wrong = wrong or _first_wrong(moment, SCORES, _is_number, "a number", f"{name}.")
        wrong = wrong or _first_wrong(moment, ("iou",), _is_object, "an object", f"{name}.")
        ious = {} if wrong else moment.get("iou") or {}
        wrong = wrong or _first_wrong(ious, tuple(ious), _is_number, "a number", f"{name}.iou.")
    return wrong


def wrong_in_env(env: Mapping[str, Any]) -> str | None:
    """The same of an env.json."""
    wrong = _first_wrong(env, OBJECTS, _is_object, "an object")
    wrong = wrong or _first_wrong(env, WORDS, _is_text, "text")
    for name in OBJECTS if wrong is None else ():
        inner = env.get(name) or {}
        wrong = wrong or _first_wrong(inner, tuple(inner), _is_text, "text", f"{name}.")
    lists = tuple(name for name, value in env.items() if isinstance(value, list) and name != "resumed")
    return wrong or _first_wrong(env, lists, _is_list_of_text, "a list of text")


def _first_wrong(
    found: Mapping[str, Any],
    names: tuple[str, ...],
    fits: Callable[[Any], bool],
    what: str,
    around: str = "",
) -> str | None:
    """The sentence on the first entry that is neither there as null, nor fits."""
    for name in names:
        if found.get(name) is not None and not fits(found[name]):
            return f"{around}{name} should be {what}, is {found[name]!r:.60}"
    return None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (type(value) is int and -LARGEST < value < LARGEST)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list_of_text(value: Any) -> bool:
    return all(map(_is_text, value))
