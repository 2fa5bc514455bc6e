"""Work on many samples in several processes, with the results in order."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from segkit.data.loading.bad_samples import require_bad
from segkit.data.loading.faults import WorkerDied, explain_worker_death, fault_of_system
from segkit.errors import CannotCache, DataError, SegkitError
from segkit.system.environment import usable_cpus


def in_workers(
    work: Callable[[int], Any], places: Sequence[int], *, workers: int, skip_bad: bool = False
) -> Iterator[Any]:
    """`work(place)` for each of the places, in their order; 0 workers means in this process.

    A DataError that `work` raises comes up here or, with `skip_bad`, is a result like any other, unless the sample is
    not to blame for it. Ctrl-C is left to the main process. Best used `with worker_deaths_explained()`.
    """
    results = DataLoader(
        _Work(work, places),
        batch_size=None,
        collate_fn=_unchanged,
        num_workers=min(workers, len(places)),
        worker_init_fn=_prepare_worker,
        generator=torch.Generator().manual_seed(0),
    )
    for result in results:
        if isinstance(result, SegkitError):
            bad = isinstance(result, DataError) and not isinstance(result, CannotCache)
            if not (bad and skip_bad):
                raise result
        yield result


@contextmanager
def worker_deaths_explained() -> Generator[None, None, None]:
    """Raises WorkerDied if the system ends a worker meanwhile: torch's RuntimeError may come up anywhere in here."""
    try:
        yield
    except RuntimeError as error:
        death = explain_worker_death(error)
        if death is None:
            raise
        raise WorkerDied(death) from error


def with_progress(work: Callable[[int], Any], count: int, *, workers: int, shown: str) -> Iterator[Any]:
    """`work(0)` ... `work(count - 1)` in order; on a terminal with a bar called `shown`. Raises WorkerDied."""
    with worker_deaths_explained():
        results = in_workers(work, range(count), workers=workers)
        yield from tqdm(results, total=count, desc=shown, unit="image", leave=False, disable=None)


def worth_starting() -> int:
    """Workers for a task that nothing else runs beside: one per core, and none where there is one core."""
    cores = usable_cpus()
    return cores if cores > 1 else 0


class _Work(Dataset[Any]):
    """The results of `work` as a data set, errors among them: without a traceback, which cannot leave the process."""

    def __init__(self, work: Callable[[int], Any], places: Sequence[int]):
        self.work, self.places = work, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.work(self.places[index])
        except SegkitError as error:
            try:
                if isinstance(error, DataError):
                    require_bad(error)
            except SegkitError as fault:
                return type(fault)(str(fault))
            return type(error)(str(error))
        except (OSError, MemoryError, RuntimeError) as error:
            fault = fault_of_system(error)
            if fault is None:
                raise
            return fault


def _unchanged(result: Any) -> Any:
    return result


def _prepare_worker(worker_id: int) -> None:
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the main one is gone: it would wait for ever for somebody to take its results."""
    parent = multiprocessing.parent_process()
    if parent is not None:  # this is a worker
        connection.wait([parent.sentinel])
        os._exit(1)
