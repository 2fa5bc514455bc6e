"""The `data:` block that reads COCO's JSON files, of outlines or panoptic ones."""

import heapq
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from segkit.data.annotations.coco.classes import list_classes
from segkit.data.annotations.coco.coco_file import CocoFile, open_coco
from segkit.data.annotations.coco.image_files import SeveralFolders, find_image_files
from segkit.data.annotations.coco.json_entries import JsonLists
from segkit.data.annotations.coco.part import mask_folders
from segkit.data.check.contents.kinds import find_kind
from segkit.data.check.file_facts import read_image_facts
from segkit.data.check.part_words import TRAIN, VAL
from segkit.data.files.file_patterns import SPLIT
from segkit.errors import DataError

#: The share that validates where there is one file.
VAL_FRACTION = 0.2
BACKGROUND = "background"
#: JSON files that are looked at, the largest: those of other tools may be thousands, one for each image.
MOST_FILES = 100


def propose_coco(root: Path) -> dict[str, Any] | None:
    """For panoptic files or files of outlines; of both, for those that have more objects: some tools write as panoptic
    what was drawn as masks, and leave the polygons out. Raises DataError for damaged files."""
    panoptic = _find_parts(root, _find_files(root, "segments_info", first="panoptic"))
    outlined = _find_parts(root, _find_files(root, "segmentation", first="instances"))
    if panoptic and (not outlined or _count(panoptic) >= _count(outlined)):
        return {"name": "coco_panoptic", **_say_parts(root, panoptic), **_say_masks(root, panoptic)}
    if not outlined:
        return None
    return {"name": "coco", **_say_parts(root, outlined), **_say_classes(open_coco(outlined["train"]))}


def _count(parts: Mapping[str, Path]) -> int:
    return sum(open_coco(parts["train"]).used)


def _say_masks(root: Path, parts: Mapping[str, Path]) -> dict[str, Any]:
    """Where the PNG files of panoptic files lie, if not where they are looked for."""
    pngs = {part: [name for name in open_coco(path).pngs or [] if name] for part, path in parts.items()}
    found = [
        any((p / pngs[part][0]).is_file() for p in mask_folders(path, root)) for part, path in parts.items()
    ]
    folder = None if all(found) else _search_all(root, pngs)
    return {} if folder is None else {"masks": folder}


def _find_files(root: Path, key: str, *, first: str) -> list[Path]:
    """The COCO files whose first annotation has this key; of them, those whose name begins with `first` if one does."""
    seen = (
        p
        for p in sorted(root.rglob("*.json"))
        if not any(w.startswith(".") for w in p.relative_to(root).parts)
    )
    largest = heapq.nlargest(MOST_FILES, seen, key=lambda path: path.stat().st_size)
    paths = [path for path in sorted(largest) if find_kind(path).name in ("coco", "panoptic")]
    paths = [path for path in paths if {key, "image_id"} <= set(_first_annotation(path))]
    return [path for path in paths if path.name.startswith(first)] or paths


def _first_annotation(path: Path) -> Any:
    return next((entry.value for entry in JsonLists(path) if entry.key == "annotations"), ())


def _find_parts(root: Path, files: Sequence[Path]) -> dict[str, Path]:
    """A file for each part, or the largest for both; none if there are none."""
    if not files:
        return {}
    train, val = (
        next((p for w in words for p in files if _says(p, root, w)), None) for words in (TRAIN, VAL)
    )
    if train is not None and val is not None:
        return {"train": train, "val": val}
    return {"train": train or max(files, key=lambda path: path.stat().st_size)}


def _say_parts(root: Path, parts: Mapping[str, Path]) -> dict[str, Any]:
    """Root, files and images."""
    options: dict[str, Any] = {"root": str(root), "train_annotations": _below(parts["train"], root)}
    val = (
        {"val_annotations": _below(parts["val"], root)} if "val" in parts else {"val_fraction": VAL_FRACTION}
    )
    return options | val | _say_images(root, parts)


def _says(path: Path, root: Path, word: str) -> bool:
    """Whether a word of the path begins with this one, with a year or nothing behind it."""
    words = re.split(r"[^a-z0-9]+", _below(path, root).lower())
    return any(re.fullmatch(rf"{word}\d*", other) for other in words)


def _say_images(root: Path, parts: Mapping[str, Path]) -> dict[str, Any]:
    """Where the images lie, if not where they are looked for, and their bands, if they are no colours."""
    names = {part: open_coco(path).names for part, path in parts.items()}
    options: dict[str, Any] = {}
    found: list[Path] = []
    try:
        for part, path in parts.items():
            found += find_image_files(names[part], root=root, source=path, folder=None, split=part)[0]
    except SeveralFolders:
        raise
    except DataError:  # they lie elsewhere
        folder = _search_all(root, names)
        if folder is None:
            return {}
        options["images"] = folder
        found = find_image_files(
            names["train"], root=root, source=parts["train"], folder=folder, split="train"
        )[0]
    first = next((path for path in found if path.is_file()), None)
    bands = 3 if first is None else read_image_facts(first).bands
    return options if bands == 3 else {**options, "channels": bands}


def _search_all(root: Path, names: Mapping[str, Sequence[str]]) -> str | None:
    """The folder in which the files of all parts lie, with {split} if they differ by that; None if there is none."""
    folders = {part: _search(root, each) for part, each in names.items()}
    texts = {None if folder is None else folder.replace(part, SPLIT) for part, folder in folders.items()}
    if len(set(folders.values())) == 1:
        return next(iter(folders.values()))
    return texts.pop() if len(texts) == 1 else None


def _search(root: Path, names: Sequence[str]) -> str | None:
    """The folder below the root in which most of the files lie as they are named, or, if none has any, without the
    folders in their names; None if there is none."""
    wanted: dict[str, list[tuple[str, ...]]] = {}
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        wanted.setdefault(parts[-1], []).append(parts[:-1])
    whole: Counter[Path] = Counter()
    alone: Counter[Path] = Counter()
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place).relative_to(root).parts
        for above in (above for name in files for above in wanted.get(name, ())):
            start = len(here) - len(above)
            if start >= 0 and here[start:] == above:
                whole[root.joinpath(*here[:start])] += 1
            alone[Path(place)] += 1
    best = (whole or alone).most_common(1)
    return _below(best[0][0], root) if best else None


def _say_classes(file: CocoFile) -> dict[str, Any]:
    """The classes, if a category only stands above the others, as Roboflow has one; another `ignore_index` for many."""
    above = {category.supercategory for category in file.categories}
    kept = [
        category
        for category, used in zip(file.categories, file.used, strict=True)
        if used or category.name not in above
    ]
    classes = list_classes(kept, {}, background=BACKGROUND, naming="name")
    options: dict[str, Any] = {} if len(kept) == len(file.categories) else {"classes": classes}
    return options if len(classes) <= 255 else {**options, "ignore_index": 65535}


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
