"""At which size images are scored, in words: only scores at the size of the files compare with those of papers."""

from collections.abc import Mapping, Sequence
from typing import Any


def describe_scored_size(resize: Sequence[int] | None, at: str) -> str:
    """What to say of images that a network sees brought to `resize` (height, width) and that are scored `at` the size
    of the "network" or the "original" one, such as `resized to 360 x 480`; nothing where both are the same."""
    if resize is None:
        return ""
    return "at the size of their files" if at == "original" else f"resized to {resize[0]} x {resize[1]}"


def scored_size(config: Mapping[str, Any]) -> str:
    """The same of a resolved configuration. Of several data sets in one, each may be resized in its own way."""
    sizes, at = _sizes(config["data"]), config.get("eval", {}).get("at", "network")
    if all(size == sizes[0] for size in sizes):
        return describe_scored_size(sizes[0], at)
    return "resized part by part"


def _sizes(data: Mapping[str, Any]) -> list[Sequence[int] | None]:
    """What the images of a data set are brought to or, of several in one, those of each."""
    parts = data.get("parts")
    return [size for part in parts for size in _sizes(part)] if parts else [data.get("resize")]
