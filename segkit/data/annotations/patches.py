"""The pixels of one shape, kept as the rectangle that holds them."""

from typing import NamedTuple

import numpy as np


class Patch(NamedTuple):
    """Which pixels of a rectangle of an image a shape covers: bool (h, w), whose first pixel is at (`top`, `left`).

    The rectangle lies in the image. A shape that covers nothing has one without pixels.
    """

    top: int
    left: int
    inside: np.ndarray

    @property
    def area(self) -> int:
        """Pixels that are covered."""
        return int(np.count_nonzero(self.inside))

    def fill(self, mask: np.ndarray, value: int) -> None:
        """Set the pixels of `mask` (H, W), which is as large as the image, that the shape covers to `value`."""
        height, width = self.inside.shape
        part = mask[self.top : self.top + height, self.left : self.left + width]
        np.copyto(part, value, where=self.inside)


def patch_between(rows: np.ndarray, columns: np.ndarray) -> Patch:
    """The patch of a shape by the borders that are met on the way down each column: inside and outside by turns.

    rows     (N,) the first pixel below each border, from 0 to the height of the image; in any order
    columns  (N,) the column that the border is in; of each, an even number
    """
    if not len(rows):
        return Patch(0, 0, np.zeros((0, 0), dtype=bool))
    top, bottom = int(rows.min()), int(rows.max())
    left = int(columns.min())
    width = int(columns.max()) - left + 1
    words = -(-width // 8)
    borders = np.zeros((bottom - top + 1, words), dtype=np.uint64)
    flat = borders.view(np.uint8).reshape(-1)
    np.bitwise_xor.at(flat, (rows - top) * (8 * words) + (columns - left), 1)
    # Eight columns at a time, each in a byte of its own.
    inside = np.bitwise_xor.accumulate(borders[:-1], axis=0).view(bool)
    return Patch(top, left, inside[:, :width])
