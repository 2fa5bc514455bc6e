"""Which weight files were made by segkit, from what: a line per map in `make_weights.jsonl` beside them."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from segkit.errors import DataError
from segkit.system.files import cannot_write, write_text

RECORD = "make_weights.jsonl"


class WeightRecord:
    """The record in `folder`, empty if there is none. An entry has at least `name`, `made_by` and `sha256`.

    A line is written before the file that it is about, so that a file can always be told from one that somebody else
    put there, whenever the process was stopped. A line that was cut short is as good as none.
    """

    def __init__(self, folder: Path):
        self.path = folder / RECORD
        self.entries: dict[str, list[dict[str, Any]]] = {}
        try:
            lines = self.path.read_bytes().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            lines = []
        except OSError as error:
            raise DataError(f"cannot read {self.path}: {error.strerror}") from error
        for line in lines:
            try:
                entry = json.loads(line)
                self.entries.setdefault(entry["name"], []).append(entry)
            except (ValueError, TypeError, KeyError):
                continue
        self.ends_cleanly = not lines or self.path.read_bytes().endswith(b"\n")

    def find(self, name: str, file: Path, *, made_by: str) -> dict[str, Any] | None:
        """The entry of that map if `file` is what it says and was made by `made_by`."""
        entries = [entry for entry in self._entries_of(name, file) if entry.get("made_by") == made_by]
        return entries[-1] if entries else None

    def has(self, name: str, file: Path) -> bool:
        """Whether `file` is a map of that name that is recorded here, whatever it was made by."""
        return bool(self._entries_of(name, file))

    def add(self, entry: dict[str, Any]) -> None:
        """Note a map that is about to be written. Raises CannotWrite."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(("" if self.ends_cleanly else "\n") + json.dumps(entry) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self.ends_cleanly = True
        self.entries.setdefault(entry["name"], []).append(entry)

    def tidy(self) -> None:
        """Leave one line per map: the last. Raises CannotWrite."""
        if any(len(entries) > 1 for entries in self.entries.values()):
            self.entries = {name: entries[-1:] for name, entries in self.entries.items()}
            lines = [json.dumps(entry) for (entry,) in self.entries.values()]
            write_text(self.path, "\n".join(lines) + "\n")

    def _entries_of(self, name: str, file: Path) -> list[dict[str, Any]]:
        if name not in self.entries or not file.is_file():
            return []
        digest = digest_of(file)
        return [entry for entry in self.entries[name] if entry.get("sha256") == digest]


def digest_of(file: Path) -> str:
    """SHA-256 of a file's content. Raises DataError."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
