"""Objects as the runs of pixels in rows that they are made of: what takes as long as there are runs, not pixels.

An image of many pixels has few runs. Positions are counted row by row, with a place behind each row that belongs to
nothing, so that no run goes on into the next row.
"""

from typing import NamedTuple

import numpy as np

from segkit.data.weight_maps.instances import merge_runs
from segkit.evaluation.objects.overlaps import Overlaps


class Objects(NamedTuple):
    """Runs of pixels in their order, (M,) each: where they start, where they have ended, and the number of the object
    that each is a part of, from 1 on in the order of their first pixels."""

    starts: np.ndarray
    ends: np.ndarray
    number: np.ndarray

    @property
    def total(self) -> int:
        """How many objects there are."""
        return int(self.number.max(initial=0))

    def sizes(self) -> np.ndarray:
        """Pixels of each object by its number, 0 of number 0: int64."""
        return np.bincount(self.number, self.ends - self.starts, self.total + 1).astype(
            np.int64
        )  # exact up to 2^53


def find_objects(inside: np.ndarray, *, min_size: int = 0) -> Objects:
    """The connected pixels of `inside` (H, W), bool, without those objects that have fewer than `min_size`."""
    height, width = inside.shape
    rows = np.zeros((height, width + 1), dtype=bool)
    rows[:, :width] = inside
    flat = rows.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat.size and flat[0]:
        changes = np.concatenate([[0], changes])
    starts, ends = changes[::2], changes[1::2]
    above, below = _crossing(starts + (width + 1), ends + (width + 1), starts, ends)
    first = merge_runs(np.stack([above, below]) + 1, count=len(starts))[
        1:
    ]  # of each run the first of its object
    is_first = first == np.arange(1, len(starts) + 1)
    objects = Objects(starts, ends, np.cumsum(is_first)[first - 1])
    if min_size <= 1:
        return objects
    large = objects.sizes() >= min_size
    large[0] = False
    kept = large[objects.number]
    return Objects(starts[kept], ends[kept], np.cumsum(large)[objects.number[kept]])


def overlap_runs(true: Objects, predicted: Objects) -> Overlaps:
    """All pairs of objects, or of an object and none, that share a pixel, sorted; of images of one size."""
    a, b = _crossing(true.starts, true.ends, predicted.starts, predicted.ends)
    shared = np.minimum(true.ends[a], predicted.ends[b]) - np.maximum(true.starts[a], predicted.starts[b])
    numbers = true.number[a], predicted.number[b]
    alone = [
        each.sizes() - np.bincount(number, shared, each.total + 1).astype(np.int64)
        for each, number in zip((true, predicted), numbers, strict=True)
    ]
    columns = predicted.total + 1
    pair = [numbers[0] * columns + numbers[1], np.arange(true.total + 1) * columns, np.arange(columns)]
    pairs, place = np.unique(np.concatenate(pair), return_inverse=True)
    pixels = np.bincount(place, np.concatenate([shared, *alone]), len(pairs)).astype(np.int64)
    there = pixels > 0
    return Overlaps(*np.divmod(pairs[there], columns), pixels[there])


def _crossing(
    starts: np.ndarray, ends: np.ndarray, other_starts: np.ndarray, other_ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The places of all pairs of a run and an other one that share a position; both kinds are apart and in order."""
    first = np.searchsorted(other_ends, starts, side="right")
    count = np.searchsorted(other_starts, ends, side="left") - first
    ours = np.repeat(np.arange(len(starts)), count)
    return ours, np.arange(len(ours)) - np.repeat(np.cumsum(count) - count - first, count)
