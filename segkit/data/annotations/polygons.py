"""Which pixels a polygon covers, by the rule of COCO's tools.

The rule (`rleFrPoly` of the COCO API, Lin et al. 2014): corners are rounded to a fifth of a pixel; the outline is
walked on that finer grid; a column of pixels is crossed where the walk passes its centre, and from one crossing to the
next, downward, pixels are inside and outside by turns. It draws neither what Pillow nor what OpenCV draws: those count
every pixel that the outline touches, which makes small things larger.

The walk itself is not made: where an edge crosses the centres of columns is computed, for all polygons of an image at
once, with the numbers that the walk would come to.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from segkit.data.annotations.patches import Patch, patch_between

#: Steps of the outline per pixel, and the step of a pixel after which its centre is passed.
STEPS, CENTRE = 5, 2
#: What is added to a step for the first pixel whose centre is not before it, once divided by STEPS.
TO_CENTRE = STEPS - 1 - CENTRE


def fill_polygon(mask: np.ndarray, points: np.ndarray, value: int) -> None:
    """Set the pixels of `mask` (H, W) that lie inside of a polygon to `value`.

    points   (K, 2) float64, x and y of each corner in pixels; (0, 0) is the upper left corner of the first pixel.
             What lies outside of the image is cut off. Where the outline crosses itself, inside and outside alternate.
    """
    polygon_patches([points], (mask.shape[0], mask.shape[1]))[0].fill(mask, value)


def polygon_mask(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels inside of a polygon, bool of `size` (H, W). `points` as for `fill_polygon`."""
    mask = np.zeros(size, dtype=bool)
    polygon_patches([points], size)[0].fill(mask, True)
    return mask


def polygon_patches(polygons: Sequence[np.ndarray], size: tuple[int, int]) -> list[Patch]:
    """What each of several polygons covers of an image of `size` (H, W): sooner than one by one."""
    if not polygons:
        return []
    corners = np.concatenate(polygons, dtype=np.float64)  # (K, 2)
    finer = (STEPS * corners + 0.5).astype(np.int64)  # (K, 2)
    x, y = finer[:, 0], finer[:, 1]
    bounds = [0, *itertools.accumulate(map(len, polygons))]
    following = np.arange(1, len(x) + 1)
    for first, last in itertools.pairwise(bounds):
        following[last - 1] = first
    edges, columns, rows = _cross(x, y, x[following], y[following], size)
    bounds = np.searchsorted(edges, bounds).tolist()
    return [
        patch_between(rows[first:last], columns[first:last]) for first, last in itertools.pairwise(bounds)
    ]


def _cross(
    x0: np.ndarray, y0: np.ndarray, x1: np.ndarray, y1: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the edges from (x0, y0) to (x1, y1), (E,) each on the finer grid, cross the centres of columns: the edge,
    in order, the column, and the first row below, (N,) each."""
    height, width = size
    dx, dy = x1 - x0, y1 - y0
    is_flat = np.abs(dx) >= np.abs(dy)
    # Along the longer side the walk goes on by one with each step, always to the right or downward.
    long, short = np.where(is_flat, dx, dy), np.where(is_flat, dy, dx)
    turned = long < 0
    x, y = np.where(turned, x1, x0), np.where(turned, y1, y0)
    slope = short / np.where(long == 0, 1, long)
    first = np.maximum((np.minimum(x0, x1) + TO_CENTRE) // STEPS, 0)
    last = np.minimum((np.maximum(x0, x1) - (1 + CENTRE)) // STEPS, width - 1)
    counts = np.maximum(last - first + 1, 0)
    edges = np.repeat(np.arange(len(x)), counts)
    # The n-th crossing of an edge is in the n-th column from the first.
    columns = np.arange(len(edges)) - (np.cumsum(counts) - counts - first).take(edges)
    passed = STEPS * columns + CENTRE  # the last step before the centre
    # The walk along a flat edge takes the higher row of that step and the next, which of a rising one is the next.
    at = y.take(edges) + slope.take(edges) * (passed - (x - (slope < 0)).take(edges)) + 0.5
    steep = np.flatnonzero(~is_flat.take(edges))
    if len(steep):
        of = edges.take(steep)
        at[steep] = y.take(of) + _first_step_past(x.take(of), slope.take(of), passed.take(steep) + 1) - 1
    rows = (at.astype(np.int64) + TO_CENTRE) // STEPS
    return edges, columns, np.minimum(np.maximum(rows, 0), height)


def _first_step_past(x: np.ndarray, slope: np.ndarray, border: np.ndarray) -> np.ndarray:
    """The first step of steep edges, which begin at `x`, that is on the other side of a border: found by dividing, and
    put right by what the walk would compute there, since either rounds."""
    step = np.floor((border - 0.5 - x) / slope)
    rises = slope > 0
    for _ in range(2):
        step += (x + slope * step + 0.5 >= border) != rises
    return step
