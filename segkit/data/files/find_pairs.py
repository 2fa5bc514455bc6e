"""Images and masks on disk, brought together by name or by a list."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from segkit.data.decoding.opening import SUFFIXES
from segkit.data.files.compact import STEM, Paths, Texts
from segkit.data.files.file_lists import FileList, find_listed_file
from segkit.data.files.file_patterns import FilePattern, FoundFiles, Watch, ignore, write_option
from segkit.data.files.validate import shorten
from segkit.errors import DataError


@dataclass(frozen=True)
class Pairs:
    """Name, image and mask of every sample, where its weights belong if known, and what somebody should know."""

    names: Texts
    images: Paths
    masks: Paths
    weights: Paths | None = None
    notes: list[str] = field(default_factory=list)

    def take(self, places: np.ndarray) -> "Pairs":
        """The samples at these places."""
        names = self.names.take(places)
        # Where the paths are the names in a pattern, they are so without texts of their own.
        kept = [
            paths.take(places, names if paths.stems is self.names else None)
            for paths in (self.images, self.masks)
        ]
        return replace(self, names=names, images=kept[0], masks=kept[1])


def pair_by_name(
    images: FilePattern,
    masks: FilePattern,
    *,
    others: Sequence[FilePattern] = (),
    listed: FileList | None = None,
    skip_unlabelled: bool = False,
    watch: Watch = ignore,
) -> Pairs:
    """The images that are there, or those of a list, with the masks of the same stem.

    `others` describe files that are neither. With `skip_unlabelled`, images without mask are left out, and noted.
    `watch` is told of the folders that were searched. Raises DataError for an empty set, images without mask and names
    in the list without image.
    """
    found = images.find([masks, *others], watch)
    if not found:
        raise DataError(_describe_empty(images))
    labels = masks.find([images, *others], watch)
    stems = sorted(found) if listed is None else _choose_listed(found, images, listed)
    notes = []
    without_mask = [stem for stem in stems if stem not in labels]
    if without_mask and skip_unlabelled and len(without_mask) < len(stems):
        first = images.shown(found.path_of(without_mask[0]))
        are = "are" if len(without_mask) > 1 else "is"
        notes.append(f"{_count(without_mask, 'image')} no mask and {are} left out: {first}")
        stems = [stem for stem in stems if stem in labels]
    elif without_mask:
        stem = without_mask[0]
        hint = _describe_similar(stem, found, labels, masks)
        if not hint and len(without_mask) < len(stems):
            hint = "\n   or leave such images out: data.unlabelled=skip"
        raise DataError(
            f"{_count(without_mask, 'image')} no mask: {images.shown(found.path_of(stem))} -> expected "
            f"{masks.shown(_with_suffix(masks.path_of(stem)))}{hint}"
        )
    # Masks that lie together with those of the other part have their images there.
    if listed is None and masks.divides == images.divides and len(labels) > len(stems):
        unused = sorted(labels.codes.keys() - set(stems))
        notes.append(f"{_count(unused, 'mask')} no image: {masks.shown(labels.path_of(unused[0]))}")
    names = Texts.of(stems)
    return Pairs(names, found.paths(names), labels.paths(names), notes=notes)


def pair_by_list(root: Path, listed: FileList, watch: Watch = ignore) -> Pairs:
    """The images and masks that a list of pairs names; a sample is called like its image. `watch` is told of the
    folders they lie in. Raises DataError."""
    images: list[Path] = []
    masks: list[Path] = []
    lines: dict[str, int] = {}
    watched: set[Path] = set()
    for entry in listed.entries:
        where = f"{listed.path}:{entry.line}"
        image = find_listed_file(entry.image, root, where=where)
        _note_line(lines, image.relative_to(root).with_suffix("").as_posix(), listed, entry.line)
        images.append(image)
        masks.append(find_listed_file(entry.mask or "", root, where=where))
        for folder in {image.parent, masks[-1].parent} - watched:
            watched.add(folder)
            watch(folder)
    return Pairs(Texts.of(lines), Paths.of(images), Paths.of(masks))


def describe_folders(root: Path) -> str:
    """What a folder with the expected names would be compared with: the folders two levels deep."""
    found = sorted(path.relative_to(root).as_posix() for path in _folders(root))
    return f"which has {shorten(found, most=8)}" if found else "which has no folders"


def _choose_listed(found: FoundFiles, images: FilePattern, listed: FileList) -> list[str]:
    """The stems of the images that a list names by stem, by file name or by path, in the order of the list."""
    lines: dict[str, int] = {}
    missing = []
    for entry in listed.entries:
        stem = _find_stem(entry.image.replace("\\", "/"), found, images)
        if stem is None:
            missing.append(entry)
            continue
        _note_line(lines, stem, listed, entry.line)
    if missing:
        entry = missing[0]
        others = f" ({len(missing)} of the {len(listed.entries)} names have none)" if len(missing) > 1 else ""
        if Path(entry.image).suffix.lower() in SUFFIXES:
            expected = f"not in {images.folder}"
        else:
            expected = f"expected {images.shown(_with_suffix(images.path_of(entry.image)))}"
        raise DataError(
            f"{listed.path}:{entry.line}: no image {entry.image!r}{others}: {expected}"
            f"{_describe_case(entry.image, found, images)}"
        )
    return list(lines)


def _find_stem(text: str, found: FoundFiles, images: FilePattern) -> str | None:
    if text in found:
        return text
    for path in (images.folder / text, images.root / text.lstrip("/")):
        stem = images.stem_of(path)
        if stem is not None and stem in found and found.path_of(stem).suffix.lower() == path.suffix.lower():
            return stem
    return None


def _note_line(lines: dict[str, int], name: str, listed: FileList, line: int) -> None:
    if name in lines:
        raise DataError(f"{listed.path}:{line}: {name} stands on line {lines[name]} already -> remove one")
    lines[name] = line


def _describe_empty(images: FilePattern) -> str:
    if images.names_files:
        return f"no images {_with_suffix(images.path_of('*'), '')}"
    names = (path.name for path in images.folder.iterdir() if path.is_file())
    others = sorted(name for name in names if not name.startswith("."))
    instead = f"; there are {shorten(others, most=3)}" if others else ""
    return f"no images in {images.folder} ({', '.join(SUFFIXES)}){instead}"


def _describe_similar(stem: str, found: FoundFiles, labels: FoundFiles, masks: FilePattern) -> str:
    """The mask that an image without one was probably meant to have, and how to say so."""
    case = _describe_case(stem, labels, masks)
    if case:
        return case
    name = _as_word(stem.rpartition("/")[2])
    taken = {*found.paths(list(found)), *labels.paths([other for other in labels if other in found])}
    similar = [path for path in masks.list_folder() if path not in taken and re.search(name, path.stem)]
    if not similar:
        return ""
    pattern = masks.with_file(re.sub(name, STEM, similar[0].name))
    return f"\n   there is {masks.shown(similar[0])} -> {write_option(masks.key, pattern)}"


def _as_word(name: str) -> str:
    """An expression for `name` that is no part of a longer number or word: 1 is not in 10."""
    before, after = (r"\d" if edge.isdigit() else r"[^\W\d_]" for edge in (name[0], name[-1]))
    return f"(?<!{before}){re.escape(name)}(?!{after})"


def _describe_case(stem: str, found: FoundFiles, pattern: FilePattern) -> str:
    same = sorted(other for other in found if other.lower() == stem.lower())
    return (
        f"\n   there is {pattern.shown(found.path_of(same[0]))}: upper and lower case must agree"
        if same
        else ""
    )


def _folders(root: Path) -> Iterable[Path]:
    for folder in root.iterdir():
        if folder.is_dir() and not folder.name.startswith("."):
            below = [path for path in folder.iterdir() if path.is_dir()]
            yield from below or [folder]


def _count(files: Collection[str], what: str) -> str:
    return f"{len(files)} {what}s have" if len(files) > 1 else f"1 {what} has"


def _with_suffix(path: Path, suffix: str = ".png") -> Path:
    return path if path.suffix.lower() in SUFFIXES else path.with_name(path.name + suffix)
