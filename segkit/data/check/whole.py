"""The whole of a data set: every sample read, every problem listed."""

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from segkit.data.check.copies import find_repeated_images, find_shared_images
from segkit.data.check.finding import Finding, problem
from segkit.data.check.look import Look, look_at
from segkit.data.check.oddities import (
    find_channel_oddities,
    find_classes_only_in_val,
    find_ids_from_1,
    find_ignored_foreground,
    find_oddities,
    find_weightless,
)
from segkit.data.check.tally import Tally, empty_tally
from segkit.data.loader import WorkerDied, explain_worker_death
from segkit.data.validate import shorten
from segkit.data.view import WeightMaker

#: Files named beside the first one of a group that fails alike; check.json has them all.
NAMED = 4


@dataclass(frozen=True)
class Part:
    """A data set and what was counted in all of it."""

    dataset: Any
    tally: Tally


def count_whole(dataset: Any, part: str, *, weight_map: WeightMaker | None, workers: int) -> Part:
    """Read every sample of `dataset`, with a progress bar on a terminal; none that fails stops it.

    Raises WorkerDied if the system ends one of the `workers`.
    """
    tally = empty_tally(dataset)
    looks = _look_at_all(dataset, weight_map, workers)
    for look in tqdm(looks, total=len(dataset), desc=part, unit="image", leave=False, disable=None):
        tally.add(look)
    return Part(dataset, tally)


def find_all(parts: Mapping[str, Part], *, batch_size: int | None, weighted: bool) -> list[Finding]:
    """What is wrong or odd in the parts `train` and `val`, either of which may be missing."""
    found: list[Finding] = []
    for name, part in parts.items():
        found += group_failures(part.tally, name)
        found += [] if part.tally.total else [problem("empty", f"the {name} set is empty")]
        found += find_ignored_foreground(part.dataset, part.tally)
    if weighted and "train" in parts:
        found += find_weightless(parts["train"].tally)
    for name, part in parts.items():
        found += find_oddities(part.dataset, part.tally, name, batch_size if name == "train" else None)
        found += find_repeated_images(part.tally, name)
        found += find_channel_oddities(part.dataset, part.tally, name)
    if len(parts) == 2:
        train, val = parts["train"], parts["val"]
        found += find_classes_only_in_val(train.dataset, train.tally, val.tally)
        found += find_shared_images(train.tally, val.tally)
    first = next(iter(parts.values()), None)
    if first is not None:
        found += find_ids_from_1(first.dataset, [part.tally for part in parts.values()])
    return found


def group_failures(tally: Tally, part: str) -> list[Finding]:
    """One problem for all samples that cannot be used for the same reason: the first message, and where else."""
    groups: dict[str, list[Look]] = {}
    for look in tally.failures:
        groups.setdefault(_reason(look.error), []).append(look)
    found = []
    for reason, looks in groups.items():
        names = [str(look.name) for look in looks]
        text = looks[0].error
        if len(looks) > 1:
            text = f"{len(looks)} {part} samples: {text}\n   the same in {shorten(names[1:], most=NAMED)}"
        found.append(problem(reason.replace(" ", "-"), text, names))
    return found


def _reason(message: str) -> str:
    """The words that messages of one kind begin with, before the file or the number they are about."""
    words = re.match(r"(?:[a-z]+(?: |(?=:)))+", message)
    return words[0].strip() if words else "unusable"


class _Looks:
    """What every sample shows, for a DataLoader."""

    def __init__(self, dataset: Any, weight_map: WeightMaker | None):
        self.dataset, self.weight_map = dataset, weight_map

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Look:
        return look_at(self.dataset, index, self.weight_map, closely=True)


def _look_at_all(dataset: Any, weight_map: WeightMaker | None, workers: int) -> Iterator[Look]:
    looks = DataLoader(
        _Looks(dataset, weight_map),
        batch_size=None,
        collate_fn=_unchanged,
        num_workers=min(workers, len(dataset)),
        worker_init_fn=_prepare_worker,
    )
    try:
        yield from looks
    except (RuntimeError, OSError) as error:
        death = explain_worker_death(error)
        if death is None:
            raise
        raise WorkerDied(death) from error


def _unchanged(look: Look) -> Look:
    return look


def _prepare_worker(worker_id: int) -> None:
    """Ctrl-C reaches every process of a terminal; the main one ends the others."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def worst(findings: Sequence[Finding]) -> str | None:
    """The severity of the most severe finding."""
    return next((s for s in ("problem", "warning", "note") if any(f.severity == s for f in findings)), None)
