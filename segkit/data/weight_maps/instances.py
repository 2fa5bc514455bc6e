"""The objects in a label image, one by one, and how far every pixel is from the two nearest of them.

NumPy alone: an image of 512x512 pixels takes some hundredths of a second, so that a weight map can be made while the
network trains.
"""

from dataclasses import dataclass

import numpy as np

FAR = np.int32(2**30)  # squared distance to an object that is not there


def label_instances(classes: np.ndarray, inside: np.ndarray, *, diagonal: bool) -> np.ndarray:
    """Number the connected pixels of equal class among `inside`: int32 (H, W), 0 outside, 1, 2, ... row by row.

    `classes` is (H, W) of any integer type, `inside` bool (H, W). Pixels are connected across their sides and, with
    `diagonal`, across their corners.
    """
    starts = inside.copy()  # of the runs: neighbouring pixels of a row that belong together
    starts[:, 1:] &= ~(inside[:, :-1] & (classes[:, 1:] == classes[:, :-1]))
    runs = np.cumsum(starts, dtype=np.int32).reshape(inside.shape) * inside  # (H, W) 0 outside
    pairs = [_touching(runs, classes, shift) for shift in ((-1, 0, 1) if diagonal else (0,))]
    first = merge_runs(
        np.concatenate(pairs, axis=1), count=int(starts.sum())
    )  # run -> first run of its object
    is_first = first == np.arange(len(first))
    number = np.cumsum(is_first, dtype=np.int32) - 1
    return number[first][runs]


def _touching(runs: np.ndarray, classes: np.ndarray, shift: int) -> np.ndarray:
    """Runs of equal class that touch the row below, `shift` columns to the right: (2, pairs)."""
    width = runs.shape[1]
    above = np.s_[:-1, max(0, -shift) : width - max(0, shift)]
    below = np.s_[1:, max(0, shift) : width - max(0, -shift)]
    touching = (runs[above] > 0) & (runs[below] > 0) & (classes[above] == classes[below])
    pairs = np.stack([runs[above][touching], runs[below][touching]])
    changes = np.ones(pairs.shape[1], dtype=bool)
    changes[1:] = (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)
    return pairs[:, changes]


def merge_runs(pairs: np.ndarray, *, count: int) -> np.ndarray:
    """For each of the runs 0 ... count, the smallest run that it is connected to by `pairs` (2, n)."""
    root = np.arange(count + 1)
    while pairs.size:
        low, high = root[pairs].min(axis=0), root[pairs].max(axis=0)
        apart = low < high
        pairs, low, high = pairs[:, apart], low[apart], high[apart]
        np.minimum.at(root, high, low)
        while (root[root] != root).any():
            root = root[root]
    return root


@dataclass
class Nearest:
    """The two nearest objects of some pixels: squared distances, and the number of each object."""

    first: np.ndarray
    first_object: np.ndarray
    second: np.ndarray
    second_object: np.ndarray

    def offer(self, square: np.ndarray, number: np.ndarray) -> None:
        """Take objects into account that are that far away, one per pixel."""
        same, nearer = number == self.first_object, square < self.first
        pushes = nearer & ~same
        second = ~nearer & ~same & (square < self.second)
        self.second = np.where(pushes, self.first, np.where(second, square, self.second))
        self.second_object = np.where(pushes, self.first_object, np.where(second, number, self.second_object))
        self.first = np.where(nearer, square, self.first)
        self.first_object = np.where(nearer, number, self.first_object)

    def take(self, places: np.ndarray) -> "Nearest":
        return Nearest(*(values.take(places) for values in vars(self).values()))

    def put(self, places: np.ndarray, others: "Nearest") -> None:
        for name, values in vars(others).items():
            getattr(self, name)[places] = values


def two_nearest(instances: np.ndarray, wanted: np.ndarray, *, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared Euclidean distances, int32 (P,) each, from the `wanted` pixels to the nearest and the second nearest
    object; 0 to the object that a pixel is in.

    `instances` (H, W) holds the number of the object at each pixel and 0 for none, `wanted` is bool (H, W). A pair
    of distances that add up to at most `reach` is exact; others are too large, or FAR.

    The two directions are separable: the second nearest object of a pixel is, in the column of its nearest point, the
    nearest or (after the nearest of all) the second nearest one. So two per pixel of a column are enough.
    """
    width = instances.shape[1]
    farthest = min(reach, width - 1)
    columns = _two_nearest_in_column(instances, pad=farthest)
    row, column = np.nonzero(wanted)
    places = row * (width + 2 * farthest) + column + farthest  # (P,) in the padded columns
    found = columns.take(places)
    active = np.arange(len(places))
    for step in range(1, farthest + 1):
        # What is found from here on is at least `step` away, and of use only as part of a sum within reach.
        first = np.sqrt(found.first.take(active))
        active = active[(step * step < found.second.take(active)) & (np.minimum(first, step) + step <= reach)]
        if not len(active):
            break
        best = found.take(active)
        for aside in (places.take(active) - step, places.take(active) + step):
            there = columns.take(aside)
            best.offer(there.first + step * step, there.first_object)
            best.offer(there.second + step * step, there.second_object)
        found.put(active, best)
    return found.first, found.second


def _two_nearest_in_column(instances: np.ndarray, *, pad: int) -> Nearest:
    """For every pixel the two nearest objects of its column, with `pad` empty columns at either side."""
    height, width = instances.shape
    rows = np.arange(height, dtype=np.int32)[:, None]
    shape = (height, width + 2 * pad)
    nearest = Nearest(*(np.full(shape, value, dtype=np.int32) for value in (FAR, 0, FAR, 0)))
    inner = Nearest(*(values[:, pad : pad + width] for values in vars(nearest).values()))
    for flip in (np.s_[:], np.s_[::-1]):
        for seen in _last_two(instances[flip]):
            seen_row, is_there = np.maximum(seen, 0), seen >= 0
            square = np.where(is_there, np.square(rows - seen_row), FAR)[flip]
            number = np.where(is_there, np.take_along_axis(instances[flip], seen_row, axis=0), 0)[flip]
            inner.offer(square, number)
    for name, values in vars(inner).items():
        getattr(nearest, name)[:, pad : pad + width] = values
    return nearest


def _last_two(instances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every pixel, the row of the last pixel of an object at or above it, and of the last one of another object
    than that; int32 (H, W), -1 where there is none."""
    rows = np.arange(len(instances), dtype=np.int32)[:, None]
    last = np.maximum.accumulate(np.where(instances > 0, rows, -1), axis=0)
    above = np.full_like(last, -1)
    above[1:] = last[:-1]
    number_above = np.take_along_axis(instances, np.maximum(above, 0), axis=0)
    changes = (instances > 0) & (above >= 0) & (number_above != instances)
    return last, np.maximum.accumulate(np.where(changes, above, -1), axis=0)
