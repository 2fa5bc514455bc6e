"""One yardstick for every loss: the confusion matrix and what follows from it.

mIoU: from one int64 confusion matrix over all valid pixels of the validation set, IoU per class =
TP / (TP + FP + FN), averaged over the classes whose TP + FP + FN > 0; Dice, accuracies and
frequency-weighted IoU come from the same matrix.

Every function of a matrix takes integer counts (C, C), rows label, columns prediction, and returns plain floats
in [0, 1], NaN where there is nothing to measure. They read the matrix off its device.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def confusion_matrix(target: Tensor, prediction: Tensor, *, num_classes: int, ignore_index: int) -> Tensor:
    """Pixel counts by label (row) and predicted class (column): int64 (num_classes, num_classes).

    target: integer ids of any shape, uint8 included; pixels equal to `ignore_index` are not counted.
    prediction: class ids in [0, num_classes), same shape and device.
    """
    _require_equal_shapes(target, prediction)
    return confusion_matrices(
        target[None], prediction[None], num_classes=num_classes, ignore_index=ignore_index
    )[0]


def confusion_matrices(target: Tensor, prediction: Tensor, *, num_classes: int, ignore_index: int) -> Tensor:
    """One confusion matrix per image: int64 (N, num_classes, num_classes) for targets and predictions (N, ...).

    The counts stay on the device and nothing waits for it. Labels are checked where they are read; one beyond the
    last class that gets here is out of bounds: a RuntimeError on the CPU, a device-side assertion on CUDA.
    """
    _require_equal_shapes(target, prediction)
    # Ids of one byte and their cells fit into int32, half of the memory to move; -1 would wrap around in uint8.
    small = target.dtype == torch.uint8 and target.device.type == "cpu" and num_classes <= 256
    ids = target.to(torch.int32 if small else torch.int64)
    # Row 0 collects the ignored pixels, so that a label >= num_classes falls off the end instead of into it.
    row = torch.where(ids == ignore_index, 0, ids + 1)
    cell = (row * num_classes).add_(prediction).flatten(1)  # (N, pixels)
    count = _count_with_bincount if cell.device.type == "cpu" else _count_without_waiting
    counts = count(cell, (num_classes + 1) * num_classes)
    return counts[:, num_classes:].reshape(-1, num_classes, num_classes)


def _count_with_bincount(cell: Tensor, bins: int) -> Tensor:
    """How often each of `bins` values occurs in each row of `cell` (N, pixels): int64 (N, bins)."""
    counts = torch.zeros(len(cell), bins, dtype=torch.int64)
    for image, found in zip(counts, cell, strict=True):
        found = torch.bincount(found, minlength=bins)
        if len(found) > bins:
            raise RuntimeError(f"a label is out of bounds: cell {len(found) - 1} of a matrix with {bins}")
        image.copy_(found)
    return counts


def _count_without_waiting(cell: Tensor, bins: int) -> Tensor:
    """The same on a device, where torch.bincount would wait for the largest value."""
    one = torch.ones((), dtype=torch.int64, device=cell.device)
    counts = torch.zeros(len(cell), bins, dtype=torch.int64, device=cell.device)
    return counts.scatter_add_(1, cell, one.expand_as(cell))


def _require_equal_shapes(target: Tensor, prediction: Tensor) -> None:
    if target.shape != prediction.shape:
        shapes = f"target {tuple(target.shape)} and prediction {tuple(prediction.shape)}"
        raise ValueError(f"{shapes} differ in shape")


def iou(matrix: Tensor) -> list[float]:
    """TP / (TP + FP + FN) of each class; NaN for a class that neither label nor prediction contains."""
    return [_ratio(hit, labelled + predicted - hit) for hit, labelled, predicted in _class_counts(matrix)]


def dice(matrix: Tensor) -> list[float]:
    """2 TP / (2 TP + FP + FN) of each class; NaN for a class that neither label nor prediction contains."""
    return [_ratio(2 * hit, labelled + predicted) for hit, labelled, predicted in _class_counts(matrix)]


def class_accuracy(matrix: Tensor) -> list[float]:
    """TP / (TP + FN), the recall, of each class; NaN for a class without labels."""
    return [_ratio(hit, labelled) for hit, labelled, _ in _class_counts(matrix)]


def mean_iou(matrix: Tensor) -> float:
    """Mean IoU over the classes whose TP + FP + FN > 0; NaN if no pixel is valid."""
    return mean_defined(iou(matrix))


def mean_dice(matrix: Tensor) -> float:
    """Mean Dice over the classes whose TP + FP + FN > 0; NaN if no pixel is valid."""
    return mean_defined(dice(matrix))


def mean_class_accuracy(matrix: Tensor) -> float:
    """Mean recall over the classes with labels; NaN if no pixel is valid."""
    return mean_defined(class_accuracy(matrix))


def accuracy(matrix: Tensor) -> float:
    """Share of the valid pixels predicted rightly; NaN if no pixel is valid."""
    counts = _class_counts(matrix)
    return _ratio(sum(hit for hit, _, _ in counts), sum(labelled for _, labelled, _ in counts))


def frequency_weighted_iou(matrix: Tensor) -> float:
    """Mean IoU weighted by each class's share of the labels; NaN if no pixel is valid."""
    labels = [labelled for _, labelled, _ in _class_counts(matrix)]
    weighted = sum(count * value for count, value in zip(labels, iou(matrix), strict=True) if count)
    return _ratio(weighted, sum(labels))


def mean_defined(values: Sequence[float]) -> float:
    """Mean of the values that are not NaN; NaN if none is left."""
    defined = [value for value in values if not math.isnan(value)]
    return _ratio(math.fsum(defined), len(defined))


def _class_counts(matrix: Tensor) -> list[tuple[int, int, int]]:
    """(TP, pixels with the label, pixels given the prediction) of each class, as exact integers."""
    hits, labelled, predicted = matrix.diagonal(), matrix.sum(dim=1), matrix.sum(dim=0)  # (C,) each
    return list(zip(hits.tolist(), labelled.tolist(), predicted.tolist(), strict=True))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
