"""What is counted of the objects in every single image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segkit.evaluation.objects.scores import FOUND, THRESHOLDS

#: The columns of ObjectCounts.counts.
TRUE, PREDICTED, BOTH_PAIRS, TRUE_PAIRS, PREDICTED_PAIRS = 0, 1, *range(FOUND.stop, FOUND.stop + 3)
COLUMNS = PREDICTED_PAIRS + 1


@dataclass(frozen=True, eq=False)
class ObjectCounts:
    """What an ObjectMeter counts in N images, of the classes with the ids `classes` (K of them).

    `counts` int64 (N, K, 15), of each image and class:

    - 0 and 1: true objects and predicted objects;
    - 2 to 11: how many of them have an IoU above 0.5, 0.55 ... 0.95 with one another;
    - 12 to 14, over the pixels of true objects: ordered pairs of different pixels that lie in one true object and in
      one predicted segment, in one true object, and in one predicted segment.

    `entropies` float64 (N, K, 2), in bits, over the same pixels: that of the predicted segment where the true object is
    known, and that of the true object where the predicted segment is. 0 in an image without true objects.

    Objects of fewer than `min_size` pixels are none.
    """

    counts: np.ndarray
    entropies: np.ndarray
    classes: tuple[int, ...]
    min_size: int = 0

    @classmethod
    def join(cls, parts: Sequence["ObjectCounts"]) -> "ObjectCounts":
        """The images of all `parts` (one at least, counted alike), one part after the other."""
        return cls(
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.entropies for part in parts]),
            parts[0].classes,
            parts[0].min_size,
        )

    def reorder(self, order: Sequence[int]) -> "ObjectCounts":
        """The same images in another order: the n-th is the one that is `order[n]` here."""
        places = np.asarray(order, dtype=np.int64)
        return ObjectCounts(self.counts[places], self.entropies[places], self.classes, self.min_size)

    def table(self) -> np.ndarray:
        """What scores are made of, as float64 (N, ROWS, K), see `segkit.evaluation.objects.scores`."""
        return object_table(self.counts, self.entropies)


def object_table(counts: np.ndarray, entropies: np.ndarray) -> np.ndarray:
    """The table float64 (N, ROWS, K) of `counts` and `entropies` as in ObjectCounts."""
    has_object = counts[..., TRUE] > 0  # (N, K)
    pairs = counts[..., TRUE_PAIRS] + counts[..., PREDICTED_PAIRS]
    # Objects of single pixels, all apart: there is no pair that could be wrong.
    rand = np.divide(2.0 * counts[..., BOTH_PAIRS], pairs, out=np.ones(pairs.shape), where=pairs > 0)
    rows = [
        *np.moveaxis(counts[..., : 2 + len(THRESHOLDS)], -1, 0).astype(np.float64),
        np.where(has_object, 1.0 - rand, 0.0),
        *np.moveaxis(entropies, -1, 0),
        has_object.astype(np.float64),
    ]
    return np.stack(rows, axis=1)
