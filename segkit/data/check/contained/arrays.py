"""NumPy's files that belong together, as options of the data set `arrays`."""

import os
from pathlib import Path
from typing import Any

from segkit.data.check.contained.names import NamedPairs, pair_by_words
from segkit.data.check.find_layout import VAL_FRACTION, FoundLayout
from segkit.data.containers.arrays import find_labelled_arrays
from segkit.data.containers.parted_files import below
from segkit.data.decoding.arrays import ARCHIVE, ARRAY, list_members, read_head
from segkit.data.decoding.parts import Source
from segkit.data.files.file_patterns import STEM
from segkit.errors import DataError

#: Arrays that are looked into, each of which may hold many images; where there are more, each is one.
MOST = 64


def find_arrays(root: Path) -> FoundLayout | None:
    """The arrays of a folder in pairs; None where there is no pair. Raises DataError for arrays that do not match."""
    files = _list(root)
    found = _pair_folders(root, files) or _pair_arrays(root, files)
    if found is None:
        return None
    options: dict[str, Any] = {}
    pairs: dict[str, list[tuple[Source, Source]]] = {}
    for part, named in (("train", found.train), ("val", found.val)):
        if not named:
            continue
        images, labels = named[0]
        options |= {f"{part}_images": images, f"{part}_labels": labels}
        drawn = find_labelled_arrays(root, images, labels, key=part)
        pairs[part] = [(each.image, each.labels) for each in drawn]
    text = " and ".join(found.train[0])
    if not found.val:
        options["val_fraction"] = VAL_FRACTION
        text += (
            f"; nothing says which images validate: the last {VAL_FRACTION:.0%} do, which lie side by side"
        )
    return FoundLayout(options, text, pairs, without_mask=[], without_image=[], name="arrays")


def _list(root: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place) / name for name in sorted(names) if name[0] != "." and _is_array(name)]
    return found


def _is_array(name: str) -> bool:
    return Path(name).suffix.lower() in (ARRAY, ARCHIVE)


def _pair_folders(root: Path, files: list[Path]) -> NamedPairs[str] | None:
    """Folders with an array for each image and an array of the same name for its labels, as patterns."""
    folders: dict[Path, set[str]] = {}
    for path in files:
        if path.suffix == ARRAY:
            folders.setdefault(path.parent, set()).add(path.name)
    several = {folder: names for folder, names in folders.items() if len(names) > 1 and folder != root}
    found = pair_by_words((folder.relative_to(root).as_posix(), folder) for folder in several)
    train, val = (
        [
            (_pattern(root, images), _pattern(root, labels))
            for images, labels in pairs
            if several[images] == several[labels]
        ]
        for pairs in (found.train, found.val)
    )
    return NamedPairs(train, val, []) if train else None


def _pattern(root: Path, folder: Path) -> str:
    return f"{folder.relative_to(root).as_posix()}/{STEM}{ARRAY}"


def _pair_arrays(root: Path, files: list[Path]) -> NamedPairs[str] | None:
    """Arrays of many images with arrays of their labels."""
    named: list[tuple[str, str]] = []
    for path in files[:MOST]:
        text = path.relative_to(root).as_posix()
        try:
            for member in [None] if path.suffix.lower() == ARRAY else list_members(path):
                if len(read_head(path, member).shape) > 2:
                    key = below(path, root) + ("" if member is None else f"/{member}")
                    named.append((key, text if member is None else f"{text}#{member}"))
        except DataError:  # of one that cannot be used, its description says more
            continue
    found = pair_by_words(named)
    return found if found.train else None
