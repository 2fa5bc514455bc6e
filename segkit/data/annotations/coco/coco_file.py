"""A COCO file that is open: what it says of its images, and its annotations, read from it when they are asked for."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from segkit.data.annotations.coco.json_entries import decode_entry
from segkit.data.annotations.coco.kept_index import find_index
from segkit.data.annotations.coco.read_index import Category
from segkit.data.decoding.opening import explained
from segkit.data.files.paired_files import file_state
from segkit.errors import DataError
from segkit.system.printable import show_path


def open_coco(path: Path) -> "CocoFile":
    """The file, gone through once as long as it does not change. Raises DataError, see `read_index`."""
    state = file_state(path)
    return _open(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=2)  # both parts of a data set ask for both of its files
def _open(path: Path, size: int, time: int) -> "CocoFile":
    return CocoFile(path, (size, time))


class CocoFile:
    """What is kept of a COCO file: of an annotation, no more than where it stands.

    path        of the file
    names       the file name of each image
    sizes       (N, 2) height and width of each image, 0 where the file does not say
    categories  in the order of the file; no two have one id or one name
    used        for each category, how many annotations have it, or how many segments of a panoptic file
    strays      numbers of annotations, or of those of segments, whose category is not there
    drawn       how many annotations have a segmentation
    notes       what somebody should know who starts again
    pngs        of a panoptic file, the name of the PNG file of each image, or None for an image without; else None
    """

    def __init__(self, path: Path, state: tuple[int, int]):
        index, self.notes = find_index(path)
        self.path, self._state = path, state
        self.names, self.sizes = index.names, index.sizes.astype(np.int32)
        self.categories: list[Category] = index.categories
        self.used, self.strays, self.drawn = index.used, index.strays, index.drawn
        # By image, and of one image in the order of the file.
        order = np.argsort(index.images, kind="stable")
        self._first = np.searchsorted(index.images[order], np.arange(len(self.names) + 1))
        self._numbers, self._starts = order.astype(np.int32), index.starts[order]
        self._lengths = (index.ends - index.starts)[order].astype(np.int32)
        self.pngs: list[str | None] | None = None
        if index.pngs is not None:
            self.pngs = [index.pngs[numbers[0]] if len(numbers) else None for numbers in self._by_image()]

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.names)

    def count(self, image: int) -> int:
        """How many annotations an image has."""
        return int(self._first[image + 1] - self._first[image])

    def annotations(self, image: int) -> list[tuple[int, dict[str, Any]]]:
        """The annotations of an image in the order of the file, each with its number there: `annotations[number]`.

        Raises DataError for a file that was changed since it was opened.
        """
        places = range(self._first[image], self._first[image + 1])
        if not places:
            return []
        found = []
        with explained(self.path), self.path.open("rb", buffering=0) as file:
            state = os.fstat(file.fileno())
            if (state.st_size, state.st_mtime_ns) != self._state:
                raise DataError(f"{show_path(self.path)} was changed since it was opened -> start again")
            for place in places:
                text = os.pread(file.fileno(), int(self._lengths[place]), int(self._starts[place]))
                found.append((int(self._numbers[place]), decode_entry(text)))
        return found

    def _by_image(self) -> list[np.ndarray]:
        return np.split(self._numbers, self._first[1:-1]) if self.names else []
