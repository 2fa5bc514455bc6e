"""Folders that say themselves what is in them: data sets of nnU-Net's and of Hugging Face's."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segkit.data.check.find_layout import VAL_FRACTION, FoundLayout
from segkit.data.containers.cases import DESCRIPTION, IMAGES, SPLITS, read_json
from segkit.data.containers.table_columns import find_columns, find_names, image_columns
from segkit.data.containers.tables import (
    PARQUET,
    SAVED,
    STATE,
    VALIDATION,
    Table,
    list_cells,
    list_splits,
    read_features,
)
from segkit.data.decoding.parts import Source
from segkit.errors import DataError


def propose_cases(root: Path) -> dict[str, Any] | None:
    """The block for a folder of nnU-Net's; None for any other."""
    if not (root / IMAGES).is_dir() or not (root / DESCRIPTION).is_file():
        return None
    described = read_json(root / DESCRIPTION)
    first, second = ({"modality", "labels", "training"}, {"channel_names", "file_ending"})
    if not isinstance(described, dict) or not (first <= described.keys() or second <= described.keys()):
        return None
    divided = (root / SPLITS).is_file()
    return {"name": "nnunet", "root": str(root), **({} if divided else {"val_fraction": VAL_FRACTION})}


def propose_tables(root: Path) -> dict[str, Any] | None:
    """The block for tables that name their classes; None for any other folder."""
    if not _has_tables(root):
        return None
    options, train, _ = _describe(root)
    return None if find_names(train) is None else {"name": "hf", "root": str(root), **options}


def find_tables(root: Path) -> FoundLayout | None:
    """The images of tables in pairs with their labels; None for a folder without tables."""
    if not _has_tables(root):
        return None
    options, train, val = _describe(root)
    image, label = find_columns(train, None, None)
    files = list_splits(root)
    pairs: dict[str, list[tuple[Source, Source]]] = {}
    for part, table in (("train", train), ("val", val)):
        if table is not None:
            cells = (list_cells(table, files[table.split], column) for column in (image, label))
            pairs[part] = list(zip(*cells, strict=True))
    text = f"the columns {image} and {label}"
    if val is None:
        text += f"; nothing says which rows validate: {VAL_FRACTION:.0%} do"
    return FoundLayout(options, text, pairs, without_mask=[], without_image=[], name="hf")


def _has_tables(root: Path) -> bool:
    """Whether there are tables, and columns of images in them."""
    saved = any((root / name).is_file() for name in (SAVED, STATE))
    if not saved and next(root.rglob(f"*{PARQUET}"), None) is None:
        return False
    return bool(image_columns(read_features(Table(root, _first_split(list_splits(root))))))


def _first_split(splits: Iterable[str]) -> str:
    names = list(splits)
    return "train" if "train" in names else names[0]


def _describe(root: Path) -> tuple[dict[str, Any], Table, Table | None]:
    """Options that say which split is which, and the tables that train and validate."""
    splits = list_splits(root)
    name = _first_split(splits)
    train = Table(root, name)
    columns = find_columns(train, None, None)
    options: dict[str, Any] = {} if name == "train" else {"train_split": name}
    for other in VALIDATION:
        if other in splits and other != name:
            table = Table(root, other)
            try:
                find_columns(table, *columns)
            except DataError:  # a test without labels
                continue
            usual = next(word for word in VALIDATION if word in splits and word != name)
            return options | ({} if other == usual else {"val_split": other}), train, table
    return options | {"val_fraction": VAL_FRACTION}, train, None
