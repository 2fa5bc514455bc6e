"""At which size images are scored, in words: only scores at the size of the files compare with those of papers."""

from collections.abc import Mapping, Sequence
from typing import Any


def describe_sizes(labels: Sequence[int] | None, shown: Sequence[int] | None) -> str:
    """What to say of images whose labels are brought to the size `labels` (height, width), and that the network is
    shown in the size `shown`, such as `resized to 360 x 480`; None is the size that their files have or, of `shown`,
    that of the labels. Nothing where nothing is resized."""
    if labels is None:
        return "" if shown is None else "at the size of their files"
    other = "" if shown is None or list(shown) == list(labels) else f", and to {_by(shown)} for the network"
    return f"resized to {_by(labels)}{other}"


def describe_scored_size(resize: Sequence[int] | None, at: str) -> str:
    """The same of images that a network sees brought to `resize`, scored `at` the size of the "network" or the
    "original" one."""
    return describe_sizes(None if at == "original" else resize, resize)


def find_resize(data: Mapping[str, Any]) -> Sequence[int] | None:
    """What the block `data` of a resolved configuration brings images to; of several data sets, what all do."""
    first, *others = [part.get("resize") for part in data.get("parts") or [data]]
    return first if all(other == first for other in others) else None


def _by(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"
