"""What lies in a file that holds several images: read like a file of its own, one at a time."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np


@dataclass(frozen=True)
class Samples:
    """`values` (H, W, S) of any type of numbers; those at the places `alpha` are transparency. `is_colour`: the first
    three are red, green and blue. `orientation` is how a PNG file says that it is to be turned as an image."""

    values: np.ndarray
    alpha: tuple[int, ...]
    is_colour: bool
    orientation: int = 1

    @property
    def plain(self) -> np.ndarray:
        """The values (H, W, S) without transparency."""
        return np.delete(self.values, self.alpha, axis=2) if self.alpha else self.values


@dataclass(frozen=True, slots=True)
class Part:
    """One of the images, or label images, in `file`; `key` says which. Messages name it FILE#KEY, and by its file alone
    if there is no other in it."""

    file: Path
    key: str

    def __fspath__(self) -> str:
        return f"{self.file}#{self.key}" if self.key else str(self.file)

    def __str__(self) -> str:
        return os.fspath(self)

    def stat(self) -> os.stat_result:
        """Size and time of the file that it lies in."""
        return self.file.stat()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it is made of."""
        return (self.file,)


@dataclass(frozen=True, slots=True)
class Stored(Part):
    """A part that is an image file itself, such as a page or a cell of a table."""

    def open(self, mode: str = "rb") -> BinaryIO:
        """Its bytes as those of a file, to be read."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Numbers(Part):
    """A part that is numbers, such as a slice of an array."""

    #: What messages call the format.
    format: ClassVar[str] = "array"

    def read(self) -> Samples:
        """All of its numbers, (H, W, S)."""
        raise NotImplementedError


#: What an image or label image is read from.
Source = Path | Stored | Numbers
#: The same, if it is stored as an image file is.
File = Path | Stored
