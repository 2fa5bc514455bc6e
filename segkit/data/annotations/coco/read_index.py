"""Going through a COCO file once: its images, its categories, and where each annotation stands."""

from array import array
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segkit.data.annotations.coco.json_entries import Entry, JsonLists
from segkit.data.annotations.coco.other_kinds import refuse_other_kind
from segkit.errors import DataError
from segkit.system.printable import show_name, show_path


class Category(NamedTuple):
    """A category of a file. `supercategory` is "" where the file says none."""

    id: Hashable
    name: str
    supercategory: str


class Index(NamedTuple):
    """What is kept of a file of N images and A annotations, in the order of the file.

    names         the file name of each image
    sizes         (N, 2) height and width of each image, 0 where the file does not say
    categories    of which two have neither one id nor one name
    images        (A,) the number of the image that each annotation is of
    starts, ends  (A,) where each annotation begins and ends, in bytes
    used          for each category, how many annotations, or segments of a panoptic file, have it
    strays        the numbers of the annotations, or of those of the segments, whose category is not there
    drawn         annotations that have a segmentation
    pngs          of a panoptic file, the name of each annotation's PNG file; else None
    """

    names: list[str]
    sizes: np.ndarray
    categories: list[Category]
    images: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    used: list[int]
    strays: np.ndarray
    drawn: int
    pngs: list[str] | None


def read_index(path: Path) -> Index:
    """The index of a file. Raises DataError for a file that cannot be read, is not JSON or of another kind, and for
    entries that contradict each other, naming file, entry and rule."""
    lists, reader = JsonLists(path), _Reader(path)
    for entry in lists:
        if entry.key == "annotations":
            reader.take_annotation(entry)
        elif entry.key == "images":
            reader.take_image(entry)
        elif entry.key == "categories":
            reader.take_category(entry)
    refuse_other_kind(path, lists.keys)
    return reader.finish()


def _numbers() -> array:
    return array("q")


@dataclass
class _Reader:
    """What was met so far.

    The ids of images and categories get a number where they are first met, be it in an annotation: `image_ids` and
    `category_ids`. `listed` and `kinds` are the numbers of the images and categories that the file lists.
    """

    path: Path
    image_ids: dict[Hashable, int] = field(default_factory=dict)
    category_ids: dict[Hashable, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    sizes: array = field(default_factory=_numbers)
    listed: array = field(default_factory=_numbers)
    categories: list[Category] = field(default_factory=list)
    kinds: array = field(default_factory=_numbers)
    images: array = field(default_factory=_numbers)  # of each annotation
    starts: array = field(default_factory=_numbers)
    ends: array = field(default_factory=_numbers)
    owners: array = field(default_factory=_numbers)  # the annotation that has each of the next
    labels: array = field(default_factory=_numbers)  # the category of each annotation or segment
    pngs: list[str] = field(default_factory=list)
    drawn: int = 0

    def take_annotation(self, entry: Entry) -> None:
        """An annotation of an image."""
        _, number, start, end, value = entry
        self.images.append(self._known(self.image_ids, entry, self._get(entry, "image_id")))
        segments = value.get("segments_info")
        self.starts.append(start)
        self.ends.append(end)
        if segments is None:
            self.drawn += bool(value.get("segmentation"))
            self.owners.append(number)
            self.labels.append(self._known(self.category_ids, entry, self._get(entry, "category_id")))
            return
        self.drawn += 1
        self.pngs.append(self._text(entry, "file_name"))
        if not isinstance(segments, list):
            raise self._wrong(entry, f"segments_info is {type(segments).__name__}, expected a list")
        for segment in segments:
            if not isinstance(segment, dict) or "category_id" not in segment:
                raise self._wrong(entry, "an entry of segments_info has no category_id")
            self.owners.append(number)
            self.labels.append(self._known(self.category_ids, entry, segment["category_id"]))

    def take_image(self, entry: Entry) -> None:
        """An image."""
        self.listed.append(self._known(self.image_ids, entry, self._get(entry, "id")))
        url = entry.value.get("coco_url")
        if "file_name" not in entry.value and isinstance(url, str):  # as in LVIS
            self.names.append("/".join(url.split("/")[-2:]))
        else:
            self.names.append(self._text(entry, "file_name"))
        for key in ("height", "width"):
            length = entry.value.get(key)
            if length is not None and (
                type(length) not in (int, float) or length != length // 1 or length < 1
            ):
                raise self._wrong(entry, f"{key} is {length!r}, expected a number of pixels")
            self.sizes.append(int(length or 0))

    def take_category(self, entry: Entry) -> None:
        """A category."""
        key = self._get(entry, "id")
        self.kinds.append(self._known(self.category_ids, entry, key))
        above = entry.value.get("supercategory")
        self.categories.append(
            Category(key, self._text(entry, "name"), above if isinstance(above, str) else "")
        )

    def finish(self) -> Index:
        """All of it, checked for what contradicts something else. Raises DataError."""
        self._refuse_twice("images", "id", self.listed)
        self._refuse_twice("images", "file_name", self.names)
        self._refuse_twice("categories", "id", self.kinds)
        self._refuse_twice("categories", "name", [category.name for category in self.categories])
        images = _places(self.listed, len(self.image_ids))[_array(self.images)]
        self._refuse_strangers(images)
        labels = _places(self.kinds, len(self.category_ids))[_array(self.labels)]
        if self.pngs and len(self.pngs) < len(self.starts):
            raise DataError(
                f"{show_path(self.path)}: some annotations have segments_info, as panoptic ones have, and others none"
            )
        return Index(
            self.names,
            _array(self.sizes).reshape(-1, 2),
            self.categories,
            images,
            _array(self.starts),
            _array(self.ends),
            np.bincount(labels[labels >= 0], minlength=len(self.categories)).tolist(),
            _array(self.owners)[labels < 0],
            self.drawn,
            self.pngs or None,
        )

    def _get(self, entry: Entry, key: str) -> Any:
        if not isinstance(entry.value, dict):
            raise self._wrong(entry, f"expected an object, found {type(entry.value).__name__}")
        if key not in entry.value:
            raise self._wrong(entry, f"has no {key}")
        return entry.value[key]

    def _text(self, entry: Entry, key: str) -> str:
        text = self._get(entry, key)
        if not isinstance(text, str) or not text.strip():
            raise self._wrong(entry, f"{key} is {text!r}, expected a text")
        return text

    def _known(self, ids: dict[Hashable, int], entry: Entry, key: Any) -> int:
        """The number of an id, a new one if it was not met before."""
        if type(key) not in (int, str, float):
            raise self._wrong(entry, f"an id is {key!r}, expected a number or a text")
        return ids.setdefault(key, len(ids))

    def _refuse_twice(self, key: str, what: str, values: Sequence[Hashable]) -> None:
        if len(set(values)) == len(values):
            return
        value, _ = Counter(values).most_common(1)[0]
        first, second = [n for n, other in enumerate(values) if other == value][:2]
        if what == "id":
            value = _name_of(self.image_ids if key == "images" else self.category_ids, int(str(value)))
        raise DataError(
            f"{show_path(self.path)}: {key}[{first}] and {key}[{second}] have one {what}, {show_name(repr(value))}\n"
            f"   -> make them one, or give one another {what}"
        )

    def _refuse_strangers(self, images: np.ndarray) -> None:
        """Annotations of images that the file does not list."""
        strangers = np.flatnonzero(images < 0)
        if not len(strangers):
            return
        key = _name_of(self.image_ids, self.images[int(strangers[0])])
        count = f" ({len(strangers)} annotations are of such)" if len(strangers) > 1 else ""
        raise DataError(
            f"{show_path(self.path)}: annotations[{strangers[0]}]: there is no image with the id {show_name(repr(key))}"
            f"{count}\n   -> list the image, or remove the annotation"
        )

    def _wrong(self, entry: Entry, rule: str) -> DataError:
        return DataError(f"{show_path(self.path)}: {entry.key}[{entry.number}]: {rule}")


def _array(numbers: array) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def _places(listed: array, count: int) -> np.ndarray:
    """For each of `count` numbers, its place in `listed`; -1 for those that are not there."""
    places = np.full(count, -1, dtype=np.int64)
    places[_array(listed)] = np.arange(len(listed))
    return places


def _name_of(ids: Mapping[Hashable, int], number: int) -> Hashable:
    return next(key for key, other in ids.items() if other == number)
