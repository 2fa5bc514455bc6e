"""Scores of objects, from sums over images: NumPy alone, so that reports of finished runs need no torch.

Every score takes sums (..., ROWS, K) of the table of `ObjectCounts`, for K classes, and returns (..., K); NaN for a
class of which there is no true object, whatever was predicted.

Found objects are counted over all images: an image with ten times as many cells says ten times as much about cells.
The adapted Rand error and the variation of information are means over the images that have a true object. Their sums
over pairs of pixels could be added up too, but pairs grow with the square of an object, and the one image in which
everything was joined would be the score.
"""

import numpy as np

#: An object is found at a threshold if its IoU is above it: this many twentieths, 0.5, 0.55 ... 0.95.
TWENTIETHS = tuple(range(10, 20))
THRESHOLDS = tuple(part / 20 for part in TWENTIETHS)

#: The rows of the table: true objects, predicted ones, and of both those found at each threshold; then, of an image
#: that has a true object, its adapted Rand error and the two parts of its variation of information, and 1 for itself.
TRUE, PREDICTED, FOUND = 0, 1, slice(2, 2 + len(THRESHOLDS))
RAND_ERROR, SPLIT, MERGE, IMAGES = range(FOUND.stop, FOUND.stop + 4)
ROWS = IMAGES + 1


def precision_at(sums: np.ndarray) -> np.ndarray:
    """The share of predicted objects that are right, by threshold (..., 10, K); 0 if nothing is predicted."""
    return _share(sums[..., FOUND, :], sums[..., PREDICTED, None, :], sums)


def recall_at(sums: np.ndarray) -> np.ndarray:
    """The share of true objects that are found, by threshold (..., 10, K)."""
    return _share(sums[..., FOUND, :], sums[..., TRUE, None, :], sums)


def f1_at(sums: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) by threshold (..., 10, K)."""
    both = sums[..., TRUE, None, :] + sums[..., PREDICTED, None, :]
    return _share(2 * sums[..., FOUND, :], both, sums)


def precision(sums: np.ndarray) -> np.ndarray:
    """Mean of `precision_at` over the thresholds."""
    return precision_at(sums).mean(axis=-2)


def recall(sums: np.ndarray) -> np.ndarray:
    """Mean of `recall_at` over the thresholds."""
    return recall_at(sums).mean(axis=-2)


def f1(sums: np.ndarray) -> np.ndarray:
    """Mean of `f1_at` over the thresholds."""
    return f1_at(sums).mean(axis=-2)


def f1_50(sums: np.ndarray) -> np.ndarray:
    """F1 of the objects with an IoU above 0.5."""
    return f1_at(sums)[..., 0, :]


def rand_error(sums: np.ndarray) -> np.ndarray:
    """Mean adapted Rand error of the images, in [0, 1]; less is better."""
    return _mean_over_images(sums, RAND_ERROR)


def vi_split(sums: np.ndarray) -> np.ndarray:
    """Mean H(predicted | true) of the images, in bits: what cutting true objects costs. Less is better."""
    return _mean_over_images(sums, SPLIT)


def vi_merge(sums: np.ndarray) -> np.ndarray:
    """Mean H(true | predicted) of the images, in bits: what joining true objects costs. Less is better."""
    return _mean_over_images(sums, MERGE)


def vi(sums: np.ndarray) -> np.ndarray:
    """Mean variation of information of the images, in bits: the sum of its two parts. Less is better."""
    return vi_split(sums) + vi_merge(sums)


def _mean_over_images(sums: np.ndarray, row: int) -> np.ndarray:
    images = sums[..., IMAGES, :]
    return np.divide(sums[..., row, :], images, out=np.full(images.shape, np.nan), where=images > 0)


def _share(part: np.ndarray, whole: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """part / whole, 0 where there is no whole, NaN where there is no true object."""
    whole = np.broadcast_to(whole, part.shape)
    share = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return np.where(sums[..., TRUE, None, :] > 0, share, np.nan)
