"""What was found in a folder without images and masks that belong together, and what makes it usable."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from segkit.data.check.contents.kinds import Kind, find_kind
from segkit.data.check.contents.scripts import mask_script
from segkit.system.printable import show_path

#: Files that are listed at most, files of which the first bytes are read at most, and the same for one kind of name.
MOST_FILES, MOST_READ, MOST_ALIKE = 100_000, 300, 4
#: Lines that are shown.
MOST_LINES = 12
#: Kinds of annotations in the order in which they are to be used, if there are several.
ORDER = (
    "panoptic", "coco", "labelme", "datumaro", "cvat", "label_studio", "label_me", "jsonl", "yolo", "objects",
    "nifti", "itk", "dicom", "hdf5", "zarr", "npz", "npy", "mat", "stack", "jp2", "table",
)  # fmt: skip
#: Folders in which nnU-Net keeps the channels of an image as files of its name.
CHANNELS = ("imagesTr", "imagesTs")
ZARR = (".zarray", ".zgroup", "zarr.json")


@dataclass
class _Group:
    """Files of one folder and one suffix that are alike."""

    kind: Kind
    first: Path
    count: int = 0


@dataclass(frozen=True)
class _Contents:
    """What lies in a folder: groups of files, Zarr stores, an example of masks of single objects, and whether there are
    more files than were looked at."""

    groups: list[_Group]
    stores: list[Path]
    objects: str
    cut: bool

    @property
    def names(self) -> set[str]:
        """The names of the kinds."""
        found = {group.kind.name for group in self.groups} | ({"zarr"} if self.stores else set())
        return found | ({"objects"} if self.objects else set())


def describe_contents(root: Path) -> tuple[list[str], str]:
    """Lines such as `labels.json: COCO annotations, 12 images, 3 categories, polygons`, and how to make masks of that.

    Files are told by their first bytes; only some of those of one folder and suffix are opened.
    """
    found = _look(root)
    lines = [_line(root, group) for group in sorted(found.groups, key=_rank)]
    lines = [f"{show_path(store.relative_to(root))}: Zarr arrays" for store in found.stores] + lines
    if found.objects:
        lines.insert(0, f"{found.objects}: a mask for each object of an image")
    if len(lines) > MOST_LINES:
        lines[MOST_LINES - 1 :] = [f"and files of {len(lines) - MOST_LINES + 1} more kinds"]
    if found.cut:
        lines.append(f"more than {MOST_FILES} files, of which the first were looked at")
    # What another tool has to export says so itself.
    told = any("->" in group.kind.text for group in found.groups)
    kinds = {group.kind.text for group in found.groups if group.kind.name == "image"}
    return lines or ["no file"], _advise(found.names, root, told=told, several=len(kinds) > 1)


def find_names(root: Path) -> list[str]:
    """The kinds of files that are in the folder, by name; annotations in the order in which they are to be used."""
    names = _look(root).names
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def _look(root: Path) -> _Contents:
    files, stores, cut = _list(root)
    groups = [group for group in _group(files) if group.kind.text != "text"]
    objects = _find_objects(
        [
            path
            for path in files
            if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif") and path.parent.name not in CHANNELS
        ]
    )
    return _Contents(groups, stores, objects, cut)


def _advise(names: set[str], root: Path, *, told: bool, several: bool) -> str:
    """The script for the annotations that say most; else what is missing."""
    chosen = next((name for name in ORDER if name in names), None)
    if chosen is not None:
        return mask_script(chosen, str(root))
    if told or "image" not in names:
        return ""
    if several:
        return "where some of these are masks: data.images and data.masks say which belong together"
    return "images alone cannot be trained on: draw masks, in CVAT or labelme"


def _list(root: Path) -> tuple[list[Path], list[Path], bool]:
    """The files below `root`, none hidden; the Zarr stores, which are folders; and whether there are more files."""
    files: list[Path] = []
    stores: list[Path] = []
    for place, folders, names in os.walk(root):
        if any(name in ZARR for name in names):
            stores.append(Path(place))
            folders[:] = []
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(place) / name for name in sorted(names) if not name.startswith(".")]
        if len(files) > MOST_FILES:
            return files[:MOST_FILES], stores, True
    return files, stores, False


def _group(files: list[Path]) -> Iterator[_Group]:
    """The files by folder, suffix and what the first of them turn out to be; the others are taken to be the same."""
    alike: dict[tuple[Path, str], list[Path]] = {}
    for path in files:
        alike.setdefault((path.parent, path.suffix.lower()), []).append(path)
    read = 0
    for paths in alike.values():
        found: dict[str, _Group] = {}
        for path in paths[:MOST_ALIKE]:
            if read >= MOST_READ:
                break
            read += 1
            kind = find_kind(path)
            group = found.setdefault(kind.name or kind.text, _Group(kind, path))
            group.count += 1
        if found:
            most = max(found.values(), key=lambda group: group.count)
            most.count += max(0, len(paths) - MOST_ALIKE)
        yield from found.values()


def _find_objects(images: list[Path]) -> str:
    """An example of files that are each one object of an image, such as im0_cat_1.png and im0_dog_2.png of im0.jpg."""
    stems = {path.stem for path in images}
    parts: dict[str, list[Path]] = {}
    for path in images:
        words = path.stem.split("_")
        found = (stem for n in range(len(words) - 1, 0, -1) if (stem := "_".join(words[:n])) in stems)
        for stem in found:
            parts.setdefault(stem, []).append(path)
            break
    several = [paths for paths in parts.values() if len(paths) > 1]
    if 2 * len(several) <= len(parts) or not several:
        return ""
    return f"{several[0][0].name}, {several[0][1].name}"


def _line(root: Path, group: _Group) -> str:
    more = f" and {group.count - 1} more" if group.count > 1 else ""
    return f"{show_path(group.first.relative_to(root))}{more}: {group.kind.text}"


def _rank(group: _Group) -> int:
    return ORDER.index(group.kind.name) if group.kind.name in ORDER else len(ORDER)
