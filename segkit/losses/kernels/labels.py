"""Which pixels count and what class they are: what every way of computing a loss asks of the target first."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
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


def neighbours(labels: Labels, radius: int) -> Iterator[tuple[tuple[int, int], Labels]]:
    """The labels (N, H, W) of the pixels that lie so many (rows, columns) down and right, for each place of a window of
    2 `radius` + 1 rows and columns. Outside the image a pixel is not valid."""
    height, width = labels.label.shape[1:]
    valid, label = (F.pad(each, (radius,) * 4) for each in labels)
    for rows in range(2 * radius + 1):
        for columns in range(2 * radius + 1):
            window = (slice(None), slice(rows, rows + height), slice(columns, columns + width))
            yield (rows - radius, columns - radius), Labels(valid[window], label[window])


def require_images(target: Tensor, name: str) -> None:
    """Raises ValueError unless the target is class ids of images, (N, H, W), of which a pixel has neighbours."""
    if target.is_floating_point():
        raise ValueError(f"{name} makes soft labels of class ids, and the target is soft labels already")
    if target.ndim != 3:
        raise ValueError(f"{name} needs the class ids of images, (N, H, W), got {tuple(target.shape)}")


def check_radius(radius: int) -> int:
    """Raises ValueError unless it is a number of pixels from 0 to 10."""
    if not isinstance(radius, int) or isinstance(radius, bool) or not 0 <= radius <= 10:
        raise ValueError(f"radius must be a number of pixels from 0 to 10, got {radius!r}")
    return radius
