"""How well the borders between classes are drawn, which mIoU hardly shows: a border is few pixels of an image.

Ignored pixels are as if they had been cut out of label and prediction: they belong to no border and make none, and
neither does the edge of the image.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segkit.evaluation.metrics import mean_defined


@dataclass(frozen=True)
class BoundaryScores:
    """Per class, in [0, 1] and NaN for a class without a border in label and prediction; the tolerance in pixels.

    `iou` is Boundary IoU (Cheng et al. 2021, arXiv:2103.16562) of the pixels within `tolerance` of the border of their
    own class. `f1` is the contour score (Csurka et al. 2013, BMVC): the harmonic mean of the shares of predicted and of
    labelled border pixels that lie within `tolerance` of one another.
    """

    iou: list[float]
    f1: list[float]
    tolerance: float

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that have one."""
        return mean_defined(self.iou)

    @property
    def mean_f1(self) -> float:
        """Mean of `f1` over the classes that have one."""
        return mean_defined(self.f1)


@dataclass(frozen=True)
class BorderCounts:
    """What a BoundaryMeter counts of N images, with its tolerance in pixels: `counts` int64 (N, C, 6).

    Of each image and class, in this order, the numbers of pixels

    0. of the class in label and prediction, within the tolerance of its border in both;
    1. of the class in label or prediction, within the tolerance of its border there;
    2. of the predicted border that are within the tolerance of the labelled one;
    3. of the predicted border;
    4. of the labelled border that are within the tolerance of the predicted one;
    5. of the labelled border.
    """

    counts: Tensor
    tolerance: float

    def scores(self) -> BoundaryScores:
        """The scores of all images: of the sums, so that no image counts more than its borders."""
        iou, f1 = [], []
        for hit, union, good_answer, answer, good_label, label in self.counts.sum(dim=0).tolist():
            iou.append(hit / union if union else math.nan)
            # 2PR / (P + R) with P = good_answer / answer and R = good_label / label; 0 if either has no border.
            good = good_answer * label + good_label * answer
            f1.append(2 * good_answer * good_label / good if good else 0.0 if answer + label else math.nan)
        return BoundaryScores(iou, f1, self.tolerance)


#: Classes that are looked at together, a bit for each; wider numbers are moved many times as slowly.
TOGETHER = 32
#: The bit of the classes that are not among those that are looked at together.
OTHER = 1


class BoundaryMeter:
    """Counts the pixels near the borders of each class. The tolerance is in pixels, 1 at least.

    A border pixel of a class is one with a valid pixel of another class above, below, left or right of it.
    """

    def __init__(self, *, num_classes: int, ignore_index: int, tolerance: float):
        self.num_classes, self.ignore_index, self.tolerance = num_classes, ignore_index, tolerance

    def count(self, target: Tensor, prediction: Tensor) -> Tensor:
        """The counts (N, C, 6) of BorderCounts, of labels and predicted class ids, both (N, H, W) on any device."""
        counts = np.zeros((len(target), self.num_classes, 6), dtype=np.int64)
        for found, label, answer in zip(counts, target.cpu().numpy(), prediction.cpu().numpy(), strict=True):
            valid = label != self.ignore_index  # (H, W)
            label = np.where(valid, label, label.dtype.type(0))
            for bits in _deal_out_bits(self._find_classes(label, answer), self.num_classes):
                found += self._count(bits, label, answer, valid)
        return torch.from_numpy(counts)

    def _find_classes(self, label: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """The classes that may be in them, of few simply all."""
        if self.num_classes <= TOGETHER // 2:
            return np.arange(self.num_classes)
        sums = [np.bincount(ids.ravel(), minlength=self.num_classes) for ids in (label, answer)]
        return np.flatnonzero(sums[0] + sums[1])

    def _count(
        self, bits: np.ndarray, label: np.ndarray, answer: np.ndarray, valid: np.ndarray
    ) -> np.ndarray:
        """The counts (C, 6) of the classes that have a bit of their own in `bits` (C,)."""
        labels, answers = np.take(bits, label) * valid, np.take(bits, answer) * valid  # (H, W)
        near_label, label_border = self._find_borders(labels)
        near_answer, answer_border = self._find_borders(answers)
        # By class: what is true of a pixel, in bits; most pixels are far from every border.
        of_label = [
            near_label,
            label_border != 0,
            (label_border & within(answer_border, self.tolerance)) != 0,
            near_label & near_answer & (labels == answers),
        ]
        of_answer = [
            near_answer,
            answer_border != 0,
            (answer_border & within(label_border, self.tolerance)) != 0,
        ]
        near, border, good, hits = self._count_by_class(label, of_label)
        near_too, border_too, good_too = self._count_by_class(answer, of_answer)
        return np.stack([hits, near + near_too - hits, good_too, border_too, good, border], axis=1)

    def _find_borders(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of bits (H, W): which pixels are within the tolerance of one of another class, and the bits of those that
        touch one, 0 elsewhere."""
        own = ids > OTHER
        near, touching = ((within(ids, distance) != ids) & own for distance in (self.tolerance, 1))
        return near, ids * touching

    def _count_by_class(self, ids: np.ndarray, what: list[np.ndarray]) -> np.ndarray:
        """How many pixels of each class have each property (H, W): (properties, C)."""
        flags = np.zeros(ids.shape, dtype=np.uint8)
        for place, each in enumerate(what):
            flags |= each.view(np.uint8) << place
        chosen = flags != 0
        size = 1 << len(what)
        cell = ids[chosen].astype(np.int64) * size + flags[chosen]
        counts = np.bincount(cell, minlength=size * self.num_classes).reshape(self.num_classes, size)
        combination = np.arange(size)
        return np.stack([counts[:, combination >> place & 1 == 1].sum(axis=1) for place in range(len(what))])


def _deal_out_bits(present: np.ndarray, num_classes: int) -> Iterator[np.ndarray]:
    """For some of the classes `present` at a time the bits (C,) of all classes: their own, or that of all others."""
    for start in range(0, len(present), TOGETHER - 1):
        chosen = present[start : start + TOGETHER - 1]
        dtype = next(each for each in (np.uint8, np.uint16, np.uint32) if len(chosen) < 8 * each(0).nbytes)
        bits = np.full(num_classes, OTHER, dtype=dtype)
        bits[chosen] = dtype(2) << np.arange(len(chosen), dtype=dtype)
        yield bits


def within(points: np.ndarray, distance: float) -> np.ndarray:
    """What is at most `distance` pixels from each pixel, between centres: the bits of all of `points` (H, W) there,
    which are bool or unsigned integers.

    A disc is a stack of rows: points are spread along their rows, as far as each row of the disc goes, and what that
    gives is moved up and down. Few passes over bytes, where distances would be numbers of every pixel; and those are of
    all classes together, where each has a bit.
    """
    distance = min(distance, math.hypot(*points.shape))  # beyond, there is nothing to reach
    found = points.copy()
    spread, reach = points.copy(), 0
    for off in range(min(int(distance), points.shape[0] - 1), -1, -1):  # the narrowest row of the disc first
        while (reach + 1) ** 2 + off**2 <= distance**2:
            reach += 1
            if reach < points.shape[1]:
                spread[:, reach:] |= points[:, :-reach]
                spread[:, :-reach] |= points[:, reach:]
        found[off:] |= spread[: len(spread) - off]
        found[: len(found) - off] |= spread[off:]
    return found
