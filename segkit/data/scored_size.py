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


def scored_size(config: Mapping[str, Any], *, at: str | None = None) -> str:
    """The same of the images that a run with that resolved configuration is scored on, `at` the size of the "network"
    or the "original" one, by default as it says itself. Of several data sets in one, each may be resized in its own
    way."""
    sizes = _sizes(config["data"])
    if at is None:
        at = config.get("eval", {}).get("at", "network")
    if at == "original":
        return describe_sizes(None, next(filter(None, sizes), None))
    alike = all(size == sizes[0] for size in sizes)
    return describe_sizes(sizes[0], sizes[0]) if alike else "resized part by part"


def _sizes(data: Mapping[str, Any]) -> list[Sequence[int] | None]:
    """What the images of a data set are brought to or, of several in one, those of each."""
    parts = data.get("parts")
    return [size for part in parts for size in _sizes(part)] if parts else [data.get("resize")]


def _by(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"
