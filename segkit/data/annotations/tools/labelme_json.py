"""The JSON files of labelme, one for each image, of its first versions and of today's."""

import base64
import binascii
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np

from segkit.data.annotations.tools.png_text import decode_png
from segkit.data.annotations.tools.points import bad_shape, check_count, check_points
from segkit.data.annotations.tools.shapes import Area, Ellipse, Pixels, Polygon, Shape, Stroke, rectangle
from segkit.data.files.paired_files import file_state
from segkit.errors import DataError
from segkit.system.printable import show_name, show_path

#: How many points each kind of shape has, at least and at most (None: any number).
POINTS: dict[str, tuple[int, int | None]] = {
    "polygon": (3, None),
    "rectangle": (2, 4),
    "oriented_rectangle": (4, 4),
    "circle": (2, 2),
    "line": (2, 2),
    "linestrip": (2, None),
    "point": (1, 1),
    "points": (1, None),
    "mask": (2, 2),
}


class LabelmeFile(NamedTuple):
    """One file: its image as it names it, (H, W) as it gives them, its shapes, and the embedded image in base64."""

    image: str | None
    size: tuple[int, int] | None
    shapes: list[Any]
    data: str | None


class NotLabelme(DataError):
    """A JSON file of something else."""


def read_labelme(path: Path) -> LabelmeFile:
    """A labelme file. Raises DataError for a file that is missing, damaged or none of labelme's."""
    state = file_state(path)
    return _read(path, (state.st_size, state.st_mtime_ns, state.st_ino))


@lru_cache(maxsize=1)  # its size, its shapes and its image are asked for one after the other
def _read(path: Path, state: tuple[int, ...]) -> LabelmeFile:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"cannot read {show_path(path)}: no JSON: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {show_path(path)}: {error.strerror}") from error
    shapes = data.get("shapes") if isinstance(data, dict) else None
    if not isinstance(shapes, list):
        raise NotLabelme(f"cannot read {show_path(path)}: no file of labelme, which has a list `shapes`")
    image, embedded = data.get("imagePath"), data.get("imageData")
    size = (data.get("imageHeight"), data.get("imageWidth"))
    return LabelmeFile(
        # Of a drawing made on Windows, its separators.
        PureWindowsPath(image).as_posix() if isinstance(image, str) and image else None,
        size if all(isinstance(length, int) for length in size) else None,
        shapes,
        embedded if isinstance(embedded, str) and embedded else None,
    )


def labelme_shapes(file: LabelmeFile, *, source: str) -> list[Shape]:
    """The shapes of a file in its order. Raises DataError, naming `source` and the shape, for what cannot be drawn."""
    return [_read_shape(shape, source, f"shapes[{place}]") for place, shape in enumerate(file.shapes)]


def labels_in(file: LabelmeFile) -> set[str]:
    """The labels that a file uses."""
    labels = [_label_of(shape) for shape in file.shapes if isinstance(shape, Mapping)]
    return {label for label in labels if label is not None}


def embedded_image(file: LabelmeFile, path: Path) -> bytes:
    """The bytes of the image that a file carries. Raises DataError if they are damaged."""
    try:
        return base64.b64decode(file.data or "", validate=True)
    except (binascii.Error, ValueError):
        raise DataError(f"cannot read {show_path(path)}: its imageData is damaged") from None


def _label_of(shape: Mapping[str, Any]) -> str | None:
    """The label of a shape, which people who write such files themselves give as a number, too."""
    label = shape.get("label")
    return str(label) if type(label) is int else label if isinstance(label, str) else None


def _read_shape(shape: Any, source: str, entry: str) -> Shape:
    if not isinstance(shape, Mapping):
        raise bad_shape(source, entry, "it is no shape")
    label = _label_of(shape)
    if not label:
        raise bad_shape(
            source, entry, "it has no label", advice="give it one in labelme, or delete the shape"
        )
    entry = f"{entry} ({show_name(label)})"
    kind = shape.get("shape_type") or "polygon"  # which all were in the first versions
    if not isinstance(kind, str) or kind not in POINTS:
        raise bad_shape(
            source, entry, f"the shape type {kind!r:.40} is not known; there are {', '.join(POINTS)}"
        )
    least, most = POINTS[kind]
    points = check_points(shape.get("points"), source=source, entry=entry, least=least, kind=kind)
    check_count(len(points), source=source, entry=entry, least=least, most=most, kind=kind)
    group = shape.get("group_id")
    return Shape(
        label,
        _area(kind, points, shape, source, entry),
        entry,
        group if isinstance(group, int | str) else None,
    )


def _area(kind: str, points: np.ndarray, shape: Mapping[str, Any], source: str, entry: str) -> Area:
    if kind == "polygon" or (len(points) == 4 and kind.endswith("rectangle")):
        return Polygon(points)
    if kind in ("line", "linestrip"):
        return Stroke(points)
    if kind in ("point", "points"):
        return Stroke(points, joined=False)
    if kind == "rectangle":
        if len(points) == 3:
            raise bad_shape(source, entry, "3 points, where a rectangle has 2 or 4")
        (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return rectangle(left, top, right, bottom)
    if kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        return Ellipse((float(points[0, 0]), float(points[0, 1])), (radius, radius))
    return _read_mask(points, shape.get("mask"), source, entry)


def _read_mask(points: np.ndarray, mask: Any, source: str, entry: str) -> Pixels:
    """Pixels in a box whose corners are its first and its last pixel."""
    if not isinstance(mask, str):
        raise bad_shape(source, entry, "a mask without its pixels, which `mask` has as a PNG file in base64")
    try:
        image = decode_png(mask)
    except ValueError as error:
        raise bad_shape(source, entry, f"its mask is {error}") from None
    inside = np.asarray(image.convert("L") if image.mode != "1" else image) != 0
    (left, top), (right, bottom) = points.astype(int).tolist()
    height, width = bottom - top + 1, right - left + 1
    if inside.shape != (height, width):
        found = f"{inside.shape[1]}x{inside.shape[0]}"
        raise bad_shape(source, entry, f"its mask is {found}, its box {width}x{height}")
    return Pixels(left, top, inside)
