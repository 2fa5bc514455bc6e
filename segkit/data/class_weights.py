"""Class weights from the labels of a training set."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from segkit.errors import DataError
from segkit.losses.criteria.values import read_class_weights


@dataclass(frozen=True)
class ClassCounts:
    """Valid pixels of each class, and valid pixels of the images that have it, over a whole data set."""

    pixels: list[int]
    pixels_where_present: list[int]


def count_classes(dataset: Any) -> ClassCounts:
    """Count the labels of every sample, with a progress bar on a terminal. Raises DataError as reading does."""
    pixels = torch.zeros(dataset.num_classes, dtype=torch.int64)
    where_present = torch.zeros_like(pixels)
    for index in tqdm(range(len(dataset)), desc="class weights", unit="mask", leave=False, disable=None):
        target = dataset[index].target.as_subclass(torch.Tensor)  # (H, W)
        valid = target[target != dataset.ignore_index].long()  # (V,)
        counts = torch.bincount(valid, minlength=dataset.num_classes)  # (C,)
        if len(counts) > dataset.num_classes:
            raise DataError(f"label out of range: sample {index} has id {int(valid.max())}")
        pixels += counts
        where_present += (counts > 0) * len(valid)
    return ClassCounts(pixels.tolist(), where_present.tolist())


def weigh_classes(counts: ClassCounts, kind: str) -> list[float]:
    """A weight per class that is larger for rarer ones; 1 for a class without a pixel.

    `balanced`: all pixels / (classes present x pixels of the class), so that every class counts alike.
    `median_frequency`: median f / f_c, with f_c the share of the class in the images that have it (Eigen and
    Fergus 2015, arXiv:1411.4734). Raises ValueError for another word.
    """
    present = [n for n, count in enumerate(counts.pixels) if count]
    if kind == "balanced":
        total = sum(counts.pixels)
        weights = {n: total / (len(present) * counts.pixels[n]) for n in present}
    elif kind == "median_frequency":
        frequency = {n: counts.pixels[n] / counts.pixels_where_present[n] for n in present}
        middle = statistics.median(frequency.values()) if frequency else 1.0
        weights = {n: middle / frequency[n] for n in present}
    else:
        raise ValueError(f"class weights must be balanced or median_frequency, got {kind!r}")
    return [weights.get(n, 1.0) for n in range(len(counts.pixels))]


class ClassTable:
    """One weight per class, to be looked up per pixel; ignored pixels weigh 0, and None stands for 1 everywhere.

    Raises ValueError unless there is a finite weight >= 0 for every class.
    """

    def __init__(self, class_weights: Sequence[float] | None, *, num_classes: int, ignore_index: int):
        weights = read_class_weights(class_weights, num_classes)
        self.weights = torch.ones(num_classes) if weights is None else weights  # (C,)
        self.ignore_index = ignore_index

    def look_up(self, target: torch.Tensor) -> torch.Tensor:
        """The weights (H, W), float32, of the class ids `target` (H, W)."""
        valid = target != self.ignore_index
        return self.weights[target.long() * valid] * valid
