"""An image seen in overlapping tiles, whose logits are blended, a block of the image at a time.

Each pixel gets the weighted mean of what the tiles that show it say, by weights that fall towards the border of a tile,
where a network sees least around a pixel. Weights are products of one number of the row and one of the column, and so
is their sum over a grid of tiles: each axis is divided by its own, and the blend needs no second pass.

What is in memory are a tile's logits, and those rows that the next row of tiles has a part in, not the whole image's.
"""

import math
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Blend = Literal["gaussian", "mean"]

#: Tiles begin at multiples of it (the last of an axis aside), as far as they can: networks of a smaller stride then see
#: a pixel in every tile at the same place of their grid.
ALIGNMENT = 32
#: The standard deviation of the weights, in parts of a tile, and the least weight beside the largest.
SIGMA, LEAST_WEIGHT = 1 / 8, 1e-3


class Axis(NamedTuple):
    """The tiles along an axis of an image: where each begins, and its weights (tiles, length) in fp32, which add up to
    1 at each pixel."""

    starts: list[int]
    weights: Tensor

    @property
    def length(self) -> int:
        """Pixels of a tile."""
        return self.weights.shape[1]


#: A part of an image: its rows and its columns.
Block = tuple[slice, slice]


def lay_out(pixels: int, tile: int, overlap: float, blend: Blend, *, device: torch.device) -> Axis:
    """The tiles along `pixels` pixels, each `tile` long (as long as the image if that is less), with at least the share
    `overlap` of a tile in common with the next."""
    length = min(tile, pixels)
    step = max(1, math.floor(length * (1 - overlap)))
    unit = ALIGNMENT if step >= ALIGNMENT else 1
    step -= step % unit
    # Spread evenly: with the rest at the end, the last tiles would overlap by far more, in memory too.
    reach = pixels - length
    gaps, units = math.ceil(reach / step), math.ceil(reach / unit)
    starts = [*(unit * (n * units // gaps) for n in range(gaps)), reach]
    weight = torch.ones(length, dtype=torch.float64)
    if blend == "gaussian":
        place = (torch.arange(length, dtype=torch.float64) - (length - 1) / 2) / (SIGMA * length)
        weight = torch.exp(-(place**2) / 2).clamp_min(LEAST_WEIGHT)
    total = torch.zeros(pixels, dtype=torch.float64)
    for start in starts:
        total[start : start + length] += weight
    shares = torch.stack([weight / total[start : start + length] for start in starts])
    return Axis(starts, shares.to(device, torch.float32))


def blend_tiles(
    look: Callable[[Tensor], Tensor], images: Tensor, rows: Axis, columns: Axis
) -> Iterator[tuple[Block, Tensor]]:
    """The logits of `images` (N, C, H, W), block by block: which part of the images, and its logits (N, K, h, w) in
    fp32, which are overwritten when the next block comes.

    `look` gives the logits (N, K, h, w) of a tile (N, C, h, w), which are changed. The blocks are apart and cover the
    images, from left to right and from top to bottom.
    """
    height, width = images.shape[-2:]
    kept: Tensor | None = None  # rows that the next row of tiles has a part in
    waiting = 0  # how many there are
    for r, y in enumerate(rows.starts):
        next_y = rows.starts[r + 1] if r + 1 < len(rows.starts) else height
        beside: Tensor | None = None  # columns that the next tile has a part in
        for c, x in enumerate(columns.starts):
            next_x = columns.starts[c + 1] if c + 1 < len(columns.starts) else width
            tile = images[..., y : y + rows.length, x : x + columns.length]
            logits = look(tile).float().mul_(rows.weights[r][:, None] * columns.weights[c])
            if beside is not None:
                logits[..., : beside.shape[-1]] += beside
            # A copy, since a part of a tile's logits would keep all of them in memory while the next one is computed.
            done, beside = logits[..., : next_x - x], logits[..., next_x - x :].clone()
            place = slice(x, next_x)
            if kept is None and len(rows.starts) > 1:
                most = max(a + rows.length - b for a, b in zip(rows.starts, rows.starts[1:], strict=False))
                kept = logits.new_empty(*logits.shape[:2], most, width)
            if kept is not None and waiting:
                done[..., :waiting, :] += kept[..., :waiting, place]
            final, rest = done[..., : next_y - y, :], done[..., next_y - y :, :]
            if kept is not None:
                kept[..., : rest.shape[-2], place] = rest
            yield (slice(y, next_y), place), final
            del logits, done, final, rest  # else they are in memory while the next tile is computed
        waiting = y + rows.length - next_y
