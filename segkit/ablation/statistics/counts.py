"""Scores from confusion matrices, in numpy: the definitions of `segkit.evaluation.metrics`, equal to the last bit.

Of a matrix (C, C), rows label and columns prediction, IoU needs three numbers per class only, its *counts*: true
positives, pixels with the label, pixels given the prediction. Counts of several images add.
"""

import math

import numpy as np


def class_counts(matrices: np.ndarray) -> np.ndarray:
    """TP, label pixels and predicted pixels of each class: int64 (..., 3, C) from matrices (..., C, C)."""
    matrices = np.asarray(matrices)
    if not np.issubdtype(matrices.dtype, np.integer):
        raise ValueError(f"confusion matrices hold integer counts, got {matrices.dtype}")
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    labelled, predicted = matrices.sum(axis=-1), matrices.sum(axis=-2)
    return np.stack([hits, labelled, predicted], axis=-2).astype(np.int64)


def data_set_miou(matrices: np.ndarray) -> float:
    """mIoU of the set, from the summed matrix of its images (N, C, C); NaN if no pixel is valid.

    IoU per class = TP / (TP + FP + FN), averaged over the classes whose TP + FP + FN > 0.
    """
    return miou_of_counts(class_counts(matrices).sum(axis=0))


def class_iou(matrices: np.ndarray) -> np.ndarray:
    """IoU of each class (C,) from the summed matrix of the images (N, C, C); NaN where TP + FP + FN = 0."""
    return iou_of_counts(class_counts(matrices).sum(axis=0))


def accuracy(matrices: np.ndarray) -> float:
    """Share of the valid pixels of the set predicted rightly, from (N, C, C); NaN if no pixel is valid."""
    hits, labelled, _ = class_counts(matrices).sum(axis=(0, -1)).tolist()
    return hits / labelled if labelled else math.nan


def iou_of_counts(counts: np.ndarray) -> np.ndarray:
    """IoU (..., C) of counts (..., 3, C); NaN where the union is empty."""
    hits, union = counts[..., 0, :], unions(counts)
    return np.divide(hits, union, out=np.full(union.shape, np.nan), where=union > 0)


def unions(counts: np.ndarray) -> np.ndarray:
    """TP + FP + FN, (..., C), of counts (..., 3, C)."""
    return counts[..., 1, :] + counts[..., 2, :] - counts[..., 0, :]


def miou_of_counts(counts: np.ndarray) -> float:
    """Mean IoU of counts (3, C) over the classes with a union; NaN if there is none."""
    iou = iou_of_counts(counts)
    defined = iou[~np.isnan(iou)].tolist()
    return math.fsum(defined) / len(defined) if defined else math.nan
