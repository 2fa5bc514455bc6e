"""The JSON that Label Studio exports: a list of tasks, each an image with the annotations of one person or several."""

import json
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from segkit.data.annotations.tools.brush_rle import decode_brush
from segkit.data.annotations.tools.png_text import decode_png
from segkit.data.annotations.tools.points import bad_shape, check_number, check_points
from segkit.data.annotations.tools.shapes import Area, Ellipse, Pixels, Polygon, Shape, Stroke
from segkit.data.files.paired_files import file_state
from segkit.errors import DataError
from segkit.system.printable import show_name, show_path

#: Types of results that say where something is and what. Others are choices, texts, or belong to other media, unless
#: they end so, too, and say how large the image is: these are not read.
KINDS = (
    "polygonlabels", "brushlabels", "bitmasklabels", "rectanglelabels", "ellipselabels", "keypointlabels", "labels",
)  # fmt: skip
#: Types of results that say where something is and not what; where it has a label, another result of its id says so.
AREAS = ("polygon", "brush", "bitmask", "rectangle", "ellipse", "keypoint", "vector")
#: Alpha from which on a pixel of the brush counts.
HALF = 128
#: What a picture in a JSON file begins with.
PNG_DATA = "data:image/png;base64,"


class Task(NamedTuple):
    """One image: the task's number, the address of the image, and its annotations that were not cancelled."""

    number: int | str
    image: str
    annotations: list[Mapping[str, Any]]

    @property
    def file(self) -> str:
        """The path in the address, without server, bucket and query; of a local file, the path below its storage."""
        parts = urlsplit(self.image.replace("\\", "/"))
        local = parse_qs(parts.query).get("d")
        return local[0] if local else unquote(parts.path).lstrip("/")


def read_tasks(path: Path, image_key: str) -> list[Task]:
    """The tasks of an export. Raises DataError for a file that is none."""
    state = file_state(path)
    return _read(path, image_key, (state.st_size, state.st_mtime_ns, state.st_ino))


@lru_cache(maxsize=2)  # both parts of a data set are in it
def _read(path: Path, image_key: str, state: tuple[int, ...]) -> list[Task]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"cannot read {show_path(path)}: no JSON: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {show_path(path)}: {error.strerror}") from error
    if not isinstance(data, list) or not all(_is_task(task) for task in data):
        raise DataError(
            f"cannot read {show_path(path)}: no export of Label Studio as `JSON`, a list of tasks with `annotations`\n"
            "   -> export the project as JSON (not as JSON-MIN)"
        )
    return [_read_task(task, place, image_key, path) for place, task in enumerate(data)]


def _is_task(task: Any) -> bool:
    return (
        isinstance(task, dict)
        and isinstance(task.get("data"), dict)
        and isinstance(task.get("annotations"), list)
    )


def _read_task(task: Mapping[str, Any], place: int, image_key: str, path: Path) -> Task:
    number, image = task.get("id", place), task["data"].get(image_key)
    if not isinstance(image, str) or not image:
        keys = ", ".join(show_name(key) for key in task["data"]) or "nothing"
        raise DataError(
            f"cannot read {show_path(path)}: task {number} has no {image_key!r}, it has {keys} -> data.image_key"
        )
    read = Task(number, image, [])
    if image.startswith("data:") or not read.file.strip("/"):
        raise DataError(
            f"cannot read {show_path(path)}: task {number} has {show_name(image)!r}, which names no file"
        )
    found = [item for item in task["annotations"] if isinstance(item, dict)]
    annotations: list[Mapping[str, Any]] = [item for item in found if not item.get("was_cancelled")]
    for item in annotations:
        if not isinstance(item.get("result") or [], list):
            raise DataError(f"cannot read {show_path(path)}: task {number} has a `result` that is no list")
        for result in item.get("result") or []:
            _pack(result)
    return read._replace(annotations=annotations)


def _pack(result: Any) -> None:
    """Run lengths as bytes, which take an eighth of a list. What is no list of bytes stays, and is refused when
    drawn."""
    value = result.get("value") if isinstance(result, dict) else None
    if isinstance(value, dict) and isinstance(value.get("rle"), list):
        try:
            value["rle"] = bytes(value["rle"])
        except (TypeError, ValueError):
            return


def choose_annotation(task: Task, *, source: str, completed_by: int | str | None) -> Mapping[str, Any]:
    """The one annotation of a task, of that person if `completed_by` names one, else the one that is ground truth.

    Raises DataError, naming the task, if that leaves several or none.
    """
    found = [item for item in task.annotations if completed_by is None or completed_by in _persons(item)]
    true = [item for item in found if item.get("ground_truth")]
    chosen = true if len(found) > 1 and len(true) == 1 else found
    if len(chosen) == 1:
        return chosen[0]
    persons = ", ".join(str(_persons(item)[0]) for item in task.annotations) or "nobody"
    raise DataError(
        f"{len(chosen)} annotations of one image: {source}, task {task.number}, by {persons}\n"
        "   -> data.completed_by names the person, or mark one as ground truth in Label Studio"
    )


def label_studio_shapes(
    annotation: Mapping[str, Any], size: tuple[int, int], *, source: str, to_name: str | None = None
) -> list[Shape]:
    """The shapes of an annotation on an image of `size` (H, W), in its order; of several images, on the one that the
    labelling configuration calls `to_name`. Raises DataError, naming `source` and the result."""
    shapes = []
    for place, result in _regions(annotation, to_name):
        kind, value = result["type"], result["value"]
        entry = f"result[{place}] ({kind})"
        if kind not in KINDS:
            raise bad_shape(source, entry, f"such regions are not read; there are {', '.join(KINDS)}")
        labels = value.get(kind)
        if not isinstance(labels, list) or not labels:
            raise bad_shape(source, entry, "it has no label")
        if len(labels) > 1:
            raise bad_shape(source, entry, f"it has {len(labels)} labels, and a pixel has one class")
        if result.get("image_rotation"):
            raise bad_shape(
                source, entry, f"the image was turned by {result['image_rotation']} degrees in the tool"
            )
        label = str(labels[0])
        entry = f"result[{place}] ({kind}, {show_name(label)})"
        shapes.append(Shape(label, _area(value, size, source, entry), entry))
    return shapes


def _results(annotation: Mapping[str, Any], to_name: str | None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The results about the image that is called `to_name`, or about all of them, each with its place."""
    for place, result in enumerate(annotation.get("result") or []):
        if isinstance(result, dict) and (to_name is None or result.get("to_name") == to_name):
            yield place, result


def _regions(annotation: Mapping[str, Any], to_name: str | None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The results that say where something is and what."""
    return ((place, result) for place, result in _results(annotation, to_name) if _is_region(result))


def _is_region(result: Mapping[str, Any]) -> bool:
    kind = result.get("type")
    if not isinstance(kind, str) or not isinstance(result.get("value"), dict):
        return False
    return kind in KINDS or (kind.endswith("labels") and "original_width" in result)


def images_of(annotation: Mapping[str, Any]) -> list[str]:
    """What the labelling configuration calls the images that regions of an annotation are on, each once."""
    return list(dict.fromkeys(str(result.get("to_name")) for _, result in _regions(annotation, None)))


def unlabelled_in(annotation: Mapping[str, Any], to_name: str | None) -> list[str]:
    """The results that are an area without a label, which nothing is drawn of: `result[2] (polygon)`."""
    labelled = {result.get("id") for _, result in _regions(annotation, to_name)}
    return [
        f"result[{place}] ({result['type']})"
        for place, result in _results(annotation, to_name)
        if result.get("type") in AREAS and (result.get("id") is None or result["id"] not in labelled)
    ]


def labels_of(annotation: Mapping[str, Any], to_name: str | None = None) -> set[str]:
    """The labels that an annotation uses."""
    found: set[str] = set()
    for _, result in _regions(annotation, to_name):
        labels = result["value"].get(result["type"])
        found |= {str(label) for label in labels} if isinstance(labels, list) else set()
    return found


def size_of(annotation: Mapping[str, Any], to_name: str | None = None) -> tuple[int, int] | None:
    """(H, W) of the image as the results of an annotation give it, or None."""
    for _, result in _results(annotation, to_name):
        height, width = result.get("original_height"), result.get("original_width")
        if isinstance(height, int) and isinstance(width, int):
            return height, width
    return None


def _persons(annotation: Mapping[str, Any]) -> list[Any]:
    """By what a person may be named who made an annotation: number and e-mail address."""
    person = annotation.get("completed_by")
    return [person["id"], person.get("email")] if isinstance(person, dict) and "id" in person else [person]


def _area(value: Mapping[str, Any], size: tuple[int, int], source: str, entry: str) -> Area:
    """All lengths are percents, across of the width and down of the height."""
    height, width = size
    if "rle" in value:
        return _brush(value["rle"], size, source, entry)
    if "imageDataURL" in value:
        return _bitmask(value["imageDataURL"], size, source, entry)
    if "points" in value:
        points = check_points(value["points"], source=source, entry=entry, least=3, kind="polygon")
        return Polygon(points / 100 * (width, height))

    def read(key: str, side: int, *, default: float | None = None) -> float:
        number = value.get(key, default)
        if number is None:
            raise bad_shape(source, entry, f"it has no {key}")
        return check_number(number, source=source, entry=entry, what=key) / 100 * side

    x, y = read("x", width), read("y", height)
    turn = math.radians(read("rotation", 100, default=0.0))
    if "radiusX" in value:
        return Ellipse((x, y), (read("radiusX", width), read("radiusY", height)), math.degrees(turn))
    if "height" in value:  # a rectangle is turned about its first corner
        right = np.array([math.cos(turn), math.sin(turn)]) * read("width", width)
        down = np.array([-math.sin(turn), math.cos(turn)]) * read("height", height)
        corner = np.array([x, y])
        return Polygon(np.stack([corner, corner + right, corner + right + down, corner + down]))
    return Stroke(np.array([[x, y]]), joined=False)


def _brush(packed: Any, size: tuple[int, int], source: str, entry: str) -> Area:
    if not isinstance(packed, bytes):
        raise bad_shape(source, entry, "its rle is no list of bytes")
    try:
        picture = decode_brush(packed, values=4 * size[0] * size[1])
    except ValueError as error:
        raise bad_shape(source, entry, f"its rle cannot be unpacked: {error}") from None
    return Pixels(0, 0, picture.reshape(*size, 4)[..., 3] >= HALF)


def _bitmask(text: Any, size: tuple[int, int], source: str, entry: str) -> Area:
    """The pixels of a picture that are not transparent."""
    if not isinstance(text, str) or not text.startswith(PNG_DATA):
        raise bad_shape(source, entry, f"its imageDataURL does not begin with {PNG_DATA}")
    try:
        image = decode_png(text.removeprefix(PNG_DATA))
    except ValueError as error:
        raise bad_shape(source, entry, f"its imageDataURL is {error}") from None
    if "A" not in image.getbands() and "transparency" not in image.info:
        raise bad_shape(source, entry, "its picture has no transparency, which says what is not drawn")
    alpha = np.asarray(image.convert("RGBA"))[..., 3]  # (H, W)
    if alpha.shape != size:
        found = f"{alpha.shape[1]}x{alpha.shape[0]}"
        raise bad_shape(source, entry, f"its picture is {found}, the image {size[1]}x{size[0]}")
    return Pixels(0, 0, alpha >= HALF)
