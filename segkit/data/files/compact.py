"""Names and paths of many files in little memory: text in one array of bytes, instead of an object for each.

A million paths as `Path` objects take about a gigabyte, which moreover every loader process copies as soon as it looks
at them, since Python counts references in the objects themselves. Arrays without objects stay shared.
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np

STEM = "{stem}"
#: Texts that are taken from the arrays, or put into them, at a time.
CHUNK = 4096

Item = TypeVar("Item")


class Compact(Sequence[Item], Generic[Item]):
    """What a sequence of few bytes has in common with a list: its slices are lists, and it equals the list of the
    same items."""

    def _item(self, place: int) -> Item:
        raise NotImplementedError

    def _items(self, first: int, last: int) -> Iterator[Item]:
        return (self._item(place) for place in range(first, last))

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._item(place) for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        return self._item(place)

    def __iter__(self) -> Iterator[Item]:
        for first in range(0, len(self), CHUNK):
            yield from self._items(first, min(first + CHUNK, len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # as of a list

    def __add__(self, other: Sequence[Item]) -> list[Item]:
        return [*self, *other]

    def __radd__(self, other: Sequence[Item]) -> list[Item]:
        return [*other, *self]

    def __repr__(self) -> str:
        return repr(self[:]) if len(self) <= 8 else f"{repr(self[:8])[:-1]}, ... {len(self):,} in all]"


class Texts(Compact[str]):
    """Texts one after the other in UTF-8: `data` uint8 (bytes,), and `ends`, where each of them ends in it."""

    def __init__(self, data: np.ndarray, ends: np.ndarray):
        self.data, self.ends = data, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """The same texts; those that are compact already stay as they are."""
        if isinstance(texts, Texts):
            return texts
        data, lengths, left = bytearray(), [np.empty(0, dtype=np.int64)], iter(texts)
        while chunk := list(itertools.islice(left, CHUNK)):
            encoded = [_encode(text) for text in chunk]
            data += b"".join(encoded)
            lengths.append(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))
        return cls(np.frombuffer(bytes(data), dtype=np.uint8), _as_ends(np.concatenate(lengths)))

    def take(self, places: np.ndarray) -> "Texts":
        """The texts at these places, in their order."""
        starts, lengths = self._starts()[places], self._lengths()[places]
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        # For each byte of the result its place in `data`: it follows the one before but for the first of each text.
        source = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
        return Texts(self.data[source], _as_ends(lengths))

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.data.nbytes + self.ends.nbytes

    def __len__(self) -> int:
        return len(self.ends)

    def _starts(self) -> np.ndarray:
        return np.concatenate([np.zeros(1, dtype=np.int64), self.ends[:-1]])[: len(self.ends)].astype(
            np.int64
        )

    def _lengths(self) -> np.ndarray:
        return self.ends.astype(np.int64) - self._starts()

    def _item(self, place: int) -> str:
        start = int(self.ends[place - 1]) if place else 0
        return _decode(self.data[start : int(self.ends[place])].tobytes())

    def _items(self, first: int, last: int) -> Iterator[str]:
        start = int(self.ends[first - 1]) if first else 0
        ends = self.ends[first:last].tolist()
        raw = self.data[start : ends[-1]].tobytes() if ends else b""
        begin = start
        for end in ends:
            yield _decode(raw[begin - start : end - start])
            begin = end


class Paths(Compact[Path]):
    """Files that are named by what they have not in common, as `FilePattern` does it.

    File n is `folder`, the folders of `stems[n]`, and `file` with the last part of the stem in the place of {stem};
    then `endings[codes[n]]`. Without `codes` all have the first ending.
    """

    def __init__(
        self,
        folder: str,
        stems: Texts,
        *,
        file: str = STEM,
        endings: Sequence[str] = ("",),
        codes: np.ndarray | None = None,
    ):
        self.folder, self.stems, self.file, self.endings, self.codes = folder, stems, file, endings, codes
        self._start = folder if not folder or folder.endswith("/") else f"{folder}/"

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "Paths":
        """The same paths; those that are compact already stay as they are."""
        if isinstance(paths, Paths):
            return paths
        paths = paths if isinstance(paths, Sequence) else list(paths)
        # The folders that the first and the last in order have in common, all between them have.
        ends = [path.parent.parts for path in (min(paths), max(paths))] if len(paths) else [(), ()]
        common = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*ends, strict=False))
        folder = os.path.join("", *(part for part, _ in common))
        return cls(folder, Texts.of(_shorten(os.fspath(path), folder) for path in paths))

    def text(self, place: int) -> str:
        """The path of file `place` as text."""
        return self._fill(self.stems[place], place)

    def texts(self) -> Iterator[str]:
        """All paths as texts, which is several times as fast as making each a `Path`."""
        return (self._fill(stem, place) for place, stem in enumerate(self.stems))

    def take(self, places: np.ndarray, stems: Texts | None = None) -> "Paths":
        """The paths at these places, in their order; `stems` are theirs, if somebody has them already."""
        stems = self.stems.take(places) if stems is None else stems
        codes = None if self.codes is None else self.codes[places]
        return Paths(self.folder, stems, file=self.file, endings=self.endings, codes=codes)

    def __len__(self) -> int:
        return len(self.stems)

    def _item(self, place: int) -> Path:
        return Path(self.text(place))

    def _items(self, first: int, last: int) -> Iterator[Path]:
        stems = self.stems._items(first, last)
        return (Path(self._fill(stem, place)) for place, stem in enumerate(stems, start=first))

    def _fill(self, stem: str, place: int) -> str:
        folder, slash, name = stem.rpartition("/")
        ending = self.endings[0 if self.codes is None else self.codes[place]]
        return f"{self._start}{folder}{slash}{self.file.replace(STEM, name)}{ending}"


def _as_ends(lengths: np.ndarray) -> np.ndarray:
    ends = np.cumsum(lengths, dtype=np.int64)
    return ends.astype(np.uint32) if not len(ends) or ends[-1] < 2**32 else ends


def _shorten(path: str, folder: str) -> str:
    return path.removeprefix(folder).removeprefix("/") if folder else path


# A name of the file system that is no UTF-8 has lone surrogates, which plain UTF-8 refuses.
def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")
