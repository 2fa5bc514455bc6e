"""Where pixels are predicted wrongly: on small objects or large ones, at the borders of classes or far from them.

Objects are the connected components of the true classes: pixels of one class that touch at a side or a corner. How far
a pixel is from a border is measured in the labels, between its centre and that of the nearest pixel which has one of
another class above, below, left or right of it; it is 0 on both sides of a border. Ignored pixels belong to no object,
make no border and are not counted, but they do cut an object in two; neither is the edge of the image a border.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segkit.data.weight_maps.boundary import find_border, squared_distance
from segkit.data.weight_maps.instances import label_instances

#: The least pixels of an object of each bin. They grow by four: sides by two.
SIZES = (1, 16, 64, 256, 1024, 4096, 16384, 65536)
#: The least distance to a border, in pixels, of each bin; behind them is a bin for images without a border.
DISTANCES = (0, 1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class PlaceCounts:
    """What is counted of a number of images, by true class and bin.

    `sizes` int64 (C, len(SIZES), 4): objects, those of which at least half of the pixels are found (predicted as their
    class), pixels, and pixels found. `distances` int64 (C, len(DISTANCES) + 1, 2): pixels, and wrong ones. `shapes`:
    how many images have each (H, W), as they are scored.
    """

    sizes: np.ndarray
    distances: np.ndarray
    shapes: Counter[tuple[int, int]]


class PlaceMeter:
    """Adds up PlaceCounts over the batches that it is shown, see `evaluate`."""

    def __init__(self, *, num_classes: int, ignore_index: int):
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.sizes = np.zeros((num_classes, len(SIZES), 4), dtype=np.int64)
        self.distances = np.zeros((num_classes, len(DISTANCES) + 1, 2), dtype=np.int64)
        self.shapes: Counter[tuple[int, int]] = Counter()

    def __call__(self, target: Tensor, prediction: Tensor) -> None:
        """Count the labels and the predictions, both (N, H, W) in host memory, of a batch."""
        for label, answer in zip(target.cpu().long(), prediction.long(), strict=True):
            self.shapes[label.shape[0], label.shape[1]] += 1
            valid = label != self.ignore_index
            if valid.any():
                self.sizes += self._count_sizes(label.numpy(), valid.numpy(), (label == answer).numpy())
                self.distances += self._count_distances(label, valid, label == answer)

    def counts(self) -> PlaceCounts:
        return PlaceCounts(self.sizes, self.distances, self.shapes)

    def _count_sizes(self, label: np.ndarray, valid: np.ndarray, right: np.ndarray) -> np.ndarray:
        objects = label_instances(label, valid, diagonal=True)  # (H, W) 1, 2, ... and 0 where ignored
        pixels = np.bincount(objects[valid])[1:]
        found = np.bincount(objects[valid & right], minlength=len(pixels) + 1)[1:]
        classes = np.zeros(len(pixels) + 1, dtype=np.int64)
        classes[objects[valid]] = label[valid]
        bins = np.searchsorted(SIZES, pixels, side="right") - 1
        rows = np.stack([np.ones_like(pixels), 2 * found >= pixels, pixels, found], axis=1)  # (objects, 4)
        return self._add_up(classes[1:], bins, rows, len(SIZES))

    def _count_distances(self, label: Tensor, valid: Tensor, right: Tensor) -> np.ndarray:
        border = find_border(label, valid)
        if border.any():
            square = squared_distance(border, radius=DISTANCES[-1])[valid].numpy()
            bins = np.searchsorted(np.square(DISTANCES), square, side="right") - 1
        else:
            bins = np.full(int(valid.sum()), len(DISTANCES))
        rows = torch.stack([torch.ones_like(valid), ~right], dim=-1)[valid].numpy()  # (pixels, 2)
        return self._add_up(label[valid].numpy(), bins, rows, len(DISTANCES) + 1)

    def _add_up(self, classes: np.ndarray, bins: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
        """Sums of `rows` (n, K) by class and bin, both (n,): int64 (C, count, K)."""
        cells = classes * count + bins
        # Sums of floats, exact below 2^53.
        columns = [np.bincount(cells, column, self.num_classes * count) for column in rows.T]
        return np.stack(columns, axis=1).astype(np.int64).reshape(self.num_classes, count, -1)


def join_places(parts: Sequence[PlaceCounts]) -> PlaceCounts:
    """The counts of all `parts` together."""
    return PlaceCounts(
        np.sum([part.sizes for part in parts], axis=0),
        np.sum([part.distances for part in parts], axis=0),
        sum((part.shapes for part in parts), Counter()),
    )
