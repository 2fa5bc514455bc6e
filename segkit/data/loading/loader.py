"""Batches, made in this process or by workers; which of the two never shows in a batch.

A batch is a dict: image uint8 (N, C, H, W), target uint8 or int64 (N, H, W), weight float32 (N, H, W) if there is a
weight map, name list of N, index int64 (N,); in training also what the loss wants made of the labels (`label_maps`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from segkit.data.loading.bad_samples import BadSample, DamagedCache
from segkit.data.loading.faults import WorkerDied, describe_death, explain_worker_death, fault_of_system
from segkit.data.loading.sampler import EpochBatches
from segkit.data.loading.view import (
    Augment,
    LabelMaps,
    Loaded,
    TrainView,
    ValView,
    WeightMaker,
    take_damaged,
)
from segkit.errors import DataError, SegkitError
from segkit.system.interrupt import leave_signals_to_parent

#: Bytes of a small validation set, which is kept in memory once it was walked: half of the time of scoring it may
#: otherwise go to reading it, each time the same.
SMALL_SET = 2**26

Batch = dict[str, Any]
Note = Callable[[Sequence[BadSample | DamagedCache]], None]


def ignore(met: Sequence[BadSample | DamagedCache]) -> None:
    """Note nothing: for batches that are only looked at."""


def train_batches(
    dataset: Any,
    *,
    weight_map: WeightMaker | None = None,
    label_maps: LabelMaps | None = None,
    augment: Augment,
    batch_size: int,
    seed: int,
    start_batch: int = 0,
    num_batches: int,
    workers: int = 0,
    pin_memory: bool = False,
    skip_bad: bool = False,
    note: Note = ignore,
    rank: int = 0,
    world: int = 1,
) -> "Batches":
    """Batches `start_batch` ... `start_batch + num_batches - 1` of the endless shuffled stream that `seed` defines: of
    each the share of process `rank` of `world`, `batch_size / world` images.

    With `skip_bad`, other images take the place of those that cannot be used, and `note` is told of them when their
    batch is given out. Raises DataError, while iterating, for files that cannot be used, and WorkerDied.
    """
    order = EpochBatches(
        len(dataset),
        batch_size=batch_size,
        seed=seed,
        start_batch=start_batch,
        num_batches=num_batches,
        rank=rank,
        world=world,
        draw=getattr(dataset, "epoch_order", None),
    )
    view = TrainView(
        dataset,
        weight_map=weight_map,
        augment=augment,
        seed=seed,
        skip_bad=skip_bad,
        label_maps=label_maps,
    )
    return Batches(view, order, workers=workers, pin_memory=pin_memory, note=note)


def val_batches(
    dataset: Any,
    *,
    weight_map: WeightMaker | None = None,
    batch_size: int,
    workers: int = 0,
    pin_memory: bool = False,
    skip_bad: bool = False,
    allow_empty: bool = False,
    note: Note = ignore,
    rank: int = 0,
    world: int = 1,
    keep_bytes: int = 0,
) -> "Batches":
    """Every image once, unchanged, in order; can be iterated again and again. In several processes they are dealt out:
    process `rank` of `world` gets every `world`-th group, and none twice. If the tensors of this process's batches are
    no more than `keep_bytes`, only the first whole walk reads files; the others give out the same tensors again.

    Images of different sizes do not share a batch: a group of `batch_size` images becomes one batch per size. With
    `skip_bad`, images that cannot be used are left out, and `note` is told of them. Raises DataError, while iterating,
    for files that cannot be used (with `skip_bad`: if none can, unless `allow_empty`, or there are other processes,
    whose images may be sound), and WorkerDied.
    """
    groups = _Groups(range(len(dataset)), batch_size, range(-(-len(dataset) // batch_size))[rank::world])
    view = ValView(dataset, weight_map=weight_map, skip_bad=skip_bad)
    return Batches(
        view,
        groups,
        workers=workers,
        pin_memory=pin_memory,
        note=note,
        split_by_size=True,
        allow_empty=allow_empty or world > 1,
        keep_bytes=keep_bytes,
    )


class Batches:
    """An iterable of batches. `len()` counts the groups of images, each of which is a batch if sizes agree.

    Batches of no more than `keep_bytes` in all are kept from the first whole walk on, and the workers let go. Nobody
    may change them.
    """

    def __init__(
        self,
        view: TrainView | ValView,
        groups: Iterable[list],
        *,
        workers: int,
        pin_memory: bool,
        note: Note,
        split_by_size: bool = False,
        allow_empty: bool = True,
        keep_bytes: int = 0,
    ):
        self.view, self.note, self.allow_empty = view, note, allow_empty
        self.keep_bytes = keep_bytes
        self._kept: list[Batch] | None = None
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

    def close(self) -> None:
        """Let go of the workers now. Left to the garbage collector, which finds them with what was to tell them to end,
        they take it five seconds each."""
        self.loader = self._make_loader()

    def __iter__(self) -> Iterator[Batch]:
        if self._kept is not None:
            yield from self._kept
            return
        kept, size = [], 0
        for batch in self._read():
            size += sum(part.nbytes for part in batch.values() if isinstance(part, torch.Tensor))
            if size <= self.keep_bytes:
                kept.append(batch)
            else:
                kept.clear()
            yield batch
        if 0 < size <= self.keep_bytes:
            self._kept = kept
            self.close()

    def _read(self) -> Iterator[Batch]:
        groups, given, left_out = iter(self.loader), 0, []
        while True:
            try:
                loaded = next(groups, None)
            except (RuntimeError, OSError, EOFError, MemoryError) as error:
                fault = self._find_fault(error)
                if fault is None:
                    raise
                del groups
                self.close()
                raise fault from error.with_traceback(None)
            if loaded is None:
                break
            if isinstance(loaded, SegkitError):
                del groups
                self.close()
                raise loaded
            batches, bad, damaged = loaded
            if self.note is not ignore:  # what this process met is told to the first who wants to know
                self.note([*bad, *damaged, *take_damaged(self.view)])
            given, left_out = given + len(batches), left_out + bad
            yield from batches
        if left_out and not given and not self.allow_empty:
            del groups
            self.close()
            raise DataError(
                f"none of the {len(left_out)} validation images can be used; the first: {left_out[0].reason}"
            )

    def _find_fault(self, error: Exception) -> SegkitError | None:
        message = explain_worker_death(error) or self._explain_broken_connection(error)
        return fault_of_system(error) if message is None else WorkerDied(message)

    def _explain_broken_connection(self, error: Exception) -> str | None:
        """A worker that dies while it sends breaks the connection before torch notices the death."""
        from_worker = "in DataLoader worker process" in str(error)
        if self.loader.num_workers and isinstance(error, ConnectionError | EOFError) and not from_worker:
            return describe_death(str(error) or type(error).__name__)
        return None


class _Groups(Sequence[list[int]]):
    """The groups numbered `chosen` of those of `size` places that `places` is cut into, without a list of them all."""

    def __init__(self, places: range, size: int, chosen: range):
        self.places, self.size, self.chosen = places, size, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: Any) -> Any:
        start = self.chosen[index] * self.size
        return list(self.places[start : start + self.size])


class _Group(NamedTuple):
    """The batches that a group of samples became, its bad samples, and the damaged files of a cache."""

    batches: list[Batch]
    bad: list[BadSample]
    damaged: list[DamagedCache]


class _KeepErrors(Dataset[Loaded | SegkitError]):
    """Hands an error on as a value, because torch would raise it anew with a worker's traceback as its text."""

    def __init__(self, view: TrainView | ValView):
        self.view = view

    def __getitem__(self, index: Any) -> Loaded | SegkitError:
        try:
            loaded = self.view.load(index)
            return loaded if get_worker_info() is None else loaded._replace(damaged=take_damaged(self.view))
        except SegkitError as error:
            return type(error)(str(error))  # without the traceback, which cannot leave the process
        except (OSError, MemoryError, RuntimeError) as error:
            fault = fault_of_system(error)
            if fault is None:
                raise
            return fault


def _collate_one(loaded: list[Loaded | SegkitError]) -> _Group | SegkitError:
    group = _collate_by_size(loaded)
    if isinstance(group, _Group) and len(group.batches) > 1:
        batches = group.batches
        sizes = [f"{batch['name'][0]} {_width_height(batch['image'])}" for batch in batches[:2]]
        height, width = (min(batch["image"].shape[side] for batch in batches) for side in (-2, -1))
        return DataError(
            f"images of one batch differ in size: {', '.join(sizes)}\n"
            f"   -> augment.crop_size: [{height}, {width}] (of standard; with compose, scale_crop or RandomCrop) cuts "
            "them alike, data.resize brings them to one size"
        )
    return group


def _collate_by_size(loaded: list[Loaded | SegkitError]) -> _Group | SegkitError:
    """One batch per image size; the first error instead, if there is one."""
    by_size: dict[tuple[int, ...], list[Batch]] = {}
    bad: list[BadSample] = []
    damaged: list[DamagedCache] = []
    for each in loaded:
        if isinstance(each, SegkitError):
            return each
        bad += each.bad
        damaged += each.damaged
        if each.sample is not None:
            by_size.setdefault(tuple(each.sample["image"].shape), []).append(each.sample)
    try:
        return _Group([default_collate(alike) for alike in by_size.values()], bad, damaged)
    except (OSError, MemoryError, RuntimeError) as error:
        fault = fault_of_system(error)
        if fault is None:
            raise
        return fault  # not raised, as above: a worker that raises is in torch's hands


def _width_height(image: torch.Tensor) -> str:
    return f"{image.shape[-1]}x{image.shape[-2]}"


def _prepare_worker(worker_id: int) -> None:
    torch.set_num_threads(1)
    leave_signals_to_parent()
