"""What a run says about samples it could not use: a line for each file, a table, and the totals."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segkit.data.loading.bad_samples import BadSample, DamagedCache
from segkit.system.files import write_text
from segkit.system.printable import show_path

COLUMNS = ("part", "file", "reason", "epoch", "times")


@dataclass
class Entry:
    """A file that could not be used: where, why, in which epoch first (from 1; None in validation), and how often."""

    part: str
    file: str
    reason: str
    epoch: int | None
    times: int = 1


class BadSampleLog:
    """Counts bad samples by file. Each file is told of once, by `tell(line)`; `path` is the table, or None for none.

    A validation image counts once, since it is left out of every score alike.
    """

    def __init__(self, path: Path | None, *, tell: Callable[[str], None]):
        self.path, self.tell = path, tell
        self.entries: dict[tuple[str, str], Entry] = {}
        self.unwritten = self.told_of_cache = False

    def note(self, met: Sequence[BadSample | DamagedCache]) -> None:
        """Count samples that could not be used; of the files of a cache that were damaged, tell of the first."""
        for sample in met:
            if isinstance(sample, DamagedCache):
                self._tell_of_cache(sample)
                continue
            part = "val" if sample.epoch is None else "train"
            entry = self.entries.get((part, sample.file))
            if entry is None:
                epoch = None if sample.epoch is None else sample.epoch + 1
                self.entries[part, sample.file] = Entry(part, sample.file, sample.reason, epoch)
                self.tell(_describe(sample))
            elif part == "train":
                entry.times += 1
            else:
                continue
            self.unwritten = True

    def _tell_of_cache(self, damaged: DamagedCache) -> None:
        if not self.told_of_cache:
            self.told_of_cache = True
            self.tell(
                f"cache     {damaged.path} was damaged and has been written anew; others will be too, and not be named"
            )

    def write(self) -> None:
        """Bring the table up to date, if there is anything to say. Raises CannotWrite."""
        if self.path is None or not self.unwritten:
            return
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(entry) for entry in self.entries.values())
        write_text(self.path, text.getvalue())
        self.unwritten = False

    def counts(self) -> dict[str, int]:
        """Bad files of the training set, how often others took their place, and bad files of the validation set."""
        train = [entry for entry in self.entries.values() if entry.part == "train"]
        return {
            "train": len(train),
            "replaced": sum(entry.times for entry in train),
            "val": len(self.entries) - len(train),
        }

    def total(self) -> str | None:
        """The counts in words; None if every sample could be used."""
        if not self.entries:
            return None
        counts, parts = self.counts(), []
        if counts["train"]:
            parts.append(f"{_files(counts['train'], 'train')} replaced {_times(counts['replaced'])}")
        if counts["val"]:
            parts.append(f"{_files(counts['val'], 'val')} left out")
        where = "" if self.path is None else f": {self.path}"
        return f"bad data  {', '.join(parts)}{where}"

    def state_dict(self) -> list[dict[str, Any]]:
        """The entries as plain values."""
        return [asdict(entry) for entry in self.entries.values()]

    def load_state_dict(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Go on from `state`: what was counted after it is forgotten, since it will be met again."""
        entries = [Entry(**entry) for entry in state]
        self.entries = {(entry.part, entry.file): entry for entry in entries}
        self.unwritten = bool(entries) or (self.path is not None and self.path.exists())


def _describe(sample: BadSample) -> str:
    instead = "left out" if sample.replaced_by is None else f"replaced by {show_path(sample.replaced_by)}"
    # Nearly every message names the file; a data set without files may not name its sample.
    named = sample.file in sample.reason or not sample.file.startswith("sample ")
    return f"bad data  {'' if named else f'{sample.file}: '}{sample.reason}; {instead}"


def _files(count: int, part: str) -> str:
    return f"{count:,} {part} {'file' if count == 1 else 'files'}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
