"""`hf`: a data set of Hugging Face's, as it lies in a folder.

    root/data/train-00000-of-00002.parquet    as on the hub: columns of images and of their labels
    root/id2label.json                        the names of the classes, optional

or what `save_to_disk` of the library `datasets` writes.
"""

from dataclasses import replace
from typing import Literal

from segkit.data.containers.parted_files import PartedFiles
from segkit.data.containers.table_columns import ID2LABEL, as_label_map, find_columns, find_names
from segkit.data.containers.tables import VALIDATION, Cell, Table, list_cells, list_splits
from segkit.data.files.divide import choose_validation
from segkit.data.files.options import Channels, Classes, Ends, Fraction, find_ends, read_meanings
from segkit.data.files.paired_files import existing_root
from segkit.errors import ConfigError
from segkit.registry import DATASETS
from segkit.types import NonNegativeInt, Size


@DATASETS.register("hf")
class HuggingFace(PartedFiles):
    """A data set of Hugging Face's in a folder: parquet files as on the hub, or what `save_to_disk` writes.

    root          the folder
    classes       names of the classes, in the order of their ids, or a file that lists them; null: those of
                  id2label.json, or of the only column that lists classes (Sequence of ClassLabel)
    image_column  the column of images; null: the one that its name tells
    label_column  the column of images whose values are labels; null: likewise
    config        which of several data sets in the folder, by the name that the hub gives it
    train_split   the split that is trained on
    val_split     the split that validates; null: the first there is of validation, val, valid, dev, test
    val_fraction  the share of the training rows that validates instead, chosen by their numbers
    split_seed    another number, another choice
    label_map     what the values in the labels mean; see `folder`
    ignore_index  id of the pixels that count neither in the loss nor in a score
    channels      3 for colour images, 1 for greyscale, which are converted into each other; else as many bands as the
                  images have
    value_range   which numbers become 0 and 255 in images of more than 8 bits; see `folder`
    resize        [height, width] that every image is brought to, or null

    Needs the library `datasets` (the extra `hf`), which keeps a copy of parquet files in its own cache (HF_HOME) to
    find rows in. What a cell holds is read like an image file. A sample is called like its row: `train_000012`.

    Raises DataError for what is missing on disk and for columns that cannot be used, ConfigError for options that
    contradict each other.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        classes: Classes | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        config: str | None = None,
        train_split: str = "train",
        val_split: str | None = None,
        val_fraction: Fraction | None = None,
        split_seed: NonNegativeInt = 0,
        label_map: dict[int | str, int | str] | None = None,
        ignore_index: int = 255,
        channels: Channels = 3,
        value_range: Ends = "auto",
        resize: Size | None = None,
    ):
        if val_split is not None and val_fraction is not None:
            raise ConfigError(
                "data.val_split and data.val_fraction both say which rows validate -> remove one"
            )
        if val_fraction is None and split_seed:
            raise ConfigError("data.split_seed does nothing without data.val_fraction")
        folder = existing_root(root)
        files = list_splits(folder, config)
        train = Table(folder, train_split, config)
        image, label = find_columns(train, image_column, label_column)
        is_named = classes is None
        if classes is None:
            names = find_names(train)
            if names is None:
                raise ConfigError(
                    f"nothing says what the classes are: {folder} has no {ID2LABEL}, and no column lists them\n"
                    "   -> data.classes=[NAME, NAME ...]"
                )
            classes, label_map = list(names.values()), {**as_label_map(names), **(label_map or {})}
        listed = folder / ID2LABEL
        meanings = replace(
            read_meanings(classes, label_map, ignore_index=ignore_index, root=lambda: folder),
            more=(listed,) if is_named and listed.is_file() else (),
        )

        def find(part: Literal["train", "val"]) -> dict[str, tuple[Cell, Cell]]:
            name = train_split
            if part == "val" and val_fraction is None:
                name = val_split or _find_validation(list(files), train_split)
            table = Table(folder, name, config)
            find_columns(table, image, label)  # the other split may lack one
            cells = zip(
                list_cells(table, files[name], image), list_cells(table, files[name], label), strict=True
            )
            rows = {f"{name}_{number:06}": pair for number, pair in enumerate(cells)}
            if val_fraction is None:
                return rows
            chosen = choose_validation(list(rows), fraction=val_fraction, seed=split_seed)
            return {name: pair for name, pair in rows.items() if (name in chosen) == (part == "val")}

        rows = find(split)
        ends = find_ends(value_range, lambda: [cell for cell, _ in find("train").values()])
        super().__init__(
            folder,
            names=list(rows),
            images=[cell for cell, _ in rows.values()],
            labels=[cell for _, cell in rows.values()],
            meanings=meanings,
            channels=channels,
            value_range=ends,
            found=value_range == "auto",
            resize=resize,
        )


def _find_validation(splits: list[str], train: str) -> str:
    found = next((name for name in VALIDATION if name in splits and name != train), None)
    if found is None:
        raise ConfigError(
            f"nothing says which rows validate: the splits are {', '.join(splits)} -> data.val_split=NAME, or "
            "data.val_fraction=0.2"
        )
    return found
