"""Scores of confusion matrices (N, C, C), by the metrics of validation: what those of counts must be equal to."""

import math

import numpy as np
import torch

from segkit.ablation.statistics.run_counts import count_matrices
from segkit.evaluation import metrics


def class_counts(matrices):
    """TP, labels and predictions of each image and class, int64 (N, 3, C)."""
    return count_matrices(matrices).counts.astype(np.int64)


def class_iou(matrices):
    """IoU of each class of the set (C,), NaN for a class that is neither labelled nor predicted."""
    return np.array(metrics.iou(_sum(matrices)))


def labelled_miou(matrices):
    """mIoU of the set over the classes that some image has."""
    total = _sum(matrices)
    values = [
        value for value, labels in zip(metrics.iou(total), total.sum(dim=1).tolist(), strict=True) if labels
    ]
    return math.fsum(values) / len(values) if values else math.nan


def accuracy(matrices):
    """The share of the pixels of the set that are right."""
    return metrics.accuracy(_sum(matrices))


def _sum(matrices):
    return torch.from_numpy(np.asarray(matrices).sum(axis=0))
