"""The rule of COCO's tools for polygons, step by step along the outline: what the fast way is compared with."""

import numpy as np

from segkit.data.annotations.polygons import STEPS


def slow_polygon_mask(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels inside of a polygon (K, 2), bool of `size` (H, W)."""
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
