"""How well the borders between classes are drawn, which mIoU hardly shows: a border is few pixels of an image.

Ignored pixels are as if they had been cut out of label and prediction: they belong to no border and make none, and
neither does the edge of the image.
"""

import math
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


class BoundaryMeter:
    """Counts the pixels near the borders of each class. The tolerance is in pixels, 1 at least.

    A border pixel of a class is one with a valid pixel of another class above, below, left or right of it.
    """

    def __init__(self, *, num_classes: int, ignore_index: int, tolerance: float):
        self.num_classes, self.ignore_index, self.tolerance = num_classes, ignore_index, tolerance

    def count(self, target: Tensor, prediction: Tensor) -> Tensor:
        """The counts (N, C, 6) of BorderCounts, of labels and predicted class ids, both (N, H, W) on any device."""
        counts = torch.zeros(len(target), self.num_classes, 6, dtype=torch.int64)
        labels, answers = target.cpu().long().numpy(), prediction.cpu().long().numpy()
        for found, label, answer in zip(counts, labels, answers, strict=True):
            valid = label != self.ignore_index  # (H, W)
            for class_id in np.unique(np.concatenate([label[valid], answer[valid]])).tolist():
                found[class_id] = torch.tensor(self._count(valid, label == class_id, answer == class_id))
        return counts

    def _count(self, valid: np.ndarray, label: np.ndarray, answer: np.ndarray) -> list[int]:
        """The counts (6,) of one class from the pixels (H, W) that have it."""
        near_label, label_border = self._border(label & valid, valid & ~label)
        near_answer, answer_border = self._border(answer & valid, valid & ~answer)
        counts = [
            near_label & near_answer,
            near_label | near_answer,
            answer_border & within(label_border, self.tolerance),
            answer_border,
            label_border & within(answer_border, self.tolerance),
            label_border,
        ]
        return [int(np.count_nonzero(count)) for count in counts]

    def _border(self, inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pixels of `inside` within the tolerance of one `outside`, and those that touch one; all (H, W)."""
        return inside & within(outside, self.tolerance), inside & within(outside, 1)


def within(points: np.ndarray, distance: float) -> np.ndarray:
    """The pixels (H, W) that are at most `distance` pixels from one of `points` (H, W), between centres; both bool.

    A disc is a stack of rows: points are spread along their rows, as far as each row of the disc goes, and what that
    gives is moved up and down. Few passes over bytes, where distances would be numbers of every pixel.
    """
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
