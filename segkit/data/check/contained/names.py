"""Which of several things are images and which their labels, by the words in their names."""

import re
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from segkit.data.check.find_layout import IMAGE_WORDS, IMAGES, MASK_WORDS, MASKS, TRAIN, VAL

Thing = TypeVar("Thing")
_LABELS = {word.lower() for word in (*MASKS, *MASK_WORDS)} - {"l"} | {"truth", "ground", "y"}
_IMAGES = {word.lower() for word in (*IMAGES, *IMAGE_WORDS)} | {
    "volume",
    "vol",
    "stack",
    "raw",
    "em",
    "frames",
    "x",
}
_IMAGES -= {"0000"}


class NamedPairs(NamedTuple, Generic[Thing]):
    """Images with their labels by part, and those of which the names tell no partner."""

    train: list[tuple[Thing, Thing]]
    val: list[tuple[Thing, Thing]]
    alone: list[Thing]


def pair_by_words(named: Iterable[tuple[str, Thing]]) -> NamedPairs[Thing]:
    """Things with names such as `train-volume` and `train-labels`: a pair has the same words but for those that mean
    images or labels. What is called after validation, or else after a test, is the part `val`."""
    groups: dict[tuple[bool, tuple[str, ...]], tuple[list[Thing], list[Thing]]] = {}
    for name, thing in named:
        words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
        key = tuple(word for word in words if word not in {*_LABELS, *_IMAGES, *TRAIN, *VAL})
        group = groups.setdefault((any(word in VAL for word in words), key), ([], []))
        group[any(word in _LABELS for word in words)].append(thing)
    train: list[tuple[Thing, Thing]] = []
    val: list[tuple[Thing, Thing]] = []
    alone: list[Thing] = []
    for (validates, _), (images, labels) in groups.items():
        if len(images) == len(labels) == 1:
            (val if validates else train).append((images[0], labels[0]))
        else:
            alone += [*images, *labels]
    return NamedPairs(train, val, alone) if train else NamedPairs(val, train, alone)
