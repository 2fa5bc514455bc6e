"""What there is to do for one part of a data set, and how much of it is left."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segkit.commands.weights.maker import MadeMap, WeightFacts
from segkit.data.weight_maps.weight_files import SUFFIXES
from segkit.data.weight_maps.weight_records import WeightRecord
from segkit.errors import CannotWrite, DataError
from segkit.system.files import cannot_write, write_bytes


@dataclass(frozen=True)
class MapTask:
    """One map: of which sample, where it belongs (without suffix), and a digest of all that it is made from.

    `whose` tells the sample from others: where its map would lie beside the images, and of which part of a mix it is.
    """

    index: int
    name: str
    stem: Path
    made_by: str
    whose: tuple[str, ...]


class PartMaps:
    """The maps of one part of the data: those to be made, and those that are there."""

    def __init__(
        self, name: str, dataset: Any, tasks: Sequence[MapTask], record: WeightRecord, *, suffix: str
    ):
        self.name, self.dataset, self.tasks, self.suffix = name, dataset, list(tasks), suffix
        self.record, self.folder = record, record.path.parent
        self.facts: dict[int, WeightFacts] = {}
        self.left_out: list[str] = []
        self.made = 0

    def find_foreign(self) -> list[Path]:
        """Files with weights of these samples that were not made here."""
        pairs = ((task, file) for task in self.tasks for file in self._files(task))
        return [file for task, file in pairs if file.is_file() and not self.record.has(task.name, file)]

    def find_missing(self) -> list[MapTask]:
        """The tasks whose map is not there, or was made from something else. What is known of the others is kept."""
        missing = []
        for task in self.tasks:
            entry = self.record.find(task.name, self._file(task), made_by=task.made_by)
            if entry is None or any(file.exists() for file in self._others(task)):
                missing.append(task)
            else:
                self.facts[task.index] = WeightFacts(**entry["facts"])
        return missing

    def keep(self, task: MapTask, made: MadeMap | DataError) -> None:
        """Write a map that was made, or note why a sample has none. Raises CannotWrite."""
        if isinstance(made, DataError):
            self.left_out.append(str(made).splitlines()[0])
            return
        file = self._file(task)
        digest = hashlib.sha256(made.content).hexdigest()
        entry = {"name": task.name, "made_by": task.made_by, "sha256": digest, "facts": asdict(made.facts)}
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self.record.add(entry)
            write_bytes(file, made.content)
            for other in self._others(task):
                other.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot_write_maps(cannot_write(file.parent, error)) from error
        except CannotWrite as error:
            raise _cannot_write_maps(error) from error
        self.facts[task.index] = made.facts
        self.made += 1

    def file_of(self, index: int) -> Path:
        """The file with the map of a sample."""
        return self._file(self.tasks[index])

    def _file(self, task: MapTask) -> Path:
        return task.stem.with_name(task.stem.name + self.suffix)

    def _files(self, task: MapTask) -> list[Path]:
        return [task.stem.with_name(task.stem.name + suffix) for suffix in SUFFIXES]

    def _others(self, task: MapTask) -> list[Path]:
        """Files that `file` would read instead of the one that is made, or beside it."""
        return [file for file in self._files(task) if file != self._file(task)]


def _cannot_write_maps(error: CannotWrite) -> CannotWrite:
    problem, disk, *_ = str(error).splitlines()
    return CannotWrite(f"{problem}\n{disk}\n   -> --output FOLDER writes elsewhere")
