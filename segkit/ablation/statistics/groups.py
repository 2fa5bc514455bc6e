"""Which images are independent: frames of one video are not, so they are resampled together."""

import re
from collections.abc import Sequence

import numpy as np

from segkit.errors import ConfigError


def group_images(names: Sequence[str], group_by: str | int | None) -> np.ndarray:
    """The group number of each image, int64 (N,), numbered by first appearance.

    `group_by` None: every image is a group of its own. An integer k >= 2: each k consecutive images, in the order of
    the set, are a group (a video whose names do not tell the sequence); what is left over at the end, if it is less
    than half a group, joins the last one. Text: a
    regular expression with exactly one capture group, searched in each name; images with equal captured text are a
    group. ConfigError if it cannot be used, an image does not match, or fewer than 2 groups result.
    """
    if group_by is None:
        groups = np.arange(len(names), dtype=np.int64)
    elif isinstance(group_by, str):
        groups = _number(_captured_texts(names, group_by))
    else:
        length = min(_checked_length(group_by), max(2, len(names)))
        last = max(0, (len(names) + length // 2) // length - 1)
        groups = np.minimum(np.arange(len(names), dtype=np.int64) // length, last)
    count = len(np.unique(groups))
    if count < 2:
        raise ConfigError(
            f"group_by: {group_by!r} makes {count} group(s) of {len(names)} images; an interval over images needs "
            "at least 2 independent groups -> choose a finer group_by, or evaluate on more images"
        )
    return groups


def _checked_length(group_by: int) -> int:
    if not isinstance(group_by, int) or group_by < 2:
        raise ConfigError(
            f"group_by: expected a regular expression or a number of consecutive images >= 2, got {group_by!r}"
            " -> leave it out if every image is independent"
        )
    return group_by


def _captured_texts(names: Sequence[str], pattern: str) -> list[str]:
    expression = _compile(pattern)
    matches = [expression.search(name) for name in names]
    # The capture group may be optional, then a match can capture nothing.
    texts = [None if match is None else match[1] for match in matches]
    missed = [name for name, text in zip(names, texts, strict=True) if text is None]
    if missed:
        more = f" and {len(missed) - 1} more" if len(missed) > 1 else ""
        raise ConfigError(
            f"group_by: {pattern!r} captures nothing in the image name {missed[0]!r}{more}"
            " -> change the expression so that it fits every image"
        )
    return [text for text in texts if text is not None]


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"group_by: {pattern!r} is not a regular expression: {error}") from error
    if expression.groups != 1:
        raise ConfigError(
            f"group_by: {pattern!r} has {expression.groups} capture groups, expected exactly one"
            " -> put (...) around the part of the name that is equal for images that belong together,"
            " and write other parentheses as (?:...)"
        )
    return expression


def _number(texts: Sequence[str]) -> np.ndarray:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)
