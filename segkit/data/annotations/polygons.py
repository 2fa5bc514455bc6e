"""Which pixels a polygon covers, by the rule of COCO's tools.

The rule (`rleFrPoly` of the COCO API, Lin et al. 2014): corners are rounded to a fifth of a pixel; the outline is
walked on that finer grid; a column of pixels is crossed where the walk passes its centre, and from one crossing to the
next, downward, pixels are inside and outside by turns. It draws neither what Pillow nor what OpenCV draws: those count
every pixel that the outline touches, which makes small things larger.
"""

import numpy as np

#: Steps of the outline per pixel.
STEPS = 5


def fill_polygon(mask: np.ndarray, points: np.ndarray, value: int) -> None:
    """Set the pixels of `mask` (H, W) that lie inside of a polygon to `value`.

    points   (K, 2) float64, x and y of each corner in pixels; (0, 0) is the upper left corner of the first pixel.
             What lies outside of the image is cut off. Where the outline crosses itself, inside and outside alternate.
    """
    inside = polygon_mask(points, (mask.shape[0], mask.shape[1]))
    mask[inside] = value


def polygon_mask(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels inside of a polygon, bool of `size` (H, W). `points` as for `fill_polygon`."""
    height, width = size
    crossings = np.zeros((height + 1, width), dtype=bool)  # the last row: below the image
    across, down = _walk(points)
    for n in range(1, len(across)):
        if across[n] == across[n - 1]:
            continue
        column = (min(across[n], across[n - 1]) + 0.5) / STEPS - 0.5
        if column != np.floor(column) or not 0 <= column <= width - 1:
            continue
        row = (min(down[n], down[n - 1]) + 0.5) / STEPS - 0.5
        crossings[int(np.ceil(min(max(row, 0), height))), int(column)] ^= True
    return np.logical_xor.accumulate(crossings[:height], axis=0)


def _walk(points: np.ndarray) -> tuple[list[int], list[int]]:
    """The outline as points of the finer grid, each beside the last."""
    corners = np.trunc(STEPS * np.asarray(points, dtype=np.float64) + 0.5).astype(np.int64)
    across: list[int] = []
    down: list[int] = []
    for (x0, y0), (x1, y1) in zip(corners.tolist(), np.roll(corners, -1, axis=0).tolist(), strict=True):
        dx, dy = abs(x1 - x0), abs(y1 - y0)
        turned = x0 > x1 if dx >= dy else y0 > y1
        (xa, ya), (xb, yb) = ((x1, y1), (x0, y0)) if turned else ((x0, y0), (x1, y1))
        count = max(dx, dy)
        slope = 0.0 if count == 0 else ((yb - ya) if dx >= dy else (xb - xa)) / count
        for n in range(count + 1):
            step = count - n if turned else n
            if dx >= dy:
                across.append(xa + step)
                down.append(int(ya + slope * step + 0.5))
            else:
                down.append(ya + step)
                across.append(int(xa + slope * step + 0.5))
    return across, down
