"""Files that list the classes, as annotation tools write them.

    classes.txt         one name per line
    labels.txt          labelme: the same after __ignore__, which is -1
    labelmap.txt        CVAT: name:red,green,blue:parts:actions
    _classes.csv        Roboflow: a header `Pixel Value, Class`, then 0, background
    class_dict.csv      a header `name,r,g,b`, then road,128,64,128
    label_colors.txt    CamVid and Datumaro: red green blue name
    dataset_meta.json   Datumaro: {"labels": [name, ...], "segmentation_colors": [[red, green, blue], ...]}

Class ids count the lines, from 0. Where a file says by which value or colour a class is stored, that becomes the label
map. No name has a meaning of its own: `background` is a class like any other.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segkit.data.files.label_map import IGNORE, LARGEST_VALUE, REST
from segkit.data.files.text_lists import find_text, read_lines
from segkit.data.palette import Color
from segkit.errors import ConfigError
from segkit.system.printable import describe_controls

KINDS = (
    "one name per line, CVAT's labelmap.txt, Roboflow's _classes.csv, a class_dict.csv of name,r,g,b or a "
    "label_colors.txt"
)
#: The list of CamVid, and of what Datumaro exports as CamVid, Cityscapes or KITTI: with colours, or with names alone.
COLOUR_LIST = "label_colors.txt"
#: The same in JSON, as Datumaro and OpenVINO write it.
META_LIST = "dataset_meta.json"
#: What labelme's list begins with.
LABELME_IGNORE = "__ignore__"
#: Lists of masks in which 0 is a background, whether the list names it or not.
PLACE_LISTS = (COLOUR_LIST, META_LIST)
#: Files that hold classes in a form which is not read.
OTHER_SUFFIXES = (".json", ".yaml", ".yml", ".xml")
CVAT_LINE = re.compile(r"(?P<name>[^:]+):(?P<colour>[^:]*):[^:]*:[^:]*")
COLOUR_LINE = re.compile(r"(?P<colour>[0-9]{1,3}\s+[0-9]{1,3}\s+[0-9]{1,3})\s+(?P<name>\S.*)")

Line = tuple[int, str]


@dataclass(frozen=True)
class ListedClass:
    """One class of a file: its name, and the value or the colour it is stored by, where the file says so."""

    line: int
    name: str
    value: int | None = None
    colour: Color | None = None

    @property
    def keys(self) -> list[int | str]:
        """How `data.label_map` would write value and colour."""
        value = [] if self.value is None else [self.value]
        colour = [] if self.colour is None else ["#{:02x}{:02x}{:02x}".format(*self.colour)]
        return [*value, *colour]


@dataclass(frozen=True)
class ClassList:
    """The classes of a file: `names` in the order of their ids, and what `label_map` says of values and colours.

    of_tool     whether it is a list of a tool that draws masks in Pascal VOC's colours where the list has none: a
                labelmap.txt, or a label_colors.txt
    background  the class that such tools draw as 0 and black: the name `background` or the colour black; None: none
    """

    path: Path
    names: list[str]
    label_map: dict[int | str, int]
    of_tool: bool = False
    background: str | None = None

    @property
    def has_colours(self) -> bool:
        """Whether the file says the colour of a class."""
        return any(isinstance(key, str) for key in self.label_map)


def add_entries(
    listed: Mapping[int | str, int], given: Mapping[int | str, int | str]
) -> dict[int | str, int | str]:
    """The label map of a class list with the entries that a user gives, which win where both name a value."""
    named = {str(key).strip().lower() for key in given}
    return {**{key: value for key, value in listed.items() if str(key) not in named}, **given}


def read_class_list(name: str, root: Path) -> ClassList:
    """The classes of the file `name`, below `root` or seen from the current folder.

    Raises ConfigError, naming file and line, for a file that is missing or is none of the kinds above, and for names,
    values or colours that stand twice.
    """
    hint = f"a list such as [background, crack], or a file: {KINDS}"
    path = find_text(name, root, key="data.classes", hint=hint)
    if path.suffix.lower() in OTHER_SUFFIXES and path.name != META_LIST:
        raise ConfigError(f"data.classes: cannot read classes from {path}\n   -> {hint}")
    lines = read_lines(path)
    try:
        listed = _choose_reader(path, lines)(lines)
        background = _find_background(listed)
        if path.name in PLACE_LISTS:
            listed = _without_shared_colours(listed)
        _check_unique(listed)
    except _BadLine as error:
        raise ConfigError(f"{path}:{error.line}: {error}") from None
    if len(listed) < 2:
        count = "1 class" if listed else "no class"
        raise ConfigError(f"data.classes: {path} names {count}; at least 2 are needed")
    label_map = {key: place for place, entry in enumerate(listed) for key in entry.keys}
    names = [entry.name for entry in listed]
    # The values 0, 1, 2 ... say nothing that would not hold without them.
    says_nothing = label_map == {place: place for place in range(len(names))}
    return ClassList(
        path,
        names,
        {} if says_nothing else label_map,
        of_tool=path.name in PLACE_LISTS or any(CVAT_LINE.fullmatch(text) for _, text in lines),
        background=background,
    )


class _BadLine(Exception):
    def __init__(self, line: int, text: str):
        self.line = line
        super().__init__(text)


def _choose_reader(path: Path, lines: list[Line]) -> Callable[[list[Line]], list[ListedClass]]:
    if path.name == META_LIST:
        return _read_meta
    if path.suffix.lower() == ".csv":
        return _read_csv
    if any(CVAT_LINE.fullmatch(text) for _, text in lines):
        return _read_cvat
    return _read_colour_list if any(COLOUR_LINE.fullmatch(text) for _, text in lines) else _read_names


def _read_names(lines: Iterable[Line]) -> list[ListedClass]:
    listed = [ListedClass(number, text) for number, text in lines]
    # labelme counts from -1 where its list begins so, and masks have 255 for that.
    return listed[1:] if listed and listed[0].name == LABELME_IGNORE else listed


def _read_cvat(lines: Iterable[Line]) -> list[ListedClass]:
    """CVAT's masks hold the colours or, with one channel, the places of the classes in the file."""
    listed = []
    for place, (number, text) in enumerate(lines):
        found = CVAT_LINE.fullmatch(text)
        if found is None:
            raise _BadLine(number, f"expected name:red,green,blue:parts:actions, found {text!r}")
        colour = found["colour"].strip()
        parts = colour.split(",") if colour else None
        listed.append(ListedClass(number, found["name"].strip(), place, _read_colour(parts, number)))
    return listed


def _read_colour_list(lines: Iterable[Line]) -> list[ListedClass]:
    """What values mean, such a list does not say."""
    listed = []
    for number, text in lines:
        found = COLOUR_LINE.fullmatch(text)
        if found is None:
            raise _BadLine(number, f"expected red green blue name, found {text!r}")
        listed.append(
            ListedClass(number, found["name"], colour=_read_colour(found["colour"].split(), number))
        )
    return listed


def _read_meta(lines: Iterable[Line]) -> list[ListedClass]:
    """What values mean, such a file says of the data and not of the masks, in which a background may come first."""
    try:
        data = json.loads("\n".join(text for _, text in lines))
        by_id = sorted((data.get("label_map") or {}).items(), key=lambda item: int(item[0]))
        names = [str(name) for name in data.get("labels") or [name for _, name in by_id]]
        colours = data.get("segmentation_colors") or []
        parts = [[str(channel) for channel in colour] for colour in colours] or [None] * len(names)
        entries = list(zip(names, parts, strict=True))
        if not entries:
            raise ValueError
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise _BadLine(1, 'expected {"labels": [...]}, and as many "segmentation_colors" or none') from None
    return [ListedClass(1, name, colour=_read_colour(colour, 1)) for name, colour in entries]


def _without_shared_colours(listed: Sequence[ListedClass]) -> list[ListedClass]:
    """In KITTI's and Cityscapes' lists several classes are black: their masks hold values, which need no colours."""
    times = Counter(entry.colour for entry in listed)
    return [replace(entry, colour=entry.colour if times[entry.colour] == 1 else None) for entry in listed]


def _find_background(listed: Iterable[ListedClass]) -> str | None:
    """The name of the class that is black or, where no colours are listed, is called so."""
    entries = list(listed)
    if any(entry.colour for entry in entries):
        return next((entry.name for entry in entries if entry.colour == (0, 0, 0)), None)
    return next((entry.name for entry in entries if entry.name.lower() == "background"), None)


def _read_csv(lines: list[Line]) -> list[ListedClass]:
    if not lines:
        return []
    header = [word.strip().lower() for word in _fields(lines[0])]
    if header not in (["pixel value", "class"], ["name", "r", "g", "b"]):
        number, text = lines[0]
        raise _BadLine(number, f"expected the header 'Pixel Value, Class' or 'name, r, g, b', found {text!r}")
    listed = []
    for line in lines[1:]:
        number, text = line
        words = [word.strip() for word in _fields(line)]
        if len(words) != len(header) or not all(words):
            raise _BadLine(number, f"expected {', '.join(header)}, found {text!r}")
        if len(header) == 2:
            listed.append(ListedClass(number, words[1], value=_read_value(words[0], number)))
        else:
            listed.append(ListedClass(number, words[0], colour=_read_colour(words[1:], number)))
    return listed


def _fields(line: Line) -> list[str]:
    return next(csv.reader([line[1]], skipinitialspace=True))


def _read_value(text: str, line: int) -> int:
    if not re.fullmatch("[0-9]+", text) or int(text) > LARGEST_VALUE:
        raise _BadLine(line, f"expected a value from 0 to {LARGEST_VALUE}, found {text!r}")
    return int(text)


def _read_colour(parts: list[str] | None, line: int) -> Color | None:
    if parts is None:
        return None
    if len(parts) != 3 or not all(
        re.fullmatch(" *[0-9]{1,3} *", part) and int(part) <= 255 for part in parts
    ):
        raise _BadLine(line, f"expected red,green,blue from 0 to 255, found {','.join(parts)!r}")
    red, green, blue = (int(part) for part in parts)
    return red, green, blue


def _check_unique(listed: Iterable[ListedClass]) -> None:
    seen: dict[tuple[str, int | str], int] = {}
    for entry in listed:
        if wrong := describe_controls(entry.name):
            raise _BadLine(entry.line, wrong)
        if entry.name in (IGNORE, REST):
            raise _BadLine(entry.line, f"a class cannot be called {entry.name!r}, which label_map uses")
        for what, key in (("the name", entry.name), *(("the value", key) for key in entry.keys)):
            if (what, key) in seen:
                raise _BadLine(entry.line, f"{what} {key} stands on line {seen[what, key]} already")
            seen[what, key] = entry.line
