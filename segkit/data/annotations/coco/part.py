"""Which images of which file are the training or the validation part."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from segkit.data.annotations.annotated_images import annotation_path
from segkit.data.annotations.coco.coco_file import CocoFile, open_coco
from segkit.data.annotations.coco.image_files import find_image_files, sample_names
from segkit.data.files.divide import choose_validation
from segkit.errors import ConfigError, DataError
from segkit.system.printable import show_path
from segkit.types import Expects

#: Types of options.
Classes = Annotated[
    Annotated[list[str], Field(min_length=2)] | Literal["auto"],
    Expects("a list (at least 2) of names, or auto"),
]
JsonFile = Annotated[str, Expects("a JSON file below data.root")]
Folder = Annotated[str, Expects("a folder, such as images/{split}")]
Expression = Annotated[str, Expects("a regular expression")]


def mask_folders(source: Path, root: Path) -> list[Path]:
    """Where the PNG files of a panoptic JSON file are looked for."""
    return [source.with_suffix(""), source.parent, root]


@dataclass(frozen=True)
class Part:
    """The images of a part: their numbers in `file`, names and places, and what somebody should know."""

    file: CocoFile
    numbers: list[int]
    names: list[str]
    image_paths: list[Path]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The options of a data set of COCO files that say which images it has; see `Coco`.

    Raises ConfigError for options that contradict each other.
    """

    train_annotations: str
    val_annotations: str | None = None
    images: str | None = None
    val_fraction: float | None = None
    split_seed: int = 0
    split_group: str | None = None
    unannotated: Literal["keep", "skip"] = "keep"

    def __post_init__(self) -> None:
        if (self.val_annotations is None) == (self.val_fraction is None):
            raise ConfigError(
                "data.val_annotations and data.val_fraction: one of the two says which images validate\n"
                "   -> data.val_annotations=FILE, or data.val_fraction=0.2 to divide the file"
            )
        if self.val_fraction is None and (self.split_seed or self.split_group is not None):
            key = "split_seed" if self.split_seed else "split_group"
            raise ConfigError(f"data.{key} does nothing without data.val_fraction")

    def open(self, root: Path, split: Literal["train", "val"]) -> CocoFile:
        """The file of a part. Raises DataError."""
        name = (
            self.val_annotations
            if split == "val" and self.val_annotations is not None
            else self.train_annotations
        )
        return open_coco(annotation_path(root, name))

    def find(self, root: Path, split: Literal["train", "val"]) -> Part:
        """The images of a part. Raises DataError for what is missing, and for a part without images."""
        file = self.open(root, split)
        if not len(file):
            raise DataError(f"no images: the list of them in {show_path(file.path)} is empty")
        folder_of = "train" if self.val_fraction is not None else split
        names = sample_names(file.names)
        paths, notes = find_image_files(
            file.names, root=root, source=file.path, folder=self.images, split=folder_of
        )
        numbers = list(range(len(file)))
        if self.unannotated == "skip":
            numbers = [number for number in numbers if file.count(number)]
            if not numbers:
                raise DataError(
                    f"no image of {show_path(file.path)} has annotations -> data.unannotated=keep"
                )
        if self.val_fraction is not None:
            chosen = choose_validation(
                [names[n] for n in numbers],
                fraction=self.val_fraction,
                seed=self.split_seed,
                group=self.split_group,
            )
            numbers = [n for n in numbers if (names[n] in chosen) == (split == "val")]
            notes = notes if split == "train" else []
        return Part(file, numbers, [names[n] for n in numbers], [paths[n] for n in numbers], notes)
