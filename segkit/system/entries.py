"""Folders that segkit writes: a class for each kind says once what the files in it are called."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self, overload


@dataclass(frozen=True)
class Entry:
    """The name of a file or folder, as an attribute of a NamedFolder.

    Of an instance it is the path, of the class it is the Entry, whose `name` is for messages.
    """

    name: str
    content: str

    @overload
    def __get__(self, folder: None, kind: type) -> Self: ...

    @overload
    def __get__(self, folder: "NamedFolder", kind: type) -> Path: ...

    def __get__(self, folder: "NamedFolder | None", kind: type) -> "Self | Path":
        return self if folder is None else folder.path / self.name


class NamedFolder:
    """The paths of what lies, or would lie, in the folder `path`. Nothing is opened or made."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    def __fspath__(self) -> str:
        return str(self.path)

    @classmethod
    def entries(cls) -> dict[str, Entry]:
        """All entries by attribute."""
        return {
            attribute: entry
            for kind in reversed(cls.__mro__)
            for attribute, entry in vars(kind).items()
            if isinstance(entry, Entry)
        }
