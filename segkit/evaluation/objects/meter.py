"""Finds the objects in label and prediction, and counts what was found, split and joined.

Objects are the connected pixels of a class, in the label and in what was predicted, across their sides (connectivity 1
in scikit-image). Labels of classes do not say where one object ends and another of its class begins: two that touch are
one here. Ignored pixels are as if they had been cut out of label and prediction: nothing is counted in them, and
nothing is connected through them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from segkit.data.weight_maps.instances import label_instances
from segkit.evaluation.objects.counts import COLUMNS, ObjectCounts
from segkit.evaluation.objects.scores import TWENTIETHS


class Overlaps(NamedTuple):
    """Which objects share pixels: number of the true one, of the predicted one, and how many pixels, (M,) each.

    Numbers count from 1; 0 is what belongs to no object.
    """

    true: np.ndarray
    predicted: np.ndarray
    pixels: np.ndarray


class ObjectMeter:
    """Counts the objects of the classes with the ids `classes`, each class by itself.

    Objects of fewer than `min_size` pixels are none, in label and prediction alike, and belong to what is no object.

    Found objects: a true and a predicted object are the same at a threshold t >= 0.5 if their IoU is above t. Then each
    has one partner at most, so that there is nothing to choose.

    Adapted Rand error (Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142), as in scikit-image's
    `adapted_rand_error`: 1 - F1 of the pairs of different pixels that lie in one predicted segment, for those that lie
    in one true object. Variation of information (Meila 2007, doi:10.1016/j.jmva.2006.11.013), as in scikit-image's
    `variation_of_information` with `ignore_labels=(0,)`: H(predicted | true), what is split, and H(true | predicted),
    what is joined, in bits. Both are of the pixels of true objects alone, as in the ISBI 2012 and SNEMI3D challenges;
    the rest of the label, such as the membrane between cells, is in no true object, and what is predicted there changes
    neither. Of those pixels all that are predicted as no object are one segment. (The script of SNEMI3D makes a segment
    of each of them.)
    """

    def __init__(self, classes: Sequence[int], *, ignore_index: int, min_size: int = 0):
        self.classes, self.ignore_index, self.min_size = tuple(classes), ignore_index, min_size

    def count(self, target: Tensor, prediction: Tensor) -> ObjectCounts:
        """Of labels and predicted class ids, both (N, H, W) on any device."""
        shape = len(target), len(self.classes)
        counts = np.zeros((*shape, COLUMNS), dtype=np.int64)
        entropies = np.zeros((*shape, 2))
        images = zip(target.cpu().numpy(), prediction.cpu().numpy(), strict=True)
        for n, (label, answer) in enumerate(images):
            valid = label != self.ignore_index  # (H, W)
            for k, class_id in enumerate(self.classes):
                true, answered = (
                    find_objects((ids == class_id) & valid, min_size=self.min_size) for ids in (label, answer)
                )
                counts[n, k], entropies[n, k] = compare_objects(true, answered)
        return ObjectCounts(counts, entropies, self.classes, self.min_size)


def find_objects(inside: np.ndarray, *, min_size: int = 0) -> np.ndarray:
    """The connected pixels of `inside` (H, W), numbered from 1 on, int32; 0 outside, and where they are fewer than
    `min_size`."""
    objects = label_instances(inside, inside, diagonal=False)
    if min_size <= 1:
        return objects
    large = np.bincount(objects.ravel()) >= min_size
    large[0] = False
    return np.where(large, np.cumsum(large, dtype=np.int32), np.int32(0))[objects]


def compare_objects(true: np.ndarray, predicted: np.ndarray) -> tuple[list[int], tuple[float, float]]:
    """The columns of `ObjectCounts.counts` and of its `entropies`, from the numbers of objects (H, W), 0 for none."""
    overlaps = find_overlaps(true, predicted)
    found = count_found(overlaps)
    there = Overlaps(*(values[overlaps.true > 0] for values in overlaps))
    pixels_true, pixels_predicted = _sizes(there)
    pairs = [_count_pairs(sizes) for sizes in (there.pixels, pixels_true, pixels_predicted)]
    numbers = [int(true.max(initial=0)), int(predicted.max(initial=0))]
    split = _entropy(there.pixels, pixels_true[there.true])
    merge = _entropy(there.pixels, pixels_predicted[there.predicted])
    return [*numbers, *found, *pairs], (split, merge)


def find_overlaps(true: np.ndarray, predicted: np.ndarray) -> Overlaps:
    """All pairs of objects, or of an object and none, that share a pixel, sorted."""
    columns = int(predicted.max(initial=0)) + 1
    pair = (true.astype(np.int64) * columns + predicted).ravel()  # (H W)
    # Few pixels differ from the one before, and runs of equal ones are faster to sort than pixels.
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    lengths = np.diff(starts, append=len(pair))
    pairs, place = np.unique(pair[starts], return_inverse=True)
    pixels = np.zeros(len(pairs), dtype=np.int64)
    np.add.at(pixels, place, lengths)
    return Overlaps(*np.divmod(pairs, columns), pixels)


def count_found(overlaps: Overlaps) -> list[int]:
    """How many pairs of a true and a predicted object have an IoU above each threshold."""
    pixels_true, pixels_predicted = _sizes(overlaps)
    both = (overlaps.true > 0) & (overlaps.predicted > 0)
    true, predicted, shared = (values[both] for values in overlaps)
    union = pixels_true[true] + pixels_predicted[predicted] - shared
    # In whole numbers, so that an IoU of exactly 0.55 is not above 0.55.
    return [int((20 * shared > part * union).sum()) for part in TWENTIETHS]


def _sizes(overlaps: Overlaps) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of each true and of each predicted object, by number from 0 on."""
    true, predicted = (
        np.bincount(numbers, weights=overlaps.pixels).astype(np.int64)  # exact up to 2^53
        for numbers in (overlaps.true, overlaps.predicted)
    )
    return true, predicted


def _count_pairs(sizes: np.ndarray) -> int:
    """Ordered pairs of different pixels within each."""
    return int((sizes * (sizes - 1)).sum())


def _entropy(shared: np.ndarray, given: np.ndarray) -> float:
    """H(A | B) in bits of the overlaps `shared` (M,), which lie in parts of B of `given` pixels; 0 of nothing."""
    total = int(shared.sum())
    return float((shared * np.log2(given / shared)).sum() / total) if total else 0.0
