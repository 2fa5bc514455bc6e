"""NumPy's files: arrays of many images, of which one is read at a time. No pickle is ever opened."""

import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, NamedTuple

import numpy as np

from segkit.data.decoding.opening import explained
from segkit.data.decoding.parts import Numbers, Samples
from segkit.errors import DataError
from segkit.system.printable import show_path

ARRAY, ARCHIVE = ".npy", ".npz"
#: Kinds of numbers that are read: booleans, integers and floating-point numbers.
KINDS = "biuf"
#: Bytes of a zip file's entry before its name, and where the lengths of name and extra field stand in them.
_ENTRY, _LENGTHS = 30, slice(26, 30)


class ArrayHead(NamedTuple):
    """What a file says of an array: `place` is where its numbers begin in the file, None if they are compressed."""

    shape: tuple[int, ...]
    dtype: np.dtype
    by_column: bool
    place: int | None


@dataclass(frozen=True, slots=True)
class ArrayPart(Numbers):
    """An image of an array: entry `row` of it, or all of it where that is None.

    member    which array of an .npz file, or None
    channels  where the numbers of a pixel are, `first` (C, H, W) or `last` (H, W, C); None: (H, W)
    """

    member: str | None
    row: int | None
    channels: Literal["first", "last"] | None

    format: ClassVar[str] = "NumPy"

    def read(self) -> Samples:
        """The numbers of the image; three of a pixel are red, green and blue."""
        array = open_array(self.file, self.member)
        values = np.array(array if self.row is None else array[self.row])
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if self.channels == "first":
            values = np.moveaxis(values, 0, -1)
        values = values[..., None] if self.channels is None else values
        if values.ndim != 3:
            raise DataError(f"cannot use {show_path(self)}: an array of {values.ndim} axes is no image")
        return Samples(values, alpha=(), is_colour=values.shape[2] == 3)


def read_head(path: Path, member: str | None = None) -> ArrayHead:
    """Shape and type of an array. Raises DataError for a file that is missing, damaged or none of NumPy's, for an .npz
    file without that array, and for what are no numbers."""
    with explained(path):
        head = _read_head(path) if member is None else _read_member_head(path, member)
    shown = show_path(path if member is None else f"{path}#{member}")
    if head.dtype.hasobject:
        raise DataError(
            f"cannot read {shown}: it holds Python objects, a pickle, which is never opened since it can run programs\n"
            "   -> save numbers: np.save(FILE, np.stack(IMAGES)), or a file for each image"
        )
    if head.dtype.kind not in KINDS:
        raise DataError(
            f"cannot use {shown}: its entries are of type {head.dtype}, which are no numbers of pixels"
        )
    return head


def list_members(path: Path) -> list[str]:
    """The arrays of an .npz file, by name. Raises DataError for a file that is missing or damaged."""
    with explained(path), zipfile.ZipFile(path) as file:
        return [name.removesuffix(ARRAY) for name in file.namelist() if name.endswith(ARRAY)]


def open_array(path: Path, member: str | None = None) -> np.ndarray:
    """The array, of which only what is asked for is read; one that is compressed is held in memory as a whole.

    Not to be written to. Raises DataError as `read_head` does, and for a file that is cut short.
    """
    with explained(path):
        state = path.stat()
        return _open_array(path, member, (state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=8)
def _open_array(path: Path, member: str | None, state: tuple[int, int]) -> np.ndarray:
    head = read_head(path, member)
    if head.place is not None:
        order: Any = "F" if head.by_column else "C"
        if 0 in head.shape:
            return np.empty(head.shape, head.dtype)
        return np.memmap(path, dtype=head.dtype, mode="r", offset=head.place, shape=head.shape, order=order)
    with zipfile.ZipFile(path) as archive, archive.open(f"{member}{ARRAY}") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_head(path: Path) -> ArrayHead:
    with path.open("rb") as file:
        return _parse(file, path, file)


def _read_member_head(path: Path, member: str) -> ArrayHead:
    with zipfile.ZipFile(path) as archive:
        name = f"{member}{ARRAY}"
        if name not in archive.namelist():
            there = ", ".join(each.removesuffix(ARRAY) for each in archive.namelist())
            raise DataError(f"cannot read {show_path(path)}: it has no array {member!r}; there are: {there}")
        info = archive.getinfo(name)
        with archive.open(name) as file:
            head = _parse(file, path, None)
            length = file.tell()
    if info.compress_type != zipfile.ZIP_STORED:
        return head
    with path.open("rb") as raw:
        raw.seek(info.header_offset)
        lengths = np.frombuffer(raw.read(_ENTRY)[_LENGTHS], dtype="<u2")
    return head._replace(place=info.header_offset + _ENTRY + int(lengths.sum()) + length)


def _parse(file: IO[bytes], path: Path, seekable: IO[bytes] | None) -> ArrayHead:
    """The head at the beginning of `file`, which knows the place behind it if it is `seekable`."""
    try:
        version = np.lib.format.read_magic(file)
        # Version 3 differs from 2 in the names of fields alone, which no image has.
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, by_column, dtype = read(file)
    except ValueError as error:
        raise DataError(f"cannot read {show_path(path)}: no array of NumPy's, or damaged: {error}") from None
    return ArrayHead(shape, dtype, by_column, None if seekable is None else seekable.tell())
