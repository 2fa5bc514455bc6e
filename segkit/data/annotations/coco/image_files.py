"""Where the images lie that a file names."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from segkit.data.files.file_patterns import SPLIT
from segkit.data.files.validate import shorten
from segkit.data.loading.spread import spread
from segkit.errors import DataError
from segkit.system.printable import show_path

#: Names of a file that are looked for in each folder that may be meant.
TRIED = 50
#: Folders below the root in which images lie, and those of a part, with {split} for what its folder is called.
FOLDERS = ("", "images", "data")
PART_FOLDERS = ("images/{split}", "{split}", "{split}/images", "leftImg8bit/{split}")
#: How Cityscapes' own script for panoptic files (createPanopticImgs) calls an image. The file is called CITY_..., in a
#: folder of the city, without _gtFine.
_CITYSCAPES = re.compile(r"(([^_/]+)_\d{6}_\d{6})_gt(?:Fine|Coarse)(_leftImg8bit\.png)")

#: Why a folder may be meant: the JSON file lies there or its name says so, it is a usual one, or that of the part.
Place = Literal["named", "usual", "part"]


class SeveralFolders(DataError):
    """Images of one name in several folders, of which nobody says which are meant."""


def find_image_files(
    names: Sequence[str], *, root: Path, source: Path, folder: str | None, split: str
) -> tuple[list[Path], list[str]]:
    """The files that `names` are, in the folder below `root` that most of them are in, and notes on those that are not
    there.

    source   the JSON file that names them
    folder   the option `images`: the folder, in which {split} becomes `split`; None to look where they usually are
    Raises DataError if there are none, where two names are one file, and SeveralFolders.
    """
    asked = [names[n] for n in spread(len(names), TRIED)]
    candidates = _candidates(root, source, folder, split)
    places = list(candidates)
    ways = [(place, form) for form in (_whole, _last, _of_city) for place in places]
    there = [sum((place / form(name)).is_file() for name in asked) for place, form in ways]
    best = max(range(len(ways)), key=lambda n: there[n])
    if not there[best] and asked:
        looked = [
            show_path(place.relative_to(root)) if place != root else "." for place in places if place.is_dir()
        ]
        raise DataError(
            f"no images of {show_path(source)}: {show_path(asked[0])} is not in {shorten(looked, most=6) or root}\n"
            "   -> data.images=FOLDER, in which they lie as the file names them"
        )
    place, form = ways[best]
    alike = [other for n, (other, its) in enumerate(ways) if its is form and there[n] == there[best] > 0]
    _refuse_several(place, alike, candidates, [form(name) for name in asked], source=source, root=root)
    paths = [place / form(name) for name in names]
    _refuse_equal(paths, names, source=source, root=root)
    return paths, _find_missing(paths, root)


def sample_names(names: Sequence[str]) -> list[str]:
    """What samples are called: the files' names without suffix, unless two would be called the same."""
    whole = [_whole(name).lstrip("/") for name in names]
    short = [os.path.splitext(name)[0] for name in whole]
    return short if len(set(short)) == len(short) else whole


def _candidates(root: Path, source: Path, folder: str | None, split: str) -> dict[Path, Place]:
    """The folders that may be meant in the order in which they are to be taken, and why."""
    if folder is not None:
        return {root / folder.replace(SPLIT, split): "named"}
    # By its name first, since a part may also be read from the file of another one: instances_test.json.
    _, _, after = source.stem.partition("_")
    words = [after, source.stem, *source.stem.split("_")[::-1]]
    found: dict[Path, Place] = {source.parent: "named"}
    for text in FOLDERS[:2]:
        found.setdefault(root / text, "usual")
    for name, why in (*((word, "named") for word in words if word), (split, "part")):
        for text in PART_FOLDERS:
            found.setdefault(root / text.replace(SPLIT, name), why)
    found.setdefault(root / FOLDERS[2], "usual")
    return found


def _refuse_several(
    place: Path,
    alike: Sequence[Path],
    candidates: Mapping[Path, Place],
    names: Sequence[str],
    *,
    source: Path,
    root: Path,
) -> None:
    """Raises SeveralFolders where another folder has other files of the same names, such as masks, unless it is that of
    the part and the JSON file names this one."""
    for other in alike:
        is_meant = candidates[other] != "part" or candidates[place] != "named"
        if is_meant and _differ(place, other, names):
            one, two = (
                show_path(each.relative_to(root) if each.is_relative_to(root) else each)
                for each in (place, other)
            )
            raise SeveralFolders(
                f"images of {show_path(source)} in two folders: {one} and {two} have files of their names, which are "
                f"not the same\n   -> data.images={two}, or {one}"
            )


def _differ(one: Path, two: Path, names: Sequence[str]) -> bool:
    """Whether two folders have other files of these names: by their sizes, and by the content of the first."""
    both = [(one / name, two / name) for name in names if (one / name).is_file() and (two / name).is_file()]
    if any(first.stat().st_size != second.stat().st_size for first, second in both):
        return True
    return bool(both) and both[0][0].read_bytes() != both[0][1].read_bytes()


def _whole(name: str) -> str:
    """A file's name as a path."""
    return name.replace("\\", "/")


def _last(name: str) -> str:
    """The same without its folders, which may be those of another machine."""
    return PurePosixPath(_whole(name)).name


def _of_city(name: str) -> str:
    """Where a file of Cityscapes' lies that its panoptic files call otherwise; any other name as it is."""
    return _CITYSCAPES.sub(r"\2/\1\3", _whole(name))


def _refuse_equal(paths: Sequence[Path], names: Sequence[str], *, source: Path, root: Path) -> None:
    """Raises DataError where a file would have the labels of two images: their names differ by their folders alone."""
    seen: dict[Path, str] = {}
    for path, name in zip(paths, names, strict=True):
        if path in seen:
            shown = path.relative_to(root) if path.is_relative_to(root) else path
            raise DataError(
                f"two images of {show_path(source)} are one file: {show_path(seen[path])} and {show_path(name)} are "
                f"both {show_path(shown)}\n   -> data.images=FOLDER, in which they lie as the file names them"
            )
        seen[path] = name


def _find_missing(paths: Sequence[Path], root: Path) -> list[str]:
    """A note on files that are not there; each folder is listed once."""
    present: dict[str, set[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in present:
            present[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if name not in present[folder]:
            missing.append(path)
    if not missing:
        return []
    count = f"{len(missing)} of the {len(paths)} images are" if len(missing) > 1 else "1 image is"
    shown = missing[0].relative_to(root) if missing[0].is_relative_to(root) else missing[0]
    return [f"{count} not there: {show_path(shown)}"]
