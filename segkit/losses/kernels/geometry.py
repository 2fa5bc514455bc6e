"""Bilinear resizing (align_corners=False) taken apart: which old rows make a new one, and rows cut into bands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Taps:
    """One dimension: new place i is (1 - share[i]) x old[low[i]] + share[i] x old[high[i]]; each (new size,)."""

    low: Tensor
    high: Tensor
    share: Tensor

    def cut(self, places: slice) -> "Taps":
        return Taps(self.low[places], self.high[places], self.share[places])

    def matrix(self, sources: slice) -> Tensor:
        """What each new place takes of the old places `sources`, as a dense matrix (new size, old places)."""
        old = torch.arange(sources.start, sources.stop, device=self.low.device)
        share = self.share.unsqueeze(1)  # (new size,) -> (new size, 1)
        # At the last old place low and high are the same place, and both parts count.
        return (self.low.unsqueeze(1) == old) * (1 - share) + (self.high.unsqueeze(1) == old) * share


def find_taps(size: int, new_size: int, *, dtype: torch.dtype, device: torch.device) -> Taps:
    """The taps of `F.interpolate(..., align_corners=False)`, by its own arithmetic in `dtype` (fp32 or fp64).

    In steps like there, because at 2,000 pixels rounding to fp32 moves a share by 1e-5, and exact shares would give
    another value. As there, a place of an unchanged size is the old one and has no other in it.
    """
    if size == new_size:
        same = torch.arange(size, device=device)
        return Taps(same, same, torch.zeros(size, dtype=dtype, device=device))
    scale = torch.tensor(size, dtype=dtype, device=device) / new_size
    centre = ((torch.arange(new_size, dtype=dtype, device=device) + 0.5) * scale - 0.5).clamp_min(0)
    low = centre.long().clamp_max(size - 1)
    return Taps(low, (low + 1).clamp_max(size - 1), (centre - low).clamp(0, 1))


@dataclass(frozen=True)
class Run:
    """New rows `rows` that lie between the same two old rows, `low` and `high`."""

    rows: slice
    low: int
    high: int


@dataclass(frozen=True)
class Band:
    """A part of the batch that is worked on at once: some images, new rows, and the old rows that make them.

    `runs` are the parts of `rows` that lie between the same two old rows.
    """

    images: slice
    rows: slice
    sources: slice
    runs: tuple[Run, ...]


def cut_bands(images: int, runs: Sequence[Run], *, rows_per_band: int) -> Iterator[Band]:
    """The batch in bands of about `rows_per_band` new rows: several images, or part of one.

    A band ends where a run ends if it can, since the two old rows of a run are read again for each part of it.
    """
    height = runs[-1].rows.stop
    if rows_per_band >= height:
        step = rows_per_band // height
        for first in range(0, images, step):
            yield _make_band(slice(first, min(first + step, images)), runs)
        return
    parts = list(_group_runs(runs, rows_per_band))
    for image in range(images):
        for part in parts:
            yield _make_band(slice(image, image + 1), part)


@lru_cache(maxsize=64)
def find_runs(size: int, new_size: int, dtype: torch.dtype) -> tuple[Run, ...]:
    """The runs of all new rows, in order."""
    taps = find_taps(size, new_size, dtype=dtype, device=torch.device("cpu"))
    pairs = list(zip(taps.low.tolist(), taps.high.tolist(), strict=True))
    starts = [row for row in range(new_size) if row == 0 or pairs[row] != pairs[row - 1]]
    stops = [*starts[1:], new_size]
    return tuple(Run(slice(start, stop), *pairs[start]) for start, stop in zip(starts, stops, strict=True))


def _group_runs(runs: Sequence[Run], rows_per_band: int) -> Iterator[list[Run]]:
    group: list[Run] = []
    for run in (part for whole in runs for part in _split_run(whole, rows_per_band)):
        if group and run.rows.stop - group[0].rows.start > rows_per_band:
            yield group
            group = []
        group.append(run)
    yield group


def _split_run(run: Run, rows: int) -> Iterator[Run]:
    for start in range(run.rows.start, run.rows.stop, rows):
        yield Run(slice(start, min(start + rows, run.rows.stop)), run.low, run.high)


def _make_band(images: slice, runs: Sequence[Run]) -> Band:
    return Band(
        images,
        rows=slice(runs[0].rows.start, runs[-1].rows.stop),
        sources=slice(runs[0].low, runs[-1].high + 1),
        runs=tuple(runs),
    )
