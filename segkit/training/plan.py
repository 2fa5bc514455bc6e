"""What the loop is given: the numbers of a run, its batches, and whom it tells."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from segkit.evaluation.calibration import Calibration
from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.panels import Panel
from segkit.evaluation.views import WHOLE, Views
from segkit.system.device import Wait

Batch = Mapping[str, Any]


class CountedBatches(Protocol):
    """Batches that can be walked many times, and how many they are."""

    def __iter__(self) -> Iterator[Batch]: ...
    def __len__(self) -> int: ...


class RecorderLike(Protocol):
    """What the loop tells the outside world; the recorder decides when values leave the device."""

    def update(
        self, iteration: int, values: dict[str, Any], batches: list[Batch], *, waited: Wait
    ) -> None: ...
    def flush(self) -> None: ...
    def untrained(self, result: Evaluation) -> None: ...
    def restart_clock(self) -> None: ...
    def evaluation(self, iteration: int, result: Evaluation, *, best: bool) -> None: ...
    def pictures(self, iteration: int, panels: list[Panel]) -> None: ...


@dataclass(frozen=True)
class Plan:
    """How long, how often and how: the numbers of a run, all in iterations."""

    iterations: int
    evaluate_every: int
    checkpoint_every: int
    pictures_every: int
    log_every: int
    num_classes: int
    ignore_index: int
    seed: int = 0
    accumulate: int = 1
    clip_norm: float | None = None
    aux_weight: float = 0.4
    ema_decay: float | None = None
    find_unused: bool = False
    shard: bool = False
    calibration: Calibration = False
    views: Views = WHOLE
    amp_dtype: torch.dtype | None = None

    def seed_of_update(self, iteration: int, *, rank: int = 0) -> int:
        """What the random numbers of an update start from in one of the processes: no two of them alike, of any two
        seeds of a study either."""
        # As if of a seed 2^20 further for each process: nobody trains so many seeds.
        return (self.seed + (rank << 20)) * 1_000_000_007 + iteration
