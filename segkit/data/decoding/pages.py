"""The pages of a TIFF file, each read like a file of its own.

A page is shown to its decoder as the first and only one: of the file's bytes, the address of the first page and that
of the page after this one are given another value. Nothing else of the file is read.
"""

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from segkit.data.decoding.opening import explained
from segkit.data.decoding.parts import Stored
from segkit.data.decoding.tiff_facts import TIFF_HEADS, Directories, is_reduced, read_tiff_facts
from segkit.errors import DataError
from segkit.system.printable import show_path


@dataclass(frozen=True, slots=True)
class Page(Stored):
    """A page of a TIFF file: its directory begins at byte `directory`, and byte `link` begins to say which is next."""

    directory: int
    link: int

    def open(self, mode: str = "rb") -> BinaryIO:
        """The file with this page alone."""
        return cast(BinaryIO, _open_page(self))


def find_pages(path: Path) -> list[Page]:
    """The pages of a TIFF file, called by their number from 0, without those that are smaller copies of others.

    Raises DataError for a file that is missing, cut short or no TIFF file, and for a stack of ImageJ that lists
    one page of many.
    """
    with explained(path):
        state = path.stat()
        return list(_find_pages(path, (state.st_size, state.st_mtime_ns)))


def split_stack(path: Path) -> list[Page]:
    """The pages of a TIFF file whose first two are of one size; none of any other file, which is one image, or none
    that can be read."""
    try:
        with explained(path):
            pages = find_pages(path)
            sizes = [facts.size for page in pages[:2] if (facts := read_tiff_facts(page)) is not None]
    except DataError:  # which whoever reads it as an image reports
        return []
    return pages if len(sizes) == 2 and sizes[0] == sizes[1] else []


def page_name(path: Path, number: int, count: int) -> str:
    """What page `number` of `count` is called: like the file, with the number, from 0."""
    return f"{path.stem}_{number:0{max(3, len(str(count - 1)))}}"


@lru_cache(maxsize=64)  # both parts of a data set ask
def _find_pages(path: Path, state: tuple[int, int]) -> Sequence[Page]:
    pages = _list_pages(path)
    facts = read_tiff_facts(path) if pages else None
    if facts is None:
        raise DataError(f"cannot read {show_path(path)}: not a TIFF file, and other files have no pages")
    if len(pages) == 1 and facts.slices > 1:
        raise DataError(
            f"cannot use {show_path(path)}: it holds {facts.slices} images, of which it lists one, as ImageJ does it "
            "beyond 4 GB -> save it as several files"
        )
    return pages


def _list_pages(path: Path) -> list[Page]:
    """The pages of a TIFF file but for smaller copies of others; none of a file of another format. Raises OSError, and
    struct.error for directories that are cut off."""
    found: list[Page] = []
    with path.open("rb") as file:
        head = file.read(4)
        if head not in TIFF_HEADS:
            return found
        directories, seen = Directories(file, TIFF_HEADS[head], big=b"+" in head), set()
        place = directories.first()
        while place and place not in seen:
            seen.add(place)
            tags, following = directories.read(place)
            if not is_reduced(tags):
                found.append(Page(path, str(len(found)), place, directories.link_of(place)))
            place = following
    return found


class _OnePage(mmap.mmap):
    """A file, mapped into memory, in which a page is the first and the last one. The changes are not written to it."""

    def getvalue(self) -> "mmap.mmap":
        """All bytes, by which Pillow's decoders find a page at once; in a file, they would go through those before."""
        return self

    def readinto(self, buffer: Any) -> int:
        """As of files, which tifffile asks for."""
        into = memoryview(buffer).cast("B")
        content = self.read(len(into))
        into[: len(content)] = content
        return len(content)


def _open_page(page: Page) -> _OnePage:
    with page.file.open("rb") as file:
        shown = _OnePage(file.fileno(), 0, access=mmap.ACCESS_COPY)
    big, order = b"+" in shown[:4], TIFF_HEADS[shown[:4]]
    form, first = (f"{order}Q", 8) if big else (f"{order}I", 4)
    struct.pack_into(form, shown, first, page.directory)
    struct.pack_into(form, shown, page.link, 0)
    return shown
