"""Which pixels count and what class they are: what every way of computing a loss asks of the target first."""

from typing import NamedTuple

import torch
from torch import Tensor


class LabelError(ValueError):
    """A label that is neither a class nor `ignore_index`."""

    def __init__(self, labels: Tensor, num_classes: int, ignore_index: int):
        """Of the labels of valid pixels."""
        wrong = labels[(labels < 0) | (labels >= num_classes)].unique()
        ids = ", ".join(str(label) for label in wrong.tolist())
        super().__init__(
            f"label out of range: the target has ids {ids} but the logits have {num_classes} classes "
            f"(0-{num_classes - 1}), ignore_index {ignore_index}"
        )


class Labels(NamedTuple):
    """`valid` (N, *spatial) bool; `label` (N, *spatial) int64, the true class, 0 at pixels that are not valid."""

    valid: Tensor
    label: Tensor


def read_labels(target: Tensor, ignore_index: int) -> Labels:
    """Of class ids (N, *spatial) or soft labels (N, C, *spatial), whose true class is the largest."""
    valid = valid_pixels(target, ignore_index)
    if target.is_floating_point():
        return Labels(valid, target.argmax(dim=1))  # (N, C, *spatial) -> (N, *spatial)
    # In the target's dtype, often bytes, before it is converted. An ignore_index is never used as an index.
    return Labels(valid, torch.where(valid, target, 0).long())


def valid_pixels(target: Tensor, ignore_index: int) -> Tensor:
    """(N, *spatial) bool: class ids other than `ignore_index`; of soft labels (N, C, *spatial), those not all 0."""
    if target.is_floating_point():
        return (target != 0).any(dim=1)  # (N, C, *spatial) -> (N, *spatial)
    limits = torch.iinfo(target.dtype)
    if not limits.min <= ignore_index <= limits.max:
        return torch.ones_like(target, dtype=torch.bool)  # compared, it would wrap around to a class
    return target != ignore_index
