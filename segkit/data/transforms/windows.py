"""Random windows of an image: which part of it is seen, how large, and what surrounds it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from segkit.data.sample import as_height_width

#: The value of new pixels of an image: about 0 after normalisation, which is also what convolutions pad with.
GREY = 127


class Window(NamedTuple):
    """A place in an image, and what is done to what it shows."""

    place: tuple[int, int, int, int]  # top, left, height, width
    size: tuple[int, int]  # (H, W) that it is resized to
    padding: tuple[int, int, int, int]  # left, top, right, bottom


class Windows:
    """Draws windows of `crop_size` (of the image's own size, if that is None) after scaling by a factor in `scale`.

    If the most frequent class has more than `max_class_share` of the window's valid pixels, another place is drawn, up
    to `tries` of them; if all have too much of one class, the one that has least of it is taken.
    """

    def __init__(
        self,
        ignore_index: int,
        *,
        crop_size: int | Sequence[int] | None,
        scale: Sequence[float],
        max_class_share: float | None = None,
        tries: int = 10,
    ):
        low, high = scale
        if low > high:
            raise ValueError(f"scale must be [lowest, highest], got {scale}")
        self.crop = None if crop_size is None else as_height_width(crop_size)
        self.scale, self.ignore_index = (low, high), ignore_index
        self.max_class_share, self.tries = max_class_share, tries

    def draw(self, size: tuple[int, int], ids: torch.Tensor | None) -> Window:
        """A window of an image of this size (H, W); `ids` (H, W) are its labels, needed with `max_class_share`."""
        low, high = self.scale
        factor = low + (high - low) * torch.rand(()).item()
        crop = self.crop or size
        if self.max_class_share is None or ids is None:
            return _choose_window(size, crop, factor)
        found, least = None, math.inf
        for _ in range(self.tries):
            window = _choose_window(size, crop, factor)
            share = largest_share(ids, window.place, self.ignore_index)
            if found is None or share < least:
                found, least = window, share
            if share <= self.max_class_share:
                break
        assert found is not None  # there is at least one try
        return found


def largest_share(ids: torch.Tensor, window: tuple[int, int, int, int], ignore_index: int) -> float:
    """The share that the most frequent class has of a window's valid pixels; 1 if there are none.

    `ids` is (H, W), `window` (top, left, height, width).
    """
    top, left, height, width = window
    values = ids[top : top + height, left : left + width].as_subclass(torch.Tensor).numpy().ravel()
    values = values[values != ignore_index]
    return float(np.bincount(values).max() / values.size) if values.size else 1.0


def _choose_window(size: tuple[int, int], crop: tuple[int, int], factor: float) -> Window:
    """A window at a random place."""
    spans = [_cut(length, out, factor) for length, out in zip(size, crop, strict=True)]
    (top, height, new_height, above, below), (left, width, new_width, before, after) = spans
    return Window((top, left, height, width), (new_height, new_width), (before, above, after, below))


def _cut(length: int, out: int, factor: float) -> tuple[int, int, int, int, int]:
    """Along one side of `length` pixels, for a window of `out` after scaling by `factor`: first pixel and number
    of pixels to take, the number they are resized to, and the padding before and after them."""
    taken = min(length, max(1, round(out / factor)))
    resized = min(out, max(1, round(taken * factor)))
    if taken < length:
        resized = out  # rounding must not leave a seam of padding inside a larger image
    first = int(torch.randint(length - taken + 1, ()))
    before = int(torch.randint(out - resized + 1, ()))
    return first, taken, resized, before, out - resized - before
