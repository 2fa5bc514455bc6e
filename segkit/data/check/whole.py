"""The whole of a data set: every sample read, every problem listed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from segkit.data.check.copies import find_repeated_images, find_shared_images, find_similar_images
from segkit.data.check.finding import Finding, problem
from segkit.data.check.look import Known, Look, look_at
from segkit.data.check.oddities import (
    find_channel_oddities,
    find_classes_only_in_val,
    find_ids_from_1,
    find_ignored_foreground,
    find_oddities,
    find_weightless,
)
from segkit.data.check.tally import Tally, empty_tally
from segkit.data.files.validate import shorten
from segkit.data.loading.parallel import with_progress

if TYPE_CHECKING:  # it needs torch, and a check of files does not
    from segkit.data.loading.view import WeightMaker

#: Files named beside the first one of a group that fails alike; check.json has them all.
NAMED = 4


@dataclass(frozen=True)
class CountedPart:
    """A data set and what was counted in all of it."""

    dataset: Any
    tally: Tally


def count_whole(
    dataset: Any, part: str, *, weight_map: "WeightMaker | None", workers: int, known: Known | None = None
) -> CountedPart:
    """Read every sample of `dataset`, with a progress bar on a terminal; none that fails stops it. `known` are the
    facts of files that were read already.

    Raises WorkerDied if the system ends one of the `workers`.
    """
    tally = empty_tally(dataset)
    look = partial(look_at, dataset, weight_map=weight_map, closely=True, known=known)
    for seen in with_progress(look, len(dataset), workers=workers, shown=part):
        tally.add(seen)
    return CountedPart(dataset, tally)


def find_all(parts: Mapping[str, CountedPart], *, batch_size: int | None, weighted: bool) -> list[Finding]:
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
        found += find_similar_images(train.tally, val.tally)
    first = next(iter(parts.values()), None)
    if first is not None:
        found += find_ids_from_1(first.dataset, [part.tally for part in parts.values()])
    return found


def group_failures(tally: Tally, part: str) -> list[Finding]:
    """One problem for all samples that cannot be used for the same reason: the first message, and where else."""
    groups: dict[str, list[Look]] = {}
    for look in tally.failures:
        groups.setdefault(_reason(look.error or ""), []).append(look)
    found = []
    for reason, looks in groups.items():
        names = [str(look.name) for look in looks]
        text = looks[0].error or ""
        if len(looks) > 1:
            text = f"{len(looks)} {part} samples: {text}\n   the same in {shorten(names[1:], most=NAMED)}"
        found.append(problem(reason.replace(" ", "-"), text, names))
    return found


def _reason(message: str) -> str:
    """The words that messages of one kind begin with, before the file or the number they are about."""
    words = re.match(r"(?:[a-z]+(?: |(?=:)))+", message)
    return words[0].strip() if words else "unusable"
