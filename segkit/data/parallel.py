"""Work on many samples in several processes, with the results in order."""

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader


def in_workers(work: Callable[[int], Any], places: Sequence[int], *, workers: int) -> Iterator[Any]:
    """`work(place)` for each of the places, in their order; 0 workers means in this process.

    What `work` raises comes up here with a worker's traceback as its text, so it should return the errors that it
    expects. Ctrl-C is left to the main process. If the system ends a worker, torch raises a RuntimeError, wherever the
    main process is: see `explain_worker_death`.
    """
    yield from DataLoader(
        _Work(work, places),
        batch_size=None,
        collate_fn=_unchanged,
        num_workers=min(workers, len(places)),
        worker_init_fn=_prepare_worker,
        generator=torch.Generator().manual_seed(0),
    )


class _Work:
    """The results of `work` as a data set."""

    def __init__(self, work: Callable[[int], Any], places: Sequence[int]):
        self.work, self.places = work, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Any:
        return self.work(self.places[number])


def _unchanged(result: Any) -> Any:
    return result


def _prepare_worker(worker_id: int) -> None:
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
