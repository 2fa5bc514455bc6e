"""Data sets of Hugging Face's: folders of parquet files, and what `save_to_disk` writes, read by their own library.

Only what is looked at is decoded, and not by that library: an image that a cell holds is read like a file.
"""

import hashlib
import io
import json
import re
from collections.abc import Generator, Sequence
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
#: What the split that validates is called, the usual name first.
VALIDATION = ("validation", "val", "valid", "dev", "test")


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
        splits = read_json(root / SAVED)
        names = splits.get("splits") if isinstance(splits, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f'{show_path(root / SAVED)}: expected {{"splits": [NAME, ...]}}')
        return {split: _saved_files(root / split) for split in names}
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


def list_cells(table: Table, files: Sequence[Path], column: str) -> list[Cell]:
    """The images of a column. Raises DataError for files that cannot be read."""
    cells: list[Cell] = []
    for path in files:
        first = len(cells)
        cells += [
            Cell(path, f"{column}[{row}]", table, column, row)
            for row in range(first, first + _count_rows(path, _state(path)))
        ]
    if not cells:
        raise DataError(f"no rows: {table.split} of {show_path(table.root)} is empty")
    if len(cells) != len(_open(table)):
        raise DataError(
            f"cannot read {show_path(table.root)}: {table.split} has {len(_open(table))} rows, its files {len(cells)}"
        )
    return cells


def show_names(names: Sequence[str]) -> str:
    """Names in a message, printable."""
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
            f"no split {table.split!r} in {show_path(table.root)}; there are: {show_names(list(files))}"
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
    try:
        files = [folder / each["filename"] for each in read_json(folder / STATE)["_data_files"]]
    except (KeyError, TypeError):
        raise DataError(
            f"{show_path(folder / STATE)} lists no files: damaged, or not of save_to_disk"
        ) from None
    if not files:
        raise DataError(f"no rows: {show_path(folder)} was saved empty")
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise DataError(f"{show_path(folder / STATE)} lists {show_path(missing)}, and there is no such file")
    return files


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
        if "corresponds to no data" in str(error):
            raise DataError(f"no rows: a table of {show_path(path)} is empty") from error
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


def read_json(path: Path) -> Any:
    """Raises DataError for a file that is missing or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot read {show_path(path)}: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise DataError(f"cannot read {show_path(path)}: it is no JSON, or damaged") from None
