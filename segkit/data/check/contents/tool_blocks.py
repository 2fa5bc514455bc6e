"""The `data:` blocks that read what labelme, YOLO, CVAT and Label Studio save, by what their files hold."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from segkit.data.annotations.tools.cvat_xml import CvatFile, read_cvat
from segkit.data.annotations.tools.label_studio_json import labels_of, read_tasks
from segkit.data.annotations.tools.labelme_json import LabelmeFile, labels_in, read_labelme
from segkit.data.annotations.tools.names import BACKGROUND, classes_of
from segkit.data.annotations.tools.parts import is_there, walk_files, walk_images
from segkit.data.check.part_words import find_parts, part_options
from segkit.data.datasets.tools.cvat import classes_of_labels
from segkit.data.datasets.tools.label_studio import find_export, find_image
from segkit.data.datasets.tools.labelme import OWN_NAMES
from segkit.data.datasets.tools.yolo import DATA_FILE, NAMES_FILE, classes_of_file, find_data_file, read_file
from segkit.errors import DataError

#: The share that validates where nothing says which images do.
VAL_FRACTION = 0.2
#: Shapes that cover pixels only with a width, and the width that labelme's own tools draw them with.
THIN, LABELME_WIDTH = ("line", "linestrip", "point", "points", "polyline"), 10
IMAGE_KEY = "image"


def propose_labelme(root: Path) -> dict[str, Any] | None:
    """The block for labelme's JSON files; None if none of the JSON files is one."""
    files = dict(_labelme_files(root))
    if not files:
        return None
    place = _find_split([path.relative_to(root).parts[:-1] for path in files])
    options: dict[str, Any] = part_options(None if place is None else place[1], VAL_FRACTION)
    if place is not None and place[0]:
        options = {"labels": "/".join([*place[0], "{split}"]), **options}
    kinds = {
        shape.get("shape_type") for file in files.values() for shape in file.shapes if isinstance(shape, dict)
    }
    if kinds & set(THIN):
        options["line_width"] = LABELME_WIDTH
    classes = classes_of({label for file in files.values() for label in labels_in(file)}, OWN_NAMES)
    return {"name": "labelme", "root": str(root), **options, "classes": classes}


def propose_yolo(root: Path) -> dict[str, Any] | None:
    """The block for YOLO's polygons; None if no data.yaml says what the classes are."""
    try:
        path = find_data_file(root, None)
    except DataError:
        return None
    file = read_file(path)
    parts = find_parts(file.parts)
    named = {} if path.name in (DATA_FILE, NAMES_FILE) else {"data_file": path.name}
    options = {**named, **part_options(parts, VAL_FRACTION)}
    return {"name": "yolo", "root": str(root), **options, "classes": classes_of_file(file, {}, BACKGROUND)}


def propose_cvat(root: Path) -> dict[str, Any] | None:
    """The block for CVAT's XML; None if its files cannot be told apart as parts."""
    files = dict(_cvat_files(root))
    names = [path.relative_to(root).as_posix() for path in files]
    if len(names) == 1:
        subsets = {image.subset for file in files.values() for image in file.images} - {""}
        named = {} if names[0] == "annotations.xml" else {"annotations": names[0]}
        options = {**named, **part_options(find_parts(subsets), VAL_FRACTION)}
    else:
        place = _find_split([tuple(name[: -len(".xml")].split("/")) for name in names])
        if place is None:
            return None
        before, parts = place
        pattern = _pattern(names, before, parts)
        if pattern is None:
            return None
        options = {"annotations": pattern, **part_options(parts, VAL_FRACTION)}
    if any(drawn.tag in THIN for file in files.values() for image in file.images for drawn in image.drawn):
        options["line_width"] = 0
    labels = list(dict.fromkeys(label for file in files.values() for label in file.labels))
    return {
        "name": "cvat",
        "root": str(root),
        **options,
        "classes": classes_of_labels(labels, {}, BACKGROUND),
    }


def propose_label_studio(root: Path) -> dict[str, Any] | None:
    """The block for Label Studio's JSON; None if it is not the only JSON file."""
    try:
        name = find_export(root)
    except DataError:
        return None
    tasks = [task for task in read_tasks(root / name, IMAGE_KEY) if task.annotations]
    folders = sorted({path.parent for path in walk_images(root)})
    found = [
        folder for folder in (root, *folders) if all(is_there(find_image(task, folder)) for task in tasks)
    ]
    images = found[0].relative_to(root).as_posix() if found else "."
    options = {} if images == "." else {"images": images}
    labels = {label for task in tasks for annotation in task.annotations for label in labels_of(annotation)}
    return {
        "name": "label_studio",
        "root": str(root),
        **options,
        "val_fraction": VAL_FRACTION,
        "classes": classes_of(labels),
    }


def _labelme_files(root: Path) -> Iterator[tuple[Path, LabelmeFile]]:
    for path in walk_files(root, (".json",)):
        try:
            yield path, read_labelme(path)._replace(data=None)
        except DataError:  # another file, or a damaged one, which the check of the data set reports
            continue


def _cvat_files(root: Path) -> Iterator[tuple[Path, CvatFile]]:
    for path in walk_files(root, (".xml",)):
        head = path.read_bytes()[:4096]
        if b"<annotations" in head:
            yield path, read_cvat(path)


def _find_split(paths: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], tuple[str, str]] | None:
    """The folders above those of both parts, and what these are called: `("labels",), ("train", "val")`."""
    below: dict[tuple[str, ...], set[str]] = {}
    for parts in paths:
        for place, name in enumerate(parts):
            below.setdefault(parts[:place], set()).add(name)
    for before in sorted(below, key=len):
        found = find_parts(below[before])
        if found is not None:
            return before, found
    return None


def _pattern(names: list[str], before: tuple[str, ...], parts: tuple[str, str]) -> str | None:
    """The name of the file of a part with {split} for it; None if the parts' files differ otherwise."""
    start = "/".join([*before, ""]) if before else ""
    ends = [
        {name.removeprefix(start + part) for name in names if name.startswith(start + part)} for part in parts
    ]
    return f"{start}{{split}}{min(ends[0])}" if len(ends[0]) == 1 and ends[0] == ends[1] else None
