"""The same done for many files, by several processes, with a progress bar."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from segkit.data.loader import WorkerDied, explain_worker_death

Result = TypeVar("Result")


def in_workers(do: Callable[[int], Result], count: int, *, workers: int, shown: str) -> Iterator[Result]:
    """`do(0)` ... `do(count - 1)` in order; on a terminal with a bar called `shown`.

    What `do` is and returns must be able to travel between processes, unless `workers` is 0. Raises WorkerDied if the
    system ends one of them.
    """
    results = DataLoader(
        _Calls(do, count),
        batch_size=None,
        collate_fn=_unchanged,
        num_workers=min(workers, count),
        worker_init_fn=_prepare_worker,
    )
    try:
        yield from tqdm(results, total=count, desc=shown, unit="image", leave=False, disable=None)
    except (RuntimeError, OSError) as error:
        death = explain_worker_death(error)
        if death is None:
            raise
        raise WorkerDied(death) from error


def all_cores() -> int:
    """The cores that this process may use; no worker where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if cores > 1 else 0


class _Calls:
    """What a DataLoader asks for the results."""

    def __init__(self, do: Callable[[int], Any], count: int):
        self.do, self.count = do, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.do(index)


def _unchanged(result: Any) -> Any:
    return result


def _prepare_worker(worker_id: int) -> None:
    """Ctrl-C reaches every process of a terminal; the main one ends the others."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
