"""What a conversion has written, kept in its folder: of each sample what it was made from, and digests of its files."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from segkit.errors import ConfigError
from segkit.system.files import cannot_write, write_text

NAME, SUMS = "converted.jsonl", "SHA256SUMS"
PARTS = ("images", "masks")


@dataclass(frozen=True)
class Entry:
    """A sample of a part by its name, a digest of all that it is made from, and SHA-256 by file (below the folder)."""

    part: str
    name: str
    made_by: str
    files: dict[str, str]


class Record:
    """The entries of the folder `folder`, a line each; the last of a sample counts. A line that a power cut tore is no
    entry, and its sample is written again.

    Raises ConfigError for a folder with files that were not written here.
    """

    def __init__(self, folder: Path):
        self.folder, self.path = folder, folder / NAME
        self.entries: dict[tuple[str, str], Entry] = {}
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                entry = _read(line)
                if entry is not None:
                    self.entries[entry.part, entry.name] = entry
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"--to {folder}: it is there, and not made by this command -> another folder")

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of every file."""
        return {file: digest for entry in self.entries.values() for file, digest in entry.files.items()}

    def begin(self) -> None:
        """Make the folder, as one of this command. Raises CannotWrite."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    def add(self, entry: Entry) -> None:
        """One more sample. Raises CannotWrite."""
        self.entries[entry.part, entry.name] = entry
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def finish(self, planned: Iterable[tuple[str, str]]) -> int:
        """Remove what an earlier call has written and none of the `planned` entries has, and write a line per entry and
        the list of digests, for `sha256sum -c`. Returns how many files went. Raises CannotWrite."""
        kept = {key: self.entries[key] for key in planned}
        files = {file: digest for entry in kept.values() for file, digest in entry.files.items()}
        gone = [file for file in self.files if file not in files]
        for file in gone:
            remove_file(self.folder / file)
        self.entries = kept
        lines = [json.dumps(asdict(entry), ensure_ascii=False) for entry in kept.values()]
        write_text(self.path, "".join(f"{line}\n" for line in lines))
        write_text(self.folder / SUMS, "".join(f"{files[file]}  {file}\n" for file in sorted(files)))
        return len(gone)

    def refuse_strangers(self, planned: set[str]) -> None:
        """Raises ConfigError for images and masks that were not written here: they would be read with the others."""
        own = planned | self.files.keys()
        for kind in PARTS:
            for place, _, names in os.walk(self.folder / kind):
                for name in names:
                    file = os.path.relpath(os.path.join(place, name), self.folder)
                    if file not in own and not name.startswith("."):
                        raise ConfigError(
                            f"{self.folder / file} is there, and was not written by this command -> another folder"
                        )


def digest_of(path: Path) -> str | None:
    """The SHA-256 of a file; None if there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def remove_file(path: Path) -> None:
    """Remove a file, if there is one. Raises CannotWrite."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def _read(line: str) -> Entry | None:
    try:
        return Entry(**json.loads(line))
    except (ValueError, TypeError):  # torn; what it was of is written again
        return None
