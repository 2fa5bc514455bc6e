"""The tables of the kernels that resize: which old rows and columns make the new ones, and the bands of rows."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from segkit.losses.kernels.cpu.call import CPU
from segkit.losses.kernels.geometry import Run, find_runs, find_taps

#: Tasks there are at least, where the image has rows enough: more threads than that find no work.
TASKS = 64
#: Runs of a band, at least: the first of each resizes two rows of logits, each other one.
RUNS = 4


@dataclass(frozen=True)
class Geometry:
    """See `resized.Slot`; `first_rows` (bands,): the old row at which each band begins."""

    runs: Tensor
    first_runs: Tensor
    first_rows: Tensor
    row_shares: Tensor
    lows: Tensor
    highs: Tensor
    shares: Tensor
    column_runs: Tensor

    @property
    def bands(self) -> int:
        return len(self.first_rows)

    def slots(self) -> dict[str, int]:
        tables = {
            "RUNS": self.runs,
            "FIRST_RUNS": self.first_runs,
            "ROW_SHARES": self.row_shares,
            "LOWS": self.lows,
            "HIGHS": self.highs,
            "SHARES": self.shares,
            "COLUMN_RUNS": self.column_runs,
        }
        return {"BANDS": self.bands} | {name: table.data_ptr() for name, table in tables.items()}


@lru_cache(maxsize=64)
def find_geometry(images: int, old_size: torch.Size, size: torch.Size) -> Geometry:
    """The tables for logits (h, w) and a target (H, W), in a batch of so many images."""
    (runs, rows), (column_runs, columns) = (
        (
            find_runs(*sizes, torch.float32),
            find_taps(*sizes, dtype=torch.float32, device=CPU),
        )
        for sizes in zip(old_size, size, strict=True)
    )
    per_band = max(RUNS, len(runs) * images // TASKS)
    # A band adds to the lower row of its first run itself, and so does the band before it to that of its last one: they
    # must not be the same, as they are at the border, where the last run has one row for both.
    starts = [
        start
        for start in range(0, len(runs), per_band)
        if not start or runs[start].high != runs[start - 1].high
    ]
    return Geometry(
        runs=_table(runs),
        first_runs=torch.tensor([*starts, len(runs)], dtype=torch.int32, device=CPU),
        first_rows=torch.tensor([runs[start].low for start in starts], dtype=torch.int64, device=CPU),
        row_shares=rows.share,
        lows=columns.low.int(),
        highs=columns.high.int(),
        shares=columns.share,
        column_runs=_table(column_runs),
    )


def _table(runs: tuple[Run, ...]) -> Tensor:
    return torch.tensor(
        [[run.rows.start, run.rows.stop, run.low, run.high] for run in runs], dtype=torch.int32, device=CPU
    )
