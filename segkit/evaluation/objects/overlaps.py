"""Which true and predicted objects share pixels, and what is counted of that."""

from typing import NamedTuple

import numpy as np

from segkit.evaluation.objects.scores import TWENTIETHS


class Overlaps(NamedTuple):
    """Which objects share pixels: number of the true one, of the predicted one, and how many pixels, (M,) each, sorted
    by both numbers.

    Numbers count from 1; 0 is what belongs to no object. What is in neither need not be there.
    """

    true: np.ndarray
    predicted: np.ndarray
    pixels: np.ndarray


def compare_overlaps(
    overlaps: Overlaps, true_objects: int, predicted_objects: int
) -> tuple[list[int], tuple[float, float]]:
    """The columns of `ObjectCounts.counts` and of its `entropies`, of so many objects."""
    found = count_found(overlaps)
    there = Overlaps(*(values[overlaps.true > 0] for values in overlaps))
    pixels_true, pixels_predicted = _sizes(there)
    pairs = [_count_pairs(sizes) for sizes in (there.pixels, pixels_true, pixels_predicted)]
    split = _entropy(there.pixels, pixels_true[there.true])
    merge = _entropy(there.pixels, pixels_predicted[there.predicted])
    return [true_objects, predicted_objects, *found, *pairs], (split, merge)


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
