"""The rules that labels and weights must obey, checked where a file name can still be given."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from segkit.errors import DataError
from segkit.system.printable import show_path

if TYPE_CHECKING:
    import torch


def check_ids(target: np.ndarray, *, num_classes: int, ignore_index: int, source: str) -> None:
    """Raises DataError if a pixel of `target` (H, W) is neither a class id nor `ignore_index`."""
    wrong = target >= num_classes
    if target.dtype != np.uint8:
        wrong |= target < 0
    if not 0 <= ignore_index < num_classes:
        wrong &= target != ignore_index
    if wrong.any():
        ids = np.unique(target).tolist()
        raise DataError(
            describe_wrong_ids(ids, num_classes=num_classes, ignore_index=ignore_index, source=source)
        )


def describe_wrong_ids(ids: Sequence[int], *, num_classes: int, ignore_index: int, source: str) -> str:
    """The message for a mask whose distinct values `ids` (sorted) are not all class ids or `ignore_index`."""
    wrong = [i for i in ids if not 0 <= i < num_classes and i != ignore_index]
    lines = [
        f"label out of range: {source} has ids {shorten(ids)} but data.classes has {num_classes} classes "
        f"(0-{num_classes - 1}), ignore_index {ignore_index}"
    ]
    if wrong == [num_classes] and min(ids) == 1:
        lines.append(
            "   its ids start at 1 -> data.label_map: {1: 0, 2: 1, ...}, and 0: ignore if 0 is unlabelled"
        )
        return "\n".join(lines)
    if source.lower().endswith((".jpg", ".jpeg")):
        lines.append("   it is a JPEG file, which changes labels near edges -> save masks as PNG")
        return "\n".join(lines)
    if max(wrong) >= 2 * num_classes:
        verb = "looks like a grey value" if len(wrong) == 1 else "look like grey values"
        lines.append(f"   {shorten(wrong)} {verb} of a palette or RGB mask saved as grey")
    example = ", ".join(f"{i}: ignore" for i in wrong[:3])
    lines.append(f"   -> say what each value means with data.label_map, such as {{{example}}}")
    return "\n".join(lines)


def shorten(values: Sequence[object], *, most: int = 12) -> str:
    """The values joined by commas, cut after `most`; names among them are made printable."""
    text = ", ".join(show_path(str(value)) for value in values[:most])
    return f"{text}, ... ({len(values)} in all)" if len(values) > most else text


def check_weight(weight: "torch.Tensor", *, size: tuple[int, int], source: str) -> None:
    """Raises DataError unless `weight` is (H, W) of that size, finite and nowhere negative."""
    if tuple(weight.shape) != tuple(size):
        found = "x".join(str(n) for n in reversed(weight.shape))
        raise DataError(f"weight map of the wrong size: {source} is {found}, its image {size[1]}x{size[0]}")
    if not weight.isfinite().all():
        raise DataError(f"weight map with NaN or infinite values: {source}")
    if (weight < 0).any():
        raise DataError(f"weight map with negative values: {source} goes down to {weight.min().item():g}")
