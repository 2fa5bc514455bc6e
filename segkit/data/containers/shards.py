"""Tar files of samples, as webdataset writes them: where in them each image and its labels lie.

A sample is the files that follow one another and have the same key: the path up to the first dot of its last part. What
comes after that dot says what a file is: `b/0001.jpg` and `b/0001.seg.png` are the image and the labels of `b/0001`.
"""

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from segkit.data.cache.checked_file import SUFFIX, CheckedFiles, write_entry
from segkit.data.cache.place import CachePlace
from segkit.data.decoding.parts import Stored
from segkit.data.files.compact import Texts
from segkit.errors import CannotCache, CannotWrite, DataError
from segkit.system.files import write_atomically
from segkit.system.printable import show_path

#: Samples of a shard from which on where they lie is kept on disk.
MANY = 1000
#: Shards that a process has open at a time.
MOST_OPEN = 64
#: What is kept changes with this number.
FORMAT = 1
FOLDER = "shard_indexes"
#: Members that say something of the shard, and are no sample.
META = "__"
_KEY = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)", re.DOTALL)
#: Of a tar file: bytes of a head, and what members are; PAX is facts about the next one.
BLOCK, PAX, FOLDER_KIND = 512, b"x", b"5"
_KINDS = (b"0", b"\0", PAX, FOLDER_KIND)
#: The only facts of a PAX head that are followed here, or that change nothing.
_FACTS = {"path", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname"}
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class Member(Stored):
    """A file in a tar file: its bytes from `offset` on."""

    offset: int
    size: int

    def open(self, mode: str = "rb") -> BinaryIO:
        """Its bytes. Raises OSError, also for a shard that is cut short."""
        state = os.stat(self.file)
        mark = (state.st_ino, state.st_size, state.st_mtime_ns)
        raw = os.pread(_open_shard(os.fspath(self.file), os.getpid(), mark).handle, self.size, self.offset)
        if len(raw) < self.size:
            raise OSError(f"the shard ends in the middle of it, {self.size - len(raw)} bytes are missing")
        return io.BytesIO(raw)


class _Opened:
    """A file that is open for reading as long as somebody has this."""

    def __init__(self, path: str):
        self.handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "handle"):  # else it could not be opened
            os.close(self.handle)


# By process, so that one that was forked opens its own; by state, so that a shard that was replaced is opened anew.
@lru_cache(maxsize=MOST_OPEN)
def _open_shard(path: str, process: int, state: tuple[int, ...]) -> _Opened:
    return _Opened(path)


class ShardIndex(NamedTuple):
    """The samples of a shard: their keys, what their images and labels are called after it (`endings` by number), and
    where these lie: int64 (N, 6) of offset, size and ending of the image, then of the labels."""

    keys: Texts
    endings: list[str]
    places: np.ndarray


def find_shards(root: Path, pattern: str, *, key: str) -> list[Path]:
    """The tar files that a pattern names below `root`: `*` and `?`, and `{000..009}` as webdataset has it. Sorted, but
    for the order of the numbers in braces. Raises DataError if there are none, or if one of the numbers is missing."""
    found: list[Path] = []
    for text in _expand(pattern):
        paths = sorted(path for path in root.glob(text) if path.is_file())
        if not paths:
            raise DataError(f"data.{key}={pattern}: no shard {text} in {show_path(root)}")
        found += paths
    return found


def _expand(pattern: str) -> Iterator[str]:
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    first, last = braces.groups()
    for number in range(int(first), int(last) + 1):
        yield from _expand(f"{pattern[: braces.start()]}{number:0{len(first)}}{pattern[braces.end() :]}")


def read_index(
    path: Path, images: Sequence[str], labels: Sequence[str], *, unlabelled: str, place: CachePlace
) -> ShardIndex:
    """The samples of a shard, whose images and labels have one of these endings. Kept at `place` once it was read, as
    long as the shard has the same size and time of change.

    Raises DataError for a file that is no tar file, and for samples with labels and no image, with two of either or,
    unless `unlabelled` is "skip", an image and no labels. Those with neither are something else.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"cannot read {show_path(path)}: {error.strerror}") from error
    facts = [
        FORMAT,
        os.path.abspath(path),
        state.st_size,
        state.st_mtime_ns,
        list(images),
        list(labels),
        unlabelled,
    ]
    key = json.dumps(facts)
    file = (
        place.folder / FOLDER / f"{hashlib.sha256(json.dumps(facts[1:2]).encode()).hexdigest()[:16]}{SUFFIX}"
    )
    try:
        entry = CheckedFiles().read(file, wanted={"key": key})
    except CannotCache:  # what may not be read is made anew
        entry = None
    if entry is not None:
        data, ends, places = entry.arrays
        return ShardIndex(Texts(data, ends), entry.facts["endings"], places)
    index = _make_index(path, images, labels, unlabelled=unlabelled)
    if len(index.keys) >= MANY:
        arrays = [index.keys.data, index.keys.ends, index.places]
        try:
            place.make_folder(FOLDER)
            written = {"key": key, "endings": index.endings}
            write_atomically(file, lambda stream: write_entry(stream, written, arrays), durable=False)
        except (CannotCache, CannotWrite):
            return index  # it is read from the shard each time
    return index


def _make_index(path: Path, images: Sequence[str], labels: Sequence[str], *, unlabelled: str) -> ShardIndex:
    endings = list(dict.fromkeys([*images, *labels]))
    keys: list[str] = []
    rows: list[tuple[int, ...]] = []
    seen: set[str] = set()
    for key, members in _samples(path):
        found = [
            [(offset, size, endings.index(ending)) for ending, offset, size in members if ending in wanted]
            for wanted in (images, labels)
        ]
        for what, some in zip(("images", "label files"), found, strict=True):
            if len(some) > 1:
                both = " and ".join(endings[ending] for _, _, ending in some[:2])
                raise DataError(f"{show_path(path)}: {key} has two {what}, {both} -> name the ending of one")
        image, label = found
        if label and not image:
            raise DataError(f"{show_path(path)}: {key} has labels and no image ({', '.join(images)})")
        if image and not label and unlabelled != "skip":
            raise DataError(
                f"{show_path(path)}: {key} has no labels ({', '.join(labels)})\n"
                "   -> data.masks=[ENDING] for other endings, or data.unlabelled=skip leaves such images out"
            )
        if not image or not label:
            continue
        if key in seen:
            raise DataError(
                f"{show_path(path)}: two samples are called {key}, or its files are not next to each other"
            )
        seen.add(key)
        keys.append(key)
        rows.append((*image[0], *label[0]))
    return ShardIndex(Texts.of(keys), endings, np.array(rows, dtype=np.int64).reshape(-1, 6))


def _samples(path: Path) -> Iterator[tuple[str, list[tuple[str, int, int]]]]:
    """Keys, and the endings (in small letters), offsets and sizes of the files of each."""
    before: str | None = None
    members: list[tuple[str, int, int]] = []
    for name, offset, size in _members(path):
        match = _KEY.fullmatch(name)
        if match is None or match[1].rpartition("/")[2].startswith(META):
            continue
        if match[1] != before and before is not None:
            yield before, members
            members = []
        before = match[1]
        members.append((match[2].lower(), offset, size))
    if before is not None:
        yield before, members


def _members(path: Path) -> Iterator[tuple[str, int, int]]:
    """Names, offsets and sizes of the files in a tar file. Raises DataError."""
    try:
        with path.open("rb") as file:
            yield from read_heads(file) or members_of(path)
    except tarfile.ReadError as error:
        hint = ""
        with path.open("rb") as file:
            is_compressed = file.read(2) == b"\x1f\x8b"
        if is_compressed:
            hint = " -> gunzip it: samples are read in any order, which a compressed file does not allow"
        raise DataError(f"cannot read the shard {show_path(path)}: {error}{hint}") from error
    except OSError as error:
        raise DataError(f"cannot read the shard {show_path(path)}: {error.strerror or error}") from error


def members_of(path: Path) -> Iterator[tuple[str, int, int]]:
    """The same by Python's own reader of tar files, which knows every form of them. Raises tarfile.ReadError."""
    with tarfile.open(path, "r:") as tar:
        while (member := tar.next()) is not None:
            if member.isreg() and not member.issparse():
                yield member.name, member.offset_data, member.size
            kept: Any = tar
            kept.members.clear()  # else all are kept


def read_heads(file: BinaryIO) -> list[tuple[str, int, int]] | None:
    """The same in a fraction of the time, for files of plain members; None for any that has something else in it."""
    found: list[tuple[str, int, int]] = []
    end, offset, renamed = os.fstat(file.fileno()).st_size, 0, None
    while True:
        head = os.pread(file.fileno(), BLOCK, offset)
        if head == bytes(BLOCK):
            return found
        kind, size = head[156:157], head[124:136].rstrip(b"\0 ")
        plain = len(head) == BLOCK and head[257:263] in (b"ustar\0", b"ustar ") and kind in _KINDS
        if not plain or not size.isdigit() or int(head[148:154].rstrip(b"\0 ") or b"0", 8) != _checksum(head):
            return None
        length, start = int(size, 8), offset + BLOCK
        offset = start + -(-length // BLOCK) * BLOCK
        if start + length > end:
            return None
        if kind == PAX:
            facts = _pax_facts(os.pread(file.fileno(), length, start))
            if facts is None:
                return None
            renamed = facts.get("path")
            continue
        # POSIX: what comes before the name and a slash. GNU has other fields in its place.
        prefix, name = _text(head[345:500]), _text(head[:100])
        if (prefix and head[257:263] == b"ustar ") or name.endswith("/") != (kind == FOLDER_KIND):
            return None
        if kind != FOLDER_KIND:
            found.append((renamed or (f"{prefix}/{name}" if prefix else name), start, length))
        renamed = None


def _checksum(head: bytes) -> int:
    return sum(head[:148]) + sum(head[156:]) + 8 * ord(" ")


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _pax_facts(raw: bytes) -> dict[str, str] | None:
    """What a PAX head says of the next member, "LENGTH KEY=VALUE" lines; None for what is not understood here."""
    facts: dict[str, str] = {}
    while raw:
        length, blank, _ = raw.partition(b" ")
        if not length.isdigit() or not blank:
            return None
        line, raw = raw[len(length) + 1 : int(length) - 1], raw[int(length) :]
        key, equals, value = line.decode("utf-8", "surrogateescape").partition("=")
        if not equals or key not in _FACTS:
            return None
        facts[key] = value
    return facts
