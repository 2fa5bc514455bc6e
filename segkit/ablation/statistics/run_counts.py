"""What the scores of a run are made of, image by image: all that is kept of a run to compare it.

Confusion matrices are mostly zeros, so they are told by their *entries*: a label, a prediction and how many pixels have
both. Of 150 classes they take a hundredth of the memory, and the counts made of them a fiftieth.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from segkit.evaluation.objects.counts import ObjectCounts

#: Names a table of an image's sums; what can be computed from which is said in metrics.py.
Kind = Literal["counts", "ce", "borders", "bins", "class_bins", "brier", "objects"]
KINDS: tuple[Kind, ...] = ("counts", "ce", "borders", "bins", "class_bins", "brier", "objects")

#: By how much of itself the cross-entropy of an image may differ between devices, for one training.
ROUNDING = 1e-4

#: Image, label, prediction and number of pixels of each entry (E,), in this order.
Entries = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class RunCounts:
    """Sums over the pixels of each of N images.

    `counts` integers (N, 3, C): true positives, pixels with the label, pixels given the prediction of each class;
    `digest` is of the whole confusion matrices, so that runs which predict alike can be told. `ce` float64 (N,) is the
    sum of the cross-entropy of an image's valid pixels. `borders` int64 (N, 6, C) are the counts of
    `segkit.evaluation.boundary_quality`, within `tolerance` pixels. `bins` int64 (N, 3, BINS) are, of each bin
    of confidence, the numbers of pixels and of right ones and the sum of confidences in multiples of 1 / UNIT, see
    `segkit.evaluation.confidence_bins`; `class_bins` int64 (N, 3, C * BINS) the same of the probability of each class,
    one class after the other; `brier` float64 (N,) is the sum of the Brier score of an image's valid pixels.
    `objects` is what was counted of the objects of some classes. What a run's file lacks is None.
    """

    counts: np.ndarray
    digest: str
    ce: np.ndarray | None = None
    borders: np.ndarray | None = None
    tolerance: float | None = None
    bins: np.ndarray | None = None
    class_bins: np.ndarray | None = None
    brier: np.ndarray | None = None
    objects: ObjectCounts | None = None

    def is_alike(self, other: "RunCounts") -> bool:
        """Whether the two counted the same in every image, so that they may be one training.

        Trainings that collapsed predict the same and are not one: their cross-entropies tell them apart. Those of one
        training that was scored twice differ by rounding at most.
        """
        if self.digest != other.digest:
            return False
        return self.ce is None or other.ce is None or np.allclose(self.ce, other.ce, rtol=ROUNDING, atol=0.0)

    def has(self, kind: Kind) -> bool:
        """Whether there are sums of that kind."""
        return getattr(self, kind) is not None

    def setting(self, kind: Kind) -> object:
        """How the sums of that kind were counted; what was not counted alike cannot be compared."""
        if kind == "objects" and self.objects is not None:
            return self.objects.classes, self.objects.min_size
        return self.tolerance if kind == "borders" else None

    def table(self, kind: Kind) -> np.ndarray | None:
        """The sums of that kind as (N, R, K); of `ce` and `brier` the sum and the number of pixels, of `objects` the
        rows of `segkit.evaluation.objects.scores`. None if there are none."""
        found = getattr(self, kind)
        if found is None:
            return None
        if kind in ("ce", "brier"):
            return np.stack([found, self.counts[:, 1].sum(axis=-1)], axis=-1)[..., None]  # (N, 2, 1)
        return found.table() if kind == "objects" else found


def count_entries(entries: Entries, *, images: int, classes: int) -> RunCounts:
    """The counts of confusion matrices with these entries."""
    image, label, prediction, pixels = entries
    place = image.astype(np.int64) * classes
    hit = label == prediction
    counts = np.stack(
        [
            _add_up(place[hit] + label[hit], pixels[hit], images, classes),
            _add_up(place + label, pixels, images, classes),
            _add_up(place + prediction, pixels, images, classes),
        ],
        axis=1,
    )
    digest = hashlib.blake2b(digest_size=16)
    for part in ((place + label) * classes + prediction, pixels.astype(np.int64)):
        digest.update(part.tobytes())
    return RunCounts(counts, digest.hexdigest())


def count_matrices(matrices: np.ndarray) -> RunCounts:
    """The counts of confusion matrices (N, C, C)."""
    matrices = np.asarray(matrices)
    if not np.issubdtype(matrices.dtype, np.integer):
        raise ValueError(f"confusion matrices hold integer counts, got {matrices.dtype}")
    image, label, prediction = np.nonzero(matrices)
    images, classes, _ = matrices.shape
    entries = (image, label, prediction, matrices[image, label, prediction])
    return count_entries(entries, images=images, classes=classes)


def _add_up(place: np.ndarray, pixels: np.ndarray, images: int, classes: int) -> np.ndarray:
    """Sums (N, C) of what belongs to each place, int32 where that is enough."""
    sums = np.bincount(place, weights=pixels, minlength=images * classes)  # float64, exact up to 2^53
    fits = not len(sums) or sums.max() < 2**31
    return sums.astype(np.int32 if fits else np.int64).reshape(images, classes)
