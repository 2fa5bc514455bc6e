"""Options that data sets of people's own files have in common: the classes, and what the numbers in the files mean."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from segkit.data.decoding.images_and_masks import ValueRange
from segkit.data.decoding.parts import Source
from segkit.data.decoding.value_range import find_value_range
from segkit.data.files.class_lists import ClassList, add_entries, read_class_list
from segkit.data.files.label_map import IGNORE, REST, LabelMap
from segkit.errors import DataError
from segkit.system.printable import describe_controls
from segkit.types import Expects

#: Names of the classes, or the file that lists them.
Classes = Annotated[
    Annotated[list[str], Field(min_length=2)] | str,
    Expects("a list (at least 2) of names, or a file such as classes.txt"),
]
Channels = Annotated[int, Field(ge=1, le=1000)]
Ends = Annotated[list[float], Field(min_length=2, max_length=2)] | Literal["auto", "dtype"]
Fraction = Annotated[float, Field(gt=0, lt=1)]
#: The highest values of masks of 8 and of 16 bits, which pixels that nobody labelled usually have.
UNKNOWN = (255, 65535)


@dataclass(frozen=True)
class Meanings:
    """The names of the classes, what the values of label files mean, the list that says so, if there is one, and what
    else says so."""

    names: Sequence[str]
    label_map: LabelMap
    listed: ClassList | None = None
    more: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The list and what else says it, as files that every sample depends on."""
        return self.more if self.listed is None else (self.listed.path, *self.more)


def read_meanings(
    classes: list[str] | str,
    label_map: Mapping[int | str, int | str] | None,
    *,
    ignore_index: int,
    root: Callable[[], Path],
) -> Meanings:
    """The options `classes`, `label_map` and `ignore_index` together; `root` is asked for where a list is to be found.

    Raises ConfigError, or ValueError for options that contradict each other.
    """
    listed = None
    if isinstance(classes, str):
        listed = read_class_list(classes, root())
        classes, label_map = listed.names, add_entries(listed.label_map, label_map or {})
    check_classes(classes, ignore_index)
    return Meanings(classes, LabelMap(label_map, classes=classes, ignore_index=ignore_index), listed)


def find_ends(value_range: list[float] | str, find_images: Callable[[], Sequence[Source]]) -> ValueRange:
    """What the option `value_range` stands for; `find_images` finds the training images, for `auto`. Raises ValueError
    for numbers in the wrong order."""
    if value_range == "auto":
        try:
            images = find_images()
        except DataError:  # there are images to score only, which say so if they need a range
            return None
        return find_value_range(images)
    if isinstance(value_range, str):
        return "dtype"
    low, high = value_range
    if not low < high:
        raise ValueError(f"value_range: expected [low, high], got {value_range}")
    return low, high


def check_classes(classes: Sequence[str], ignore_index: int) -> None:
    """Raises ValueError for names that cannot be those of classes, and for the id of a class as `ignore_index`."""
    if 0 <= ignore_index < len(classes):
        free = next((value for value in UNKNOWN if value >= len(classes)), -1)
        raise ValueError(
            f"ignore_index={ignore_index} is also the id of the class {classes[ignore_index]!r}\n"
            f"   -> data.ignore_index={free}, an id that no class has; other values in the masks that mean unknown: "
            f"data.label_map='{{VALUE: {IGNORE}}}'"
        )
    for name in classes:
        if wrong := describe_controls(name):
            raise ValueError(f"classes: {wrong}")
        if classes.count(name) > 1:
            raise ValueError(f"classes names {name!r} twice")
        if name in (IGNORE, REST):
            raise ValueError(f"a class cannot be called {name!r}, which label_map uses")
