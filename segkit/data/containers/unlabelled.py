"""Images without labels in files that data sets of stacks, arrays, volumes and tables read: what predictions are of.

Where a file does not say how its numbers are laid out, the data does that a network was trained on.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from segkit.data.containers.array_layout import Trained, find_layout
from segkit.data.containers.table_columns import find_image_column
from segkit.data.containers.tables import PARQUET, SAVED, STATE, Table, list_cells, list_splits
from segkit.data.decoding.arrays import ARCHIVE, ARRAY, ArrayPart, list_members, read_head
from segkit.data.decoding.bands import join_bands
from segkit.data.decoding.opening import SUFFIXES
from segkit.data.decoding.pages import page_name, split_stack
from segkit.data.decoding.parts import Source
from segkit.data.decoding.volumes import AXES, cut, find_farthest, is_volume, read_volume_head
from segkit.data.files.validate import shorten
from segkit.errors import DataError
from segkit.system.printable import show_path

Kind = Literal["image", "stack", "array", "volume", "table"]
#: A channel of a case, as nnU-Net numbers them at the end of a name.
_CHANNEL = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class Unlabelled:
    """The images of one file, or of the files of one case: `names` are what results are called, beside which `stem` is
    what those of all together are; `place` is the file, in whose folder they go. `axis` is that across which a volume
    is cut (0, 1, 2: x, y, z)."""

    kind: Kind
    place: Path
    stem: str
    names: Sequence[str]
    images: Sequence[Source]
    axis: int | None = None


class _Case(NamedTuple):
    """What its results are called, and the files of its channels by number."""

    name: str
    channels: Mapping[int, Path]

    @property
    def files(self) -> list[Path]:
        """In the order of the channels."""
        return [self.channels[number] for number in sorted(self.channels)]


def find_unlabelled(source: Path, trained: Trained) -> list[Unlabelled]:
    """The images of a file, of an array in one (`all.npz#images`), or of what is below a folder, in the order of names.

    Of a folder with several kinds of files those are taken that the network was trained on, else images, volumes,
    arrays, tables, whichever there are. Raises DataError for a file that cannot be read, or where there is none.
    """
    if source.is_dir():
        return _find_below(source, trained)
    file, member = split_member(source)
    if not file.is_file():
        raise DataError(f"--source {source}: no such file or folder")
    if file.suffix == PARQUET:
        raise DataError(f"--source {source}: a table is read with its folder -> --source {file.parent}")
    if file.suffix.lower() in (ARRAY, ARCHIVE):
        return [_open_array(file, member, trained)]
    beside = sorted(path for path in file.parent.glob("*") if path.is_file())
    cases = _find_cases(beside if trained.name == "nnunet" else [file], trained)
    return [_open_case(case, trained) for case in cases if file in case.files]


def find_images(source: Path) -> list[Path]:
    """The image itself, or all image files below a folder in name order. Raises DataError if there is none."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"--source {source}: no such file or folder")
    found = [path for path in sorted(source.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not found:
        raise DataError(f"--source {source}: no images in it (looked for {', '.join(SUFFIXES)})")
    return found


def _find_below(root: Path, trained: Trained) -> list[Unlabelled]:
    has_tables = any((root / name).is_file() for name in (SAVED, STATE))
    paths = [path for path in sorted(root.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    images = [path for path in paths if path.suffix.lower() in SUFFIXES]
    arrays = [path for path in paths if path.suffix.lower() in (ARRAY, ARCHIVE)]
    volumes = [path for path in paths if is_volume(path)]
    has_tables = has_tables or any(path.suffix == PARQUET for path in paths)
    if has_tables and (trained.name == "hf" or not (images or arrays or volumes)):
        return _open_tables(root, trained)
    if arrays and (trained.name == "arrays" or not (images or volumes)):
        return [_open_array(path, None, trained) for path in arrays]
    chosen = volumes if volumes and (trained.name == "nnunet" or not images) else images
    if not chosen:
        raise DataError(
            f"--source {root}: no images in it (looked for {', '.join(SUFFIXES)}, {ARRAY}, {ARCHIVE}, {PARQUET} and "
            "volumes)"
        )
    return [_open_case(case, trained) for case in _find_cases(chosen, trained)]


def split_member(source: Path) -> tuple[Path, str | None]:
    """File and array of `all.npz#images`; a file may also be called like that."""
    if source.is_file():
        return source, None
    file, sign, member = str(source).rpartition("#")
    return (Path(file), member) if sign and file.lower().endswith(ARCHIVE) else (source, None)


def _stem_of(path: Path) -> str:
    """A name without its suffix, of volumes without both."""
    return path.name.removesuffix(is_volume(path)) if is_volume(path) else path.stem


def _find_cases(paths: Sequence[Path], trained: Trained) -> list[_Case]:
    """The files by image: of a network of nnU-Net's data those with the channels of a case together, NAME_0000 and so
    on. What is numbered without a first, such as the frames of a camera, are images of their own."""
    numbered: dict[tuple[Path, str, str], dict[int, Path]] = {}
    keys = {}
    for path in paths if trained.name == "nnunet" else ():
        stem = _stem_of(path)
        named = _CHANNEL.fullmatch(stem)
        if named is not None:
            keys[path] = (path.parent, named[1], path.name[len(stem) :])
            numbered.setdefault(keys[path], {})[int(named[2])] = path
    found = []
    for path in paths:
        files = numbered[keys[path]] if path in keys else {}
        if 0 not in files:
            found.append(_Case(_stem_of(path), {0: path}))
        elif files[0] == path:
            found.append(_Case(keys[path][1], files))
    return found


def _open_case(case: _Case, trained: Trained) -> Unlabelled:
    """The images of a file, or of files with a channel each. Raises DataError for channels that do not fit together."""
    stem, files = case.name, case.files
    first = files[0]
    if sorted(case.channels) != list(range(len(files))) or len(files) not in (1, trained.channels):
        there = shorten([f"_{number:04}" for number in sorted(case.channels)])
        raise DataError(
            f"case {show_path(stem)} has the channels {there} in "
            f"{show_path(first.parent)}, and the weights were trained on {trained.channels}\n"
            "   -> if they are images of their own, call them otherwise"
        )
    if is_volume(first):
        return _open_volumes(files, stem, trained)
    pages = [split_stack(path) for path in files]
    counts = {len(found) for found in pages}
    if len(counts) > 1:
        raise DataError(
            f"case {show_path(stem)}: {shorten([path.name for path in files])} differ in pages: "
            f"{shorten([len(found) for found in pages])}"
        )
    if not pages[0]:
        return Unlabelled("image", first, stem, [stem], [join_bands(files)])
    count = len(pages[0])
    names = [page_name(first.with_name(f"{stem}{first.suffix}"), number, count) for number in range(count)]
    return Unlabelled("stack", first, stem, names, [join_bands(each) for each in zip(*pages, strict=True)])


def _open_volumes(files: Sequence[Path], stem: str, trained: Trained) -> Unlabelled:
    heads = [read_volume_head(path) for path in files]
    for path, head in zip(files, heads, strict=True):
        if head.shape != heads[0].shape:
            sizes = ["x".join(map(str, each.shape)) for each in (heads[0], head)]
            raise DataError(
                f"case {show_path(stem)}: {files[0].name} and {path.name} differ in voxels: {' and '.join(sizes)}"
            )
    if len(files) == 1 and trained.name == "nnunet" and trained.channels > 1:
        raise DataError(
            f"case {show_path(stem)} has one channel, {show_path(files[0])}, and the weights were trained on "
            f"{trained.channels} -> the others beside it, called {stem}_0001 and so on"
        )
    axis = trained.options.get("axis", "auto") if trained.name == "nnunet" else "auto"
    across = find_farthest([heads[0].spacing]) if axis == "auto" else 2 - AXES.index(axis)
    slices = [cut(path, across) for path in files]
    return Unlabelled(
        "volume",
        files[0],
        stem,
        _number(stem, len(slices[0])),
        [join_bands(each) for each in zip(*slices, strict=True)],
        across,
    )


def _open_array(path: Path, member: str | None, trained: Trained) -> Unlabelled:
    """The images of an array: one, or one in every entry. Raises DataError where that cannot be told."""
    if path.suffix.lower() == ARCHIVE and member is None:
        there = list_members(path)
        known = (
            str(trained.options.get("train_images", "")).rpartition("#")[2]
            if trained.name == "arrays"
            else ""
        )
        member = there[0] if len(there) == 1 else known
        if member not in there:
            raise DataError(
                f"--source {path}: which of its arrays? -> --source {path}#NAME with one of {shorten(there)}"
            )
    shape = read_head(path, member).shape
    one, axis = find_layout(shape, show_path(f"{path}#{member}" if member else path), trained)

    def part(row: int | None) -> ArrayPart:
        rowed = "" if row is None else str(row)
        key = rowed if member is None else f"{member}[{row}]" if rowed else member
        return ArrayPart(path, key, member, row, axis)

    if one:
        return Unlabelled("array", path, path.stem, [path.stem], [part(None)])
    return Unlabelled(
        "array", path, path.stem, _number(path.stem, shape[0]), [part(row) for row in range(shape[0])]
    )


def _open_tables(root: Path, trained: Trained) -> list[Unlabelled]:
    """The rows of every split, those without labels too."""
    options = trained.options if trained.name == "hf" else {}
    config = options.get("config")
    found = []
    for split, files in list_splits(root, config).items():
        table = Table(root, split, config)
        column = find_image_column(table, options.get("image_column"), options.get("label_column"))
        cells = list_cells(table, files, column)
        names = [f"{split}_{number:06}" for number in range(len(cells))]
        found.append(Unlabelled("table", root / split, split, names, cells))
    return found


def _number(stem: str, count: int) -> list[str]:
    digits = max(3, len(str(count - 1)))
    return [f"{stem}_{number:0{digits}}" for number in range(count)]
