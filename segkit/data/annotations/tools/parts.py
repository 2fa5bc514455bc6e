"""Files of a data set below its folder, and which of them belong to a part of it."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from segkit.data.decoding.opening import SUFFIXES
from segkit.data.files.divide import choose_validation
from segkit.data.files.file_patterns import SPLIT
from segkit.errors import DataError
from segkit.system.printable import show_path

T = TypeVar("T")


def walk_files(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """All files below a folder with one of the suffixes (small letters), sorted folder by folder, none hidden."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes:
                yield Path(place, name)


def walk_images(folder: Path) -> Iterator[Path]:
    """All image files below a folder, none hidden."""
    return walk_files(folder, SUFFIXES)


def folder_of_part(root: Path, pattern: str, part: str, *, key: str) -> Path:
    """The folder that the option `key` names for a part, where {split} stands for it. Raises DataError if there is
    none."""
    folder = root / pattern.replace(SPLIT, part)
    if not folder.is_dir():
        raise DataError(
            f"no folder {show_path(folder)}\n   -> {key} says where the annotations are ({SPLIT} stands for the part); "
            "with one folder for both parts: data.val_fraction=0.2"
        )
    return folder


def divided(
    items: Sequence[T],
    name_of: Callable[[T], str],
    split: str,
    *,
    fraction: float | None,
    seed: int,
    group: str | None,
) -> list[T]:
    """The items of a part: all, or those whose names fall into it where a `fraction` of all validates."""
    if fraction is None:
        return list(items)
    chosen = choose_validation([name_of(item) for item in items], fraction=fraction, seed=seed, group=group)
    return [item for item in items if (name_of(item) in chosen) == (split == "val")]


def name_below(path: Path, folder: Path) -> str:
    """What a sample of that file is called: its path below the folder without suffix, or its own name."""
    shown = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
    return shown.with_suffix("").as_posix()


def resolved(folder: Path, name: str) -> Path:
    """The file that `name` means, seen from `folder`, without the `..` in between. Raises DataError for no name at
    all."""
    if "\0" in name:
        raise DataError(f"{show_path(name)} is no name of a file")
    return Path(os.path.normpath(folder / name))


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder. Of a name that is too long for one, there is none."""
    try:
        return path.exists()
    except OSError:
        return False
