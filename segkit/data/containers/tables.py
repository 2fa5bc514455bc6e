"""Data sets of Hugging Face's: folders of parquet files, and what `save_to_disk` writes, read by their own library.

Only what is looked at is decoded, and not by that library: an image that a cell holds is read like a file.
"""

import hashlib
import io
import json
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from segkit.data.decoding.parts import Stored
from segkit.errors import DataError
from segkit.system.printable import show_name, show_path

#: Files that `save_to_disk` writes for several splits, and for one.
SAVED, STATE = "dataset_dict.json", "state.json"
PARQUET = ".parquet"
#: The names of classes by value, as the models of the hub have them.
ID2LABEL = "id2label.json"
#: What the split that validates is called, the usual name first.
VALIDATION = ("validation", "val", "valid", "dev", "test")
#: What columns of images and of labels are usually called.
IMAGE_WORDS = ("image", "images", "img", "pixel_values", "photo", "input", "picture")
LABEL_WORDS = (
    "label", "labels", "annotation", "annotations", "mask", "masks", "segmentation", "segmentation_mask", "seg",
    "semantic_segmentation", "gt", "target", "label_map",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """One split of a data set: `config` is the name that the hub gives one of several in a folder."""

    root: Path
    split: str
    config: str | None = None


@dataclass(frozen=True, slots=True)
class Cell(Stored):
    """The image that a cell of a table holds, encoded as in an image file; `file` is the shard that has the row."""

    table: Table
    column: str
    row: int

    def open(self, mode: str = "rb") -> BinaryIO:
        """The bytes of the image."""
        state = self.file.stat()
        return io.BytesIO(_read_cell(self, (state.st_size, state.st_mtime_ns)))


def list_splits(root: Path, config: str | None = None) -> dict[str, list[Path]]:
    """The files of each split, in the order of their rows. Raises DataError for a folder without tables."""
    if (root / SAVED).is_file():
        return {split: _saved_files(root / split) for split in _read_json(root / SAVED)["splits"]}
    if (root / STATE).is_file():
        return {"train": _saved_files(root)}
    if next(root.rglob(f"*{PARQUET}"), None) is None:
        raise DataError(f"no {SAVED}, {STATE} nor {PARQUET} files in {show_path(root)}")
    with _library(root) as datasets:
        found = datasets.load_dataset_builder(str(root), name=config).config.data_files
        return {str(split): [Path(str(file)) for file in files] for split, files in found.items()}


def read_features(table: Table) -> dict[str, Any]:
    """The columns with their types. Raises DataError for a split that is not there, or cannot be read."""
    return dict(_open(table).features)


def image_columns(features: Mapping[str, Any]) -> list[str]:
    """The columns that hold images, or say nothing of their bytes and paths but that they are such."""
    return [
        name
        for name, feature in features.items()
        if type(feature).__name__ == "Image"
        or (isinstance(feature, dict) and feature.keys() == {"bytes", "path"})
    ]


def find_columns(table: Table, image: str | None, label: str | None) -> tuple[str, str]:
    """The columns of images and of labels: those that are named, or else told by type and name. Raises DataError."""
    features = read_features(table)
    images = image_columns(features)
    for key, name in (("image_column", image), ("label_column", label)):
        if name is not None and name not in images:
            what = f"is of type {features[name]}" if name in features else "is not there"
            raise DataError(f"data.{key}={name}: {what}; columns of images: {_show(images)}")
    labels = [name for name in images if name.lower() in LABEL_WORDS and name != image]
    found_label = label or (labels[0] if len(labels) == 1 else None)
    others = [name for name in images if name != found_label]
    usual = [name for name in others if name.lower() in IMAGE_WORDS]
    found_image = image or next((each[0] for each in (others, usual) if len(each) == 1), None)
    if found_image is None or found_label is None:
        raise DataError(
            f"which columns of {show_path(table.root)} are images, and which their labels? of images there are: "
            f"{_show(images)}; others: {_show([name for name in features if name not in images])}\n"
            "   -> data.image_column=NAME data.label_column=NAME"
        )
    return found_image, found_label


def find_image_column(table: Table, image: str | None, label: str | None) -> str:
    """The column of images where none of labels need be: the one that is named, or else the only one that is not of
    labels by its name, or has a usual one. Raises DataError."""
    images = image_columns(read_features(table))
    if image is not None:
        if image not in images:
            raise DataError(
                f"no column {image!r} of images, on which the weights were trained, in {show_path(table.root)}, "
                f"{table.split}; there are: {_show(images)}"
            )
        return image
    others = [name for name in images if name != label and name.lower() not in LABEL_WORDS]
    usual = [name for name in others if name.lower() in IMAGE_WORDS]
    found = next((each[0] for each in (others, usual) if len(each) == 1), None)
    if found is None:
        raise DataError(
            f"which column of {show_path(table.root)}, {table.split}, are the images? of images there are: "
            f"{_show(images)} -> leave one, or train with data.image_column=NAME"
        )
    return found


def find_names(table: Table) -> dict[int, str] | None:
    """The names of the classes by value: of id2label.json, or of the only column that lists classes; None if neither
    says them. Raises DataError for a file that cannot be used."""
    path = table.root / ID2LABEL
    if path.is_file():
        names = _read_json(path)
        if not isinstance(names, dict) or not all(re.fullmatch("[0-9]+", str(key)) for key in names):
            raise DataError(f'{show_path(path)}: expected {{"0": NAME, "1": NAME ...}}')
        wrong = [key for key, name in names.items() if type(name) not in (str, int) or not str(name).strip()]
        if wrong:
            raise DataError(
                f"{show_path(path)}: {wrong[0]!r}: expected the name of a class, got {names[wrong[0]]!r}"
            )
        if len(names) < 2 or len({int(key) for key in names}) < len(names):
            raise DataError(f"{show_path(path)}: expected at least 2 classes, each once")
        return {int(key): str(name) for key, name in sorted(names.items(), key=lambda item: int(item[0]))}
    listed = [
        feature.feature.names
        for feature in read_features(table).values()
        if type(getattr(feature, "feature", None)).__name__ == "ClassLabel"
    ]
    return dict(enumerate(listed[0])) if len(listed) == 1 else None


def list_cells(table: Table, files: Sequence[Path], column: str) -> list[Cell]:
    """The images of a column. Raises DataError for files that cannot be read."""
    cells: list[Cell] = []
    for path in files:
        first = len(cells)
        cells += [
            Cell(path, f"{column}[{row}]", table, column, row)
            for row in range(first, first + _count_rows(path, _state(path)))
        ]
    if len(cells) != len(_open(table)):
        raise DataError(
            f"cannot read {show_path(table.root)}: {table.split} has {len(_open(table))} rows, its files {len(cells)}"
        )
    return cells


def _show(names: Sequence[str]) -> str:
    return ", ".join(show_name(name) for name in names) or "none"


@lru_cache(maxsize=4)  # header and pixels are asked for one after the other
def _read_cell(cell: Cell, state: tuple[int, int]) -> bytes:
    value = _open_column(cell.table, cell.column, state)[cell.row][cell.column]
    if value is None:
        raise DataError(f"cannot read {show_path(cell)}: the cell is empty")
    if value.get("bytes") is not None:
        return value["bytes"]
    path = cell.table.root / str(value["path"])
    if not path.is_file():
        raise DataError(
            f"cannot read {show_path(cell)}: it names {show_path(path)}, and there is no such file"
        )
    return path.read_bytes()


@lru_cache(maxsize=16)
def _open_column(table: Table, column: str, state: tuple[int, int]) -> Any:
    with _library(table.root) as datasets:
        return _open(table).select_columns([column]).cast_column(column, datasets.Image(decode=False))


def _open(table: Table) -> Any:
    files = list_splits(table.root, table.config)
    if table.split not in files:
        raise DataError(
            f"no split {table.split!r} in {show_path(table.root)}; there are: {_show(list(files))}"
        )
    paths = tuple(files[table.split])
    return _open_files(table, paths, tuple(map(_state, paths)))


def _state(path: Path) -> tuple[int, ...]:
    """What changes when a file is replaced."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ino


@lru_cache(maxsize=8)  # rows are mapped into memory, and read when they are asked for
def _open_files(table: Table, files: tuple[Path, ...], states: tuple[tuple[int, ...], ...]) -> Any:
    with _library(table.root) as datasets:
        if (table.root / SAVED).is_file():
            return datasets.load_from_disk(str(table.root / table.split))
        if (table.root / STATE).is_file():
            return datasets.load_from_disk(str(table.root))
        # The library knows its copy of a file again by its time alone: another file of that time would be the old one.
        told = json.dumps([[str(file), *state] for file, state in zip(files, states, strict=True)])
        cache = (
            Path(datasets.config.HF_DATASETS_CACHE)
            / f"segkit-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
        )
        return datasets.Dataset.from_parquet(
            [str(file) for file in files], split=table.split, cache_dir=str(cache)
        )


def _saved_files(folder: Path) -> list[Path]:
    return [folder / each["filename"] for each in _read_json(folder / STATE)["_data_files"]]


@lru_cache(maxsize=65536)
def _count_rows(path: Path, state: tuple[int, ...]) -> int:
    with _library(path):
        import pyarrow
        import pyarrow.parquet

        if path.suffix == PARQUET:
            return pyarrow.parquet.read_metadata(path).num_rows
        with pyarrow.memory_map(str(path)) as file:
            return sum(batch.num_rows for batch in pyarrow.ipc.open_stream(file))


@contextmanager
def _library(path: Path) -> Generator[Any]:
    """The library `datasets`, without its progress bars. Raises DataError where it is not installed, and for whatever
    it raises of tables that cannot be read."""
    try:
        import datasets  # an extra, and only for such data
    except ImportError:
        raise DataError(
            f"cannot read {show_path(path)}: a data set of Hugging Face's\n"
            "   -> pip install datasets   (the extra `hf`) reads it"
        ) from None
    silent = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield datasets
    except (DataError, MemoryError):
        raise
    except Exception as error:
        configs = re.search(r"available configs: \[(.+?)\]", str(error))
        if configs is not None:
            raise DataError(
                f"{show_path(path)} holds several data sets: {configs[1]} -> data.config=NAME"
            ) from error
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DataError(f"cannot read {show_path(path)}: {first}") from error
    finally:
        if not silent:
            datasets.enable_progress_bars()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot read {show_path(path)}: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise DataError(f"cannot read {show_path(path)}: it is no JSON, or damaged") from None


def as_label_map(names: Mapping[int, str]) -> dict[int | str, int | str]:
    """The label map of values that have names: none if they count from 0."""
    places: dict[int | str, int | str] = {value: place for place, value in enumerate(names)}
    return {} if all(value == place for value, place in places.items()) else places
