"""The XML files of "CVAT for images 1.1": all images of a task or a project in one file.

It is read by expat element by element. A document type is refused: no export has one, and entities that are declared
there could stand for other files, or for more text than there is memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

import numpy as np

from segkit.data.annotations.tools.points import bad_shape, check_box, check_count, parse_number
from segkit.data.annotations.tools.shapes import Area, Ellipse, Pixels, Polygon, Shape, Stroke, rectangle
from segkit.data.files.paired_files import file_state
from segkit.data.palette import Color
from segkit.errors import DataError
from segkit.system.printable import show_name, show_path

#: What is no area of an image and says nothing about its pixels.
NO_SHAPES = ("tag", "attribute")
#: Pixels of a mask; no image that is decoded has more.
MOST_PIXELS = 1 << 30
KINDS = ("polygon", "box", "ellipse", "mask", "polyline", "points")


class Drawn(NamedTuple):
    """An element below an image: its tag, its attributes, and its line in the file."""

    tag: str
    attributes: Mapping[str, str]
    line: int


class CvatImage(NamedTuple):
    """An image of the file: its name, the part that it is in, (H, W) if they are said, its line, and what is drawn on
    it."""

    name: str
    subset: str
    size: tuple[int, int] | None
    line: int
    drawn: list[Drawn]


@dataclass
class CvatFile:
    """labels are those of the task or the project in their order, with their colours where they are said."""

    images: list[CvatImage] = field(default_factory=list)
    labels: dict[str, Color | None] = field(default_factory=dict)


def read_cvat(path: Path) -> CvatFile:
    """A file of CVAT; the same object while the file stays as it is. Raises DataError, naming the line."""
    state = file_state(path)
    return _read(path, (state.st_size, state.st_mtime_ns, state.st_ino))


@lru_cache(maxsize=2)  # both parts of a data set are in it
def _read(path: Path, state: tuple[int, ...]) -> CvatFile:
    reader = _Reader(path)
    try:
        with path.open("rb") as file:
            reader.parser.ParseFile(file)
    except expat.ExpatError as error:
        raise DataError(f"cannot read {show_path(path)}:{error.lineno}: {error}") from None
    except LookupError as error:  # an encoding that is none
        raise DataError(f"cannot read {show_path(path)}: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {show_path(path)}: {error.strerror}") from error
    return reader.file


class _Reader:
    """What expat calls for each element."""

    def __init__(self, path: Path):
        self.path, self.file = path, CvatFile()
        self.tags: list[str] = []
        self.text, self.label = "", ""
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self.refuse_document_type
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.add_text

    @property
    def place(self) -> str:
        return f"{show_path(self.path)}:{self.parser.CurrentLineNumber}"

    def refuse_document_type(self, *_) -> None:
        raise DataError(
            f"cannot read {self.place}: it declares a document type, which may name other files and which no export "
            "has\n   -> export the annotations from CVAT again"
        )

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self.tags and tag != "annotations":
            raise DataError(
                f"cannot read {self.place}: no file of CVAT, which begins with <annotations>, not <{tag}>"
            )
        if tag == "track" and self.tags == ["annotations"]:
            raise DataError(
                f"cannot read {self.place}: this is `CVAT for video`\n   -> export the task as `CVAT for images 1.1`"
            )
        if tag == "image" and self.tags == ["annotations"]:
            self.file.images.append(self.read_image(attributes))
        elif self.tags[:2] == ["annotations", "image"] and len(self.tags) == 2 and tag not in NO_SHAPES:
            self.file.images[-1].drawn.append(Drawn(tag, attributes, self.parser.CurrentLineNumber))
        self.tags.append(tag)
        self.text = ""

    def end(self, tag: str) -> None:
        self.tags.pop()
        if self.tags[:2] == ["annotations", "meta"] and self.tags[-1:] == ["label"]:
            if tag == "name":
                self.label = self.text.strip()
                self.file.labels[self.label] = None
            elif tag == "color" and self.label:
                self.file.labels[self.label] = _read_colour(self.text.strip())

    def add_text(self, text: str) -> None:
        self.text += text

    def read_image(self, attributes: Mapping[str, str]) -> CvatImage:
        name, sides = attributes.get("name", ""), (attributes.get("height", ""), attributes.get("width", ""))
        if not name:
            raise DataError(f"cannot read {self.place}: an image without a name")
        size = (int(sides[0]), int(sides[1])) if all(side.isdecimal() for side in sides) else None
        return CvatImage(name, attributes.get("subset", ""), size, self.parser.CurrentLineNumber, [])


def cvat_shapes(image: CvatImage, *, source: str) -> list[Shape]:
    """The shapes of an image, lowest first: by `z_order`, then as they stand in the file. Raises DataError, naming
    `source` and the line."""
    shapes = []
    for drawn in image.drawn:
        entry, attributes = f"line {drawn.line} ({drawn.tag})", drawn.attributes
        if drawn.tag not in KINDS:
            raise bad_shape(source, entry, f"a {drawn.tag} is no area; there are {', '.join(KINDS)}")
        label = attributes.get("label", "")
        if not label:
            raise bad_shape(source, entry, "it has no label")
        entry = f"line {drawn.line} ({drawn.tag}, {show_name(label)})"
        order = _number(attributes, "z_order", source, entry, default=0)
        area = _AREAS[drawn.tag](attributes, source, entry)
        shapes.append((order, Shape(label, area, entry, _group(attributes))))
    return [shape for _, shape in sorted(shapes, key=lambda item: item[0])]


def _group(attributes: Mapping[str, str]) -> str | None:
    group = attributes.get("group_id")
    return None if group == "0" else group


def _polygon(attributes: Mapping[str, str], source: str, entry: str) -> Area:
    return Polygon(_points(attributes, source, entry, least=3, kind="polygon"))


def _polyline(attributes: Mapping[str, str], source: str, entry: str) -> Area:
    return Stroke(_points(attributes, source, entry, least=2, kind="polyline"))


def _dots(attributes: Mapping[str, str], source: str, entry: str) -> Area:
    return Stroke(_points(attributes, source, entry, least=1, kind="points"), joined=False)


def _box(attributes: Mapping[str, str], source: str, entry: str) -> Area:
    left, top, right, bottom = (
        _number(attributes, key, source, entry) for key in ("xtl", "ytl", "xbr", "ybr")
    )
    check_box((left, top, right, bottom), source=source, entry=entry)
    return rectangle(
        left, top, right, bottom, degrees=_number(attributes, "rotation", source, entry, default=0)
    )


def _ellipse(attributes: Mapping[str, str], source: str, entry: str) -> Area:
    x, y, across, down = (_number(attributes, key, source, entry) for key in ("cx", "cy", "rx", "ry"))
    return Ellipse((x, y), (across, down), _number(attributes, "rotation", source, entry, default=0))


def _mask(attributes: Mapping[str, str], source: str, entry: str) -> Area:
    """Run lengths along the rows of a box, beginning with what is outside."""
    left, top, width, height = (
        int(_number(attributes, key, source, entry)) for key in ("left", "top", "width", "height")
    )
    runs = [part.strip() for part in attributes.get("rle", "").split(",")]
    if not all(run.isdecimal() for run in runs):
        raise bad_shape(source, entry, "its rle is no list of run lengths")
    lengths = [int(run) for run in runs]
    if not (0 < width * height <= MOST_PIXELS and width > 0) or sum(lengths) != width * height:
        raise bad_shape(
            source, entry, f"its runs are {sum(lengths)} pixels long, its box has {width}x{height}"
        )
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(height, width)
    return Pixels(left, top, inside)


_AREAS = {
    "polygon": _polygon,
    "polyline": _polyline,
    "points": _dots,
    "box": _box,
    "ellipse": _ellipse,
    "mask": _mask,
}


def _points(attributes: Mapping[str, str], source: str, entry: str, *, least: int, kind: str) -> np.ndarray:
    pairs = [pair.split(",") for pair in attributes.get("points", "").split(";") if pair.strip()]
    if not all(len(pair) == 2 for pair in pairs):
        raise bad_shape(source, entry, "its points are not written as x,y;x,y")
    check_count(len(pairs), source=source, entry=entry, least=least, kind=kind)
    numbers = [[parse_number(text, source=source, entry=entry) for text in pair] for pair in pairs]
    return np.array(numbers, dtype=np.float64)


def _number(
    attributes: Mapping[str, str], key: str, source: str, entry: str, *, default: float | None = None
) -> float:
    text = attributes.get(key)
    if text is None:
        if default is None:
            raise bad_shape(source, entry, f"it has no {key}")
        return default
    return parse_number(text, source=source, entry=entry, what=key)


def _read_colour(text: str) -> Color | None:
    if len(text) != 7 or text[0] != "#":
        return None
    try:
        red, green, blue = bytes.fromhex(text[1:])
    except ValueError:
        return None
    return red, green, blue
