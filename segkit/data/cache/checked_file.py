"""Files of arrays that know whether they are still what was written: the entries of a cache.

A file is a head (format, length and checksum of the text that follows), the text (JSON: facts, and the type, shape and
checksum of each array), and the bytes of the arrays. Nothing in the text is believed before the text was checked.
"""

import json
import math
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from segkit.errors import CannotCache

SUFFIX = ".cache"
MAGIC = b"SGK1"
HEAD = struct.Struct("<4sII")  # MAGIC, bytes of the text, CRC-32 of the text
MOST_TEXT = 2**20  # bytes; what says more is not read into memory
#: Words of 8 bytes that are summed side by side. A prime number, so that disk blocks that change places, a multiple of
#: 512 bytes apart, are not added to the same sums.
LANES = 1021


class Entry(NamedTuple):
    """What is in a file: plain values, and arrays that belong to whoever asked for them."""

    facts: dict[str, Any]
    arrays: list[np.ndarray]


class CheckedFiles:
    """Reads entries. The arrays of a file are checked when this process first reads it, and again once it has changed:
    checking each time would add a fifth to a half to what reading from the system's memory takes."""

    def __init__(self) -> None:
        self._whole: set[int] = set()
        self._damaged: list[Path] = []

    def read(self, path: Path, *, wanted: Mapping[str, Any]) -> Entry | None:
        """The entry in a file; None if there is none, if it is damaged, or if its facts are not those `wanted`.

        Raises CannotCache for a file that cannot be read.
        """
        try:
            with path.open("rb") as file:
                facts, parts = _read_text(file)
                if any(facts[name] != value for name, value in wanted.items()):
                    return None
                state = os.fstat(file.fileno())
                mark = hash((state.st_ino, state.st_size, state.st_mtime_ns))
                arrays = [_read_array(file, *part, check=mark not in self._whole) for part in parts]
        except FileNotFoundError:
            return None
        except _Damaged:
            self._damaged.append(path)
            return None
        except OSError as error:
            raise CannotCache(
                f"cannot read {path}: {error.strerror}\n   -> remove it, or data.cache=off"
            ) from error
        self._whole.add(mark)
        return Entry(facts, arrays)

    def take_damaged(self) -> list[Path]:
        """The damaged files that this process has met since it was last asked."""
        damaged, self._damaged = self._damaged, []
        return damaged


def write_entry(file: BinaryIO, facts: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> None:
    """Write an entry into an empty file."""
    raws = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays]
    parts = [[array.dtype.str, array.shape, checksum(raw)] for array, raw in zip(arrays, raws, strict=True)]
    text = json.dumps({"facts": facts, "parts": parts}).encode()
    file.write(HEAD.pack(MAGIC, len(text), zlib.crc32(text)) + text)
    for raw in raws:
        file.write(raw.data)


def checksum(raw: np.ndarray) -> int:
    """A number of 32 bits for bytes (n,): the CRC-32 of sums of their words.

    A CRC-32 of all bytes takes several times as long as reading them. The sums miss changes that lie a multiple of
    LANES words apart and cancel each other, and otherwise one change in 2^32.
    """
    summed = len(raw) // (8 * LANES) * 8 * LANES
    sums = np.add.reduce(raw[:summed].view(np.uint64).reshape(-1, LANES), axis=0)
    return zlib.crc32(raw[summed:].data, zlib.crc32(sums.data))


class _Damaged(Exception):
    """A file is not what was written."""


def _read_text(file: BinaryIO) -> tuple[dict[str, Any], list[list[Any]]]:
    head = file.read(HEAD.size)
    if len(head) < HEAD.size or not head.startswith(MAGIC):
        raise _Damaged
    _, length, expected = HEAD.unpack(head)
    text = file.read(min(length, MOST_TEXT))
    if zlib.crc32(text) != expected:
        raise _Damaged
    content = json.loads(text)
    return content["facts"], content["parts"]


def _read_array(file: Any, dtype: str, shape: Sequence[int], expected: int, *, check: bool) -> np.ndarray:
    raw = np.empty(math.prod(shape) * np.dtype(dtype).itemsize, dtype=np.uint8)
    if file.readinto(raw.data) < len(raw) or (check and checksum(raw) != expected):
        raise _Damaged
    return raw.view(dtype).reshape(shape)
