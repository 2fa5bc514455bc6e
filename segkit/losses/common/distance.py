"""Exact Euclidean distances to the nearest of some pixels, and signed distances to the borders of classes.

The two directions are separable: first the distance to the nearest point in the same column, then the best combination
with a step sideways. On a CPU the second is done by NumPy in a time that grows with W log W; elsewhere, and in a graph
that is traced, by W steps of the whole map, which ask for no value.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from segkit.losses.kernels.labels import read_labels

#: The distance to what is not there: more than any image has, and small enough for its square to be added to.
FAR = 2**20


def signed_distances(
    target: Tensor, *, num_classes: int, ignore_index: int, only: Sequence[int] | None = None
) -> Tensor:
    """How far every pixel is from the border of each class, float32 (..., K, H, W), of class ids (..., H, W), for the K
    classes in `only` or all.

    Outside a class: the distance in pixels to its nearest pixel. Inside: less than or equal to 0, the distance to the
    nearest valid pixel of another class less 1, negated, so that it is 0 along the border. 0 for a class that has no
    border in the image, because it is absent or alone there, and at ignored pixels, which are of no class: nothing is
    measured to them. The edge of the image is no border.
    """
    valid, label = read_labels(target, ignore_index)
    if only is None:
        return _to_borders(label, valid, num_classes)
    # A class and the rest: two classes.
    return torch.cat([_to_borders(label == each, valid, 2)[..., 1:, :, :] for each in only], dim=-3)


def _to_borders(label: Tensor, valid: Tensor, num_classes: int) -> Tensor:
    """`signed_distances` of all classes, from labels and valid pixels (..., H, W)."""
    nearest = [squared_distances(valid & (label == each)).sqrt() for each in range(num_classes)]
    to_class = torch.stack(nearest, dim=-3)  # (..., C, H, W), 0 inside
    to_others = torch.where(to_class == 0, torch.inf, to_class).amin(dim=-3, keepdim=True)
    signed = torch.where(to_class == 0, 1 - to_others, to_class)
    return torch.where(signed.isinf() | ~valid.unsqueeze(-3), 0.0, signed)


def border_distances(target: Tensor, *, ignore_index: int) -> Tensor:
    """How far every pixel is from the nearest border between classes, float32 (..., H, W), of class ids (..., H, W).

    A border pixel, to which the distance is measured, is a valid one with a valid pixel of another class below it or to
    its right. Infinite in an image without any.
    """
    valid, label = read_labels(target, ignore_index)
    border = torch.zeros_like(valid)
    border[..., :-1, :] |= (label[..., 1:, :] != label[..., :-1, :]) & valid[..., 1:, :] & valid[..., :-1, :]
    border[..., :-1] |= (label[..., 1:] != label[..., :-1]) & valid[..., 1:] & valid[..., :-1]
    return squared_distances(border).sqrt()


def squared_distances(points: Tensor) -> Tensor:
    """Squared distance in pixels to the nearest true one of `points` (..., H, W), float32; infinite without any."""
    if points.device.type == "cpu" and not torch.compiler.is_compiling():
        images = points.reshape(-1, *points.shape[-2:]).numpy()
        return torch.from_numpy(np.stack([_by_division(image) for image in images])).view(points.shape)
    return _by_steps(points)


def _by_steps(points: Tensor) -> Tensor:
    """`squared_distances` in W steps of the whole map."""
    rows = torch.arange(points.shape[-2], dtype=torch.float32, device=points.device).unsqueeze(-1)  # (H, 1)
    last = torch.where(points, rows, -torch.inf).cummax(dim=-2).values  # at or above
    first = torch.where(points, rows, torch.inf).flip(-2).cummin(dim=-2).values.flip(-2)  # at or below
    column = torch.minimum(rows - last, first - rows).square()
    best = column.clone()
    for step in range(1, points.shape[-1]):
        aside = column + step * step
        best[..., step:] = torch.minimum(best[..., step:], aside[..., :-step])
        best[..., :-step] = torch.minimum(best[..., :-step], aside[..., step:])
    return best


def _by_division(points: np.ndarray) -> np.ndarray:
    """`squared_distances` of one image (H, W).

    The column of the nearest point never goes back as one goes along a row. So that of a pixel lies between those of
    two others at its sides, and when every other pixel is known, all that is looked at for the rest is one row more.
    """
    height, width = points.shape
    if not points.any():
        return np.full((height, width), math.inf, dtype=np.float32)
    column = _in_columns(points)
    bits = width.bit_length()
    nearest = np.zeros((height, width), dtype=np.int64)
    square = np.zeros((height, width), dtype=np.int64)
    first = np.arange(height)[:, None] * width  # of each row, in the flat map
    step = 2 ** (width.bit_length() - 1)
    while step:
        places = np.arange(step - 1, width, 2 * step)
        before, after = places - step, places + step
        lowest = np.where(before >= 0, nearest[:, before], 0)  # (H, P)
        highest = np.where(after < width, nearest[:, np.minimum(after, width - 1)], width - 1)
        lengths = (highest - lowest + 1).ravel()
        ends = lengths.cumsum()
        starts = ends - lengths
        tried = np.arange(ends[-1]) - np.repeat(
            starts - lowest.ravel(), lengths
        )  # columns, for each pixel in turn
        aside = tried - np.repeat(np.broadcast_to(places, lowest.shape).ravel(), lengths)
        here = np.repeat(np.broadcast_to(first, lowest.shape).ravel(), lengths) + tried
        key = np.minimum.reduceat(((column.ravel()[here] + aside * aside) << bits) | tried, starts)
        nearest[:, places] = (key & (2**bits - 1)).reshape(lowest.shape)
        square[:, places] = (key >> bits).reshape(lowest.shape)
        step //= 2
    return square.astype(np.float32)


def _in_columns(points: np.ndarray) -> np.ndarray:
    """Squared distance (H, W) to the nearest point in the same column, that of FAR without any."""
    rows = np.arange(len(points))[:, None]
    last = np.maximum.accumulate(np.where(points, rows, -FAR), axis=0)
    first = np.minimum.accumulate(np.where(points, rows, 2 * FAR)[::-1], axis=0)[::-1]
    return np.minimum(np.minimum(rows - last, first - rows), FAR) ** 2
