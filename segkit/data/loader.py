"""Batches, made in this process or by workers; which of the two never shows in a batch.

A batch is a dict: image uint8 (N, C, H, W), target uint8 or int64 (N, H, W), weight float32 (N, H, W) if there is a
weight map, name list of N, index int64 (N,).
"""

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler, default_collate

from segkit.data.sampler import EpochBatches
from segkit.data.view import Augment, TrainView, ValView, WeightMaker
from segkit.errors import DataError, SegkitError

Batch = dict[str, Any]

#: What torch says when the operating system took a worker or its shared memory away.
WORKER_TROUBLE = ("DataLoader worker (pid", "Pin memory thread exited", "shared memory (shm)", "</torch_")
FILES_TROUBLE = ("Too many open files", "items of ancdata")


class WorkerDied(SegkitError):
    """The operating system ended a process that loads data, or refused it memory or files."""


def train_batches(
    dataset: Any,
    *,
    weight_map: WeightMaker | None = None,
    augment: Augment,
    batch_size: int,
    seed: int,
    start_batch: int = 0,
    num_batches: int,
    workers: int = 0,
    pin_memory: bool = False,
) -> "Batches":
    """Batches `start_batch` ... `start_batch + num_batches - 1` of the endless shuffled stream that `seed` defines.

    Raises DataError, while iterating, for files that cannot be used, and WorkerDied.
    """
    order = EpochBatches(
        len(dataset), batch_size=batch_size, seed=seed, start_batch=start_batch, num_batches=num_batches
    )
    view = TrainView(dataset, weight_map=weight_map, augment=augment, seed=seed)
    return Batches(view, order, workers=workers, pin_memory=pin_memory)


def val_batches(
    dataset: Any,
    *,
    weight_map: WeightMaker | None = None,
    batch_size: int,
    workers: int = 0,
    pin_memory: bool = False,
) -> "Batches":
    """Every image once, unchanged, in order; can be iterated again and again.

    Images of different sizes do not share a batch: a group of `batch_size` images becomes one batch per size.
    Raises DataError, while iterating, for files that cannot be used, and WorkerDied.
    """
    places = range(len(dataset))
    groups = [list(places[start : start + batch_size]) for start in places[::batch_size]]
    view = ValView(dataset, weight_map=weight_map)
    return Batches(view, groups, workers=workers, pin_memory=pin_memory, split_by_size=True)


class Batches:
    """An iterable of batches. `len()` counts the groups of images, each of which is a batch if sizes agree."""

    def __init__(
        self,
        view: TrainView | ValView,
        groups: Sampler | list,
        *,
        workers: int,
        pin_memory: bool,
        split_by_size: bool = False,
    ):
        self._make_loader = partial(
            DataLoader,
            _KeepErrors(view),
            batch_sampler=groups,
            collate_fn=_collate_by_size if split_by_size else _collate_one,
            num_workers=workers,
            pin_memory=pin_memory,
            persistent_workers=workers > 0,
            worker_init_fn=_prepare_worker if workers > 0 else None,
            generator=torch.Generator().manual_seed(0),  # else torch's global generator would be drawn from
        )
        self.loader = self._make_loader()

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self.loader)
        while True:
            try:
                loaded = next(batches, None)
            except (RuntimeError, OSError, EOFError) as error:
                message = explain_worker_death(error) or self._explain_broken_connection(error)
                if message is None:
                    raise
                raise WorkerDied(message) from error.with_traceback(None)
            if loaded is None:
                return
            if isinstance(loaded, DataError):
                del batches
                self.loader = (
                    self._make_loader()
                )  # lets go of the workers now; later they take seconds to end
                raise loaded
            yield from loaded

    def _explain_broken_connection(self, error: Exception) -> str | None:
        """A worker that dies while it sends breaks the connection before torch notices the death."""
        from_worker = "in DataLoader worker process" in str(error)
        if self.loader.num_workers and isinstance(error, ConnectionError | EOFError) and not from_worker:
            return _describe_death(str(error) or type(error).__name__)
        return None


def explain_worker_death(error: BaseException) -> str | None:
    """What to do about a loader process that the operating system ended; None if `error` is something else.

    torch reports such a death by a RuntimeError that may come up anywhere in the main process.
    """
    text = str(error)
    if any(sign in text for sign in FILES_TROUBLE):
        return (
            f"too many open files while loading data ({_first_line(text)})\n"
            "   -> raise the limit in the shell (ulimit -n 65536), or train.workers=0"
        )
    return _describe_death(text) if any(sign in text for sign in WORKER_TROUBLE) else None


def _describe_death(text: str) -> str:
    lines = [f"a process that loads data was ended by the system ({_first_line(text)})"]
    lines.append("   usually memory ran out, or the shared memory that batches travel through (/dev/shm)")
    if os.path.isdir("/dev/shm"):
        total, _, free = shutil.disk_usage("/dev/shm")
        lines.append(f"   /dev/shm has {free / 1e9:.1f} of {total / 1e9:.1f} GB free")
    lines.append(
        "   -> fewer train.workers (0 needs no shared memory), a smaller batch, docker run --shm-size=8g"
    )
    return "\n".join(lines)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[-1 if "Original Traceback" in text else 0].strip()


class _KeepErrors:
    """Hands a DataError on as a value, because torch would raise it anew with a worker's traceback as its text."""

    def __init__(self, view: TrainView | ValView):
        self.view = view

    def __getitem__(self, place: Any) -> Batch | DataError:
        try:
            return self.view[place]
        except DataError as error:
            return DataError(str(error))  # without the traceback, which cannot leave the process


def _collate_one(samples: list[Batch | DataError]) -> list[Batch] | DataError:
    batches = _collate_by_size(samples)
    if isinstance(batches, list) and len(batches) > 1:
        sizes = [f"{batch['name'][0]} {_width_height(batch['image'])}" for batch in batches[:2]]
        height, width = (min(batch["image"].shape[side] for batch in batches) for side in (-2, -1))
        return DataError(
            f"images of one batch differ in size: {', '.join(sizes)}\n"
            f"   -> augment.crop_size: [{height}, {width}] cuts them alike, data.resize brings them to one size"
        )
    return batches


def _collate_by_size(samples: list[Batch | DataError]) -> list[Batch] | DataError:
    """One batch per image size; the first error instead, if there is one."""
    by_size: dict[tuple[int, ...], list[Batch]] = {}
    for sample in samples:
        if isinstance(sample, DataError):
            return sample
        by_size.setdefault(tuple(sample["image"].shape), []).append(sample)
    return [default_collate(alike) for alike in by_size.values()]


def _width_height(image: torch.Tensor) -> str:
    return f"{image.shape[-1]}x{image.shape[-2]}"


def _prepare_worker(worker_id: int) -> None:
    """Leave signals to the main process, which finishes its update and then ends the workers.

    Ctrl-C, a closed terminal, and the SIGTERM of a batch system, reach every process of a job. A worker must outlive
    them, and still obey the SIGTERM that its own parent sends.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey_parent, daemon=True).start()


def _obey_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
