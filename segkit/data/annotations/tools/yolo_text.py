"""The text files and the `data.yaml` of YOLO's segmentation: a polygon on each line, in shares of the image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segkit.config.yaml_source import parse_yaml, to_plain
from segkit.data.annotations.tools.parts import is_there, resolved, walk_images
from segkit.data.annotations.tools.points import bad_shape, parse_number
from segkit.data.annotations.tools.shapes import Polygon, Shape
from segkit.data.decoding.opening import SUFFIXES
from segkit.data.files.text_lists import read_lines
from segkit.errors import ConfigError, DataError
from segkit.system.printable import show_name, show_path

IMAGES, LABELS = "images", "labels"
#: What the folders of the parts are called where no data.yaml says it, the usual word first.
PARTS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
#: How far outside of the image a share may lie, as Ultralytics allows.
TOLERANCE = 0.01
#: Numbers of a row: class and a box; class and three points.
BOX, LEAST = 5, 7


class YoloFile(NamedTuple):
    """A `data.yaml` or a list of names: itself, names of the classes by their numbers from 0, the folder that its
    paths start from, and the folders or lists of each part."""

    path: Path
    names: list[str]
    folder: Path
    parts: dict[str, list[str]]


def read_data_file(path: Path) -> YoloFile:
    """Raises DataError for a file that cannot be used, naming the key."""
    try:
        node, problems = parse_yaml(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {show_path(path)}: {error}") from error
    if problems:
        raise DataError(f"cannot read {show_path(path)}: {problems[0]}")
    data = None if node is None else to_plain(node)
    if not isinstance(data, Mapping):
        raise DataError(f"cannot read {show_path(path)}: expected keys such as train, val and names")
    names = _read_names(data.get("names"), data.get("nc"), path)
    folder, said = path.parent, data.get("path")
    if isinstance(said, str) and is_there(place := resolved(path.parent, said.replace("\\", "/"))):
        folder = place
    parts = {key: _as_list(data[key], key, path) for key in ("train", "val", "test") if data.get(key)}
    return YoloFile(path, names, folder, parts)


def read_names_file(path: Path) -> YoloFile:
    """A classes.txt, a name on each line, as Label Studio and labelImg leave it; the parts are the folders below
    `images`, or those that have a folder `images`, or all images are `train`. Raises DataError for an empty file."""
    try:
        lines = read_lines(path, comments=False)
    except ConfigError as error:
        raise DataError(str(error)) from error
    names = [text for _, text in lines]
    # The tools that write it know no comments, people do; a name too many or too few moves all after it.
    unclear = next(((number, text) for number, text in lines if text.startswith("#")), None)
    if unclear is not None:
        raise DataError(
            f"cannot use {show_path(path)}:{unclear[0]}: {show_name(unclear[1])} may be a comment or the name of a "
            "class\n   -> remove it, or a YAML file with train, val and names says what the classes are"
        )
    if not names:
        raise DataError(f"cannot use {show_path(path)}: it names no class")
    root, parts = path.parent, {}
    for before, after in ((f"{IMAGES}/", ""), ("", f"/{IMAGES}")):
        parts = parts or {
            key: [f"{before}{name}{after}"]
            for key, words in PARTS.items()
            for name in words[::-1]
            if (root / f"{before}{name}{after}").is_dir()
        }
    return YoloFile(path, names, root, parts or {"train": [IMAGES if (root / IMAGES).is_dir() else "."]})


def find_images(file: YoloFile, part: str) -> list[Path]:
    """The images of a part, whether they are there or not, sorted. Raises DataError for a part or a folder that is
    missing."""
    if part not in file.parts:
        has = ", ".join(file.parts) or "no part"
        raise DataError(
            f"{show_path(file.path)} has no {part!r}: it has {has}\n   -> data.val_fraction=0.2 divides what there is, "
            "or data.train_split and data.val_split name other parts"
        )
    found: list[Path] = []
    for name in file.parts[part]:
        place = _find_place(file, part, name)
        if place.is_dir():
            found += walk_images(place)
        elif place.suffix.lower() in SUFFIXES:
            found.append(place)
        else:
            found += _read_list(place)
    if not found:
        raise DataError(f"no images in {', '.join(file.parts[part])} ({part} of {show_path(file.path)})")
    return sorted(set(found))


def text_of(image: Path) -> Path:
    """The text file of an image: its last folder `images` is `labels` there; without one, it lies beside the image."""
    parts = list(image.with_suffix(".txt").parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == IMAGES]
    if places:
        parts[places[-1]] = LABELS
    return Path(*parts)


def yolo_shapes(path: Path, names: Sequence[str], size: tuple[int, int], *, source: str) -> list[Shape]:
    """The polygons of a text file, drawn on an image of `size` (H, W). Raises DataError, naming `source` and the
    line."""
    try:
        rows = [(number, text.split()) for number, text in read_lines(path)]
    except ConfigError as error:
        raise DataError(str(error)) from error
    return [_read_row(row, names, size, source, f"line {number}") for number, row in rows]


def corner_counts(path: Path) -> list[int]:
    """How many corners each polygon of a text file has; none of a file that cannot be read, which is reported where it
    is drawn."""
    try:
        rows = [text.split() for _, text in read_lines(path)]
    except ConfigError:
        return []
    return [len(row) // 2 for row in rows if len(row) >= LEAST]


def _read_row(row: list[str], names: Sequence[str], size: tuple[int, int], source: str, entry: str) -> Shape:
    number = parse_number(row[0], source=source, entry=entry, what="the class")
    if not (number.is_integer() and 0 <= number < len(names)):
        advice = f"{len(names)} have a name: add what is missing, or mend the line"
        raise bad_shape(source, entry, f"there is no class {row[0]}", advice=advice)
    entry = f"{entry} ({show_name(names[int(number)])})"
    if len(row) == BOX:
        raise bad_shape(
            source,
            entry,
            "5 numbers are a box, which says nothing of the pixels in it",
            advice="export the data set for segmentation, with polygons; a detector's labels are no masks",
        )
    if len(row) < LEAST or len(row) % 2 == 0:
        raise bad_shape(
            source, entry, f"{len(row)} numbers are no class and three or more points (7, 9, 11 ...)"
        )
    shares = np.array([parse_number(text, source=source, entry=entry) for text in row[1:]]).reshape(-1, 2)
    if shares.min() < -TOLERANCE or shares.max() > 1 + TOLERANCE:
        outside = shares[(shares < -TOLERANCE) | (shares > 1 + TOLERANCE)][0]
        raise bad_shape(
            source, entry, f"{outside:g} is no share of the image, from 0 to 1: are these pixels?"
        )
    return Shape(names[int(number)], Polygon(shares * (size[1], size[0])), entry)


def _read_names(names: Any, count: Any, path: Path) -> list[str]:
    if isinstance(names, Mapping):
        numbers = {int(key): name for key, name in names.items() if str(key).isdecimal()}
        if sorted(numbers) != list(range(len(names))):
            raise DataError(
                f"cannot use {show_path(path)}: names should count from 0 without a gap, found {list(names)}"
            )
        names = [numbers[place] for place in range(len(names))]
    if names is None and isinstance(count, int) and 0 < count < 10_000:
        names = [f"class_{number}" for number in range(count)]  # as Ultralytics calls them
    if not isinstance(names, list) or not names:
        raise DataError(
            f"cannot use {show_path(path)}: expected names, a list of the classes or a map from their numbers"
        )
    if isinstance(count, int) and count != len(names):
        raise DataError(f"cannot use {show_path(path)}: nc is {count}, and names has {len(names)}")
    return [str(name) for name in names]


def _as_list(value: Any, key: str, path: Path) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in values):
        raise DataError(
            f"cannot use {show_path(path)}: {key} should be a folder, a text file or a list of them"
        )
    return values


def _find_place(file: YoloFile, part: str, name: str) -> Path:
    """A folder or a list: below the folder of the file; `../` leads there, too, as in Roboflow's exports."""
    name = name.replace("\\", "/")  # of Windows
    tried = [resolved(file.folder, name), resolved(file.path.parent, name)]
    tried += [resolved(file.folder, name[3:])] if name.startswith("../") else []
    for place in tried:
        if is_there(place):
            return place
    instead = "" if part == "train" else "; data.val_fraction=0.2 divides the training images instead"
    raise DataError(
        f"no folder {show_path(name)}, the {part} of {show_path(file.path)}\n   -> mend it there: seen from that file, "
        f"such as images/train; paths of another machine lead nowhere{instead}"
    )


def _read_list(path: Path) -> list[Path]:
    """The images that a text file lists, one on each line, seen from the file or from the current folder."""
    try:
        lines = read_lines(path)
    except ConfigError as error:
        raise DataError(str(error)) from error
    found = []
    for _, text in lines:
        near = resolved(path.parent, text.replace("\\", "/"))
        found.append(near if is_there(near) or not is_there(Path(text)) else Path(text).resolve())
    return found
