"""The lists of a large JSON file, entry by entry, each with where it stands: never the whole file in memory.

A file is read in pieces, of which every byte is taken for one character (Latin-1), so that places in the text are
places in the file; nothing that JSON is built of has other bytes. Entries with other characters are decoded anew.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from segkit.data.decoding.opening import explained
from segkit.errors import DataError
from segkit.system.printable import show_path

#: Bytes that are read at a time.
PIECE = 1 << 20
#: Characters before the end of what was read, in which an error may come from what is not read yet.
TAIL = 16
#: What Python's decoder says of a string that does not end, whose place is where it begins.
UNENDED = "Unterminated string"
CUT = "it ends in the middle -> get the file again, which was cut short"
BOM = "\xef\xbb\xbf"
_skip_space = re.compile(r"[ \t\n\r]*").match
_decode = json.JSONDecoder().raw_decode


class Entry(NamedTuple):
    """An entry of the list `key` of a file: the `number`-th, from 0, in the bytes from `start` to `end`."""

    key: str
    number: int
    start: int
    end: int
    value: Any


def decode_entry(text: bytes) -> Any:
    """The value of one entry, from its bytes. Raises ValueError."""
    return json.loads(text.decode())


class JsonLists:
    """The entries of all lists that an object in a JSON file holds, in the order of the file.

    `keys` are those of the object that were met so far, whatever they hold. Raises DataError for a file that cannot be
    read, is not JSON, or holds no object.
    """

    def __init__(self, path: Path):
        self.path = path
        self.keys: list[str] = []

    def __iter__(self) -> Iterator[Entry]:
        self.keys = []
        with explained(self.path), self.path.open("rb") as file:
            yield from self._entries(_Window(self.path, file))

    def _entries(self, window: "_Window") -> Iterator[Entry]:
        place = window.skip(len(BOM) if window.text.startswith(BOM) else 0)
        if window.character(place) == "[":
            raise DataError(
                f"not COCO's JSON: {show_path(self.path)} holds a list, expected an object of lists"
            )
        if window.character(place) != "{":
            raise window.wrong(place, "an object, which begins with {")
        place = window.skip(place + 1)
        while window.character(place) != "}":
            if window.character(place) != '"':
                raise window.wrong(place, "a key in quotes")
            key, _, place = window.value(place)
            self.keys.append(key)
            place = window.expect(place, ":")
            if window.character(place) == "[":
                yield from window.entries(key, place + 1)
                place = window.skip(window.ended_at)
            else:
                _, _, place = window.value(place)
            place = window.next(place, "}")


class _Window:
    """The part of a file that is looked at: `text`, which begins `base` bytes from the start of the file.

    All places are places in `text`, which changes when more is read.
    """

    def __init__(self, path: Path, file: BinaryIO):
        self.path, self.file = path, file
        self.text, self.base, self.is_last = "", 0, False
        self.ended_at = 0
        self.more(0)

    def more(self, place: int) -> int:
        """Forget what is before `place`, read at least as much again as is left, and return the new place, 0."""
        left = self.text[place:]
        piece = self.file.read(max(PIECE, len(left)))
        self.base += place
        self.text, self.is_last = left + piece.decode("latin-1"), not piece
        return 0

    def skip(self, place: int) -> int:
        """The next place from `place` on that is no space."""
        while True:
            found = _skip_space(self.text, place)
            assert found is not None  # no space is a match, too
            if found.end() < len(self.text) or self.is_last:
                return found.end()
            place = self.more(found.end())

    def character(self, place: int) -> str:
        """The character at a place that `skip` gave; "" at the end of the file."""
        return self.text[place : place + 1]

    def expect(self, place: int, wanted: str) -> int:
        """The place of what follows the character `wanted`."""
        place = self.skip(place)
        if self.character(place) != wanted:
            raise self.wrong(place, repr(wanted))
        return self.skip(place + 1)

    def next(self, place: int, closing: str) -> int:
        """The place of what follows a comma, or of `closing`."""
        place = self.skip(place)
        if self.character(place) == closing:
            return place
        place = self.expect(place, ",")
        if self.character(place) == closing:
            raise self.wrong(place, "something between ',' and " + repr(closing))
        return place

    def value(self, place: int) -> tuple[Any, int, int]:
        """The value at a place, where it begins, and the place after it: reading on moves them."""
        while True:
            try:
                value, end = _decode(self.text, place)
            except json.JSONDecodeError as error:
                unended = error.pos >= len(self.text) or error.msg.startswith(UNENDED)
                if self.is_last or not (unended or error.pos > len(self.text) - TAIL):
                    raise self._not_json(error.pos, CUT if unended else error.msg) from None
            except RecursionError:
                raise self._not_json(place, "nested too deeply") from None
            else:
                # What is cut behind the point or the e of a number is a number, too.
                margin = TAIL if isinstance(value, int | float) else 0
                if end + margin < len(self.text) or self.is_last:
                    return self._with_characters(value, place, end), place, end
            place = self.more(place)

    def entries(self, key: str, place: int) -> Iterator[Entry]:
        """The entries of the list that begins at `place`; the place after it is `ended_at` then."""
        place, number = self.skip(place), 0
        while self.character(place) != "]":
            value, start, end = self.value(place)
            yield Entry(key, number, self.base + start, self.base + end, value)
            place, number = self.next(end, "]"), number + 1
        self.ended_at = place + 1

    def wrong(self, place: int, wanted: str) -> DataError:
        """The error to raise where something else stands than `wanted`."""
        found = self.character(place)
        return self._not_json(place, f"expected {wanted}, found {found!r}" if found else CUT)

    def _with_characters(self, value: Any, start: int, end: int) -> Any:
        """A value that was decoded byte by byte with its characters, if it has some beyond ASCII."""
        if self.text.isascii() or (text := self.text[start:end]).isascii():
            return value
        try:
            return decode_entry(text.encode("latin-1"))
        except UnicodeDecodeError:
            raise self._not_json(start, "its text is not UTF-8") from None

    def _not_json(self, place: int, problem: str) -> DataError:
        line, column = _find_line(self.path, self.base + place)
        return DataError(f"not JSON: {show_path(self.path)}:{line}:{column}: {problem}")


def _find_line(path: Path, place: int) -> tuple[int, int]:
    """Line and column, from 1, of a byte of a file."""
    line, begin, read = 1, 0, 0
    with path.open("rb") as file:
        while read < place and (piece := file.read(min(PIECE, place - read))):
            line += piece.count(b"\n")
            if b"\n" in piece:
                begin = read + piece.rfind(b"\n") + 1
            read += len(piece)
    return line, place - begin + 1
