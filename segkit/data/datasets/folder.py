"""`folder`: images and masks of the same name in two folders.

    root/images/train/0001.jpg      root/masks/train/0001.png      root/weights/train/0001.png   (optional)
    root/images/val/0002.jpg        root/masks/val/0002.png        root/weights/val/0002.npy

`labels` may stand for `masks`, and the folders may have subfolders.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from segkit.data.class_lists import add_entries, read_class_list
from segkit.data.image_io import SUFFIXES
from segkit.data.label_map import IGNORE, REST, LabelMap
from segkit.data.paired_files import PairedFiles, existing_root
from segkit.data.sample import Size
from segkit.errors import DataError
from segkit.registry import DATASETS
from segkit.types import Expects

MASK_FOLDERS = ("masks", "labels")

#: Names of the classes, or the file that lists them.
Classes = Annotated[
    Annotated[list[str], Field(min_length=2)] | str,
    Expects("a list (at least 2) of names, or a file such as classes.txt"),
]


@DATASETS.register("folder")
class Folder(PairedFiles):
    """Your own images and masks: images/{split} and masks/{split} (or labels/{split}), files of the same name.

    root          the folder that holds `images`
    classes       names of the classes, in the order of their ids; or a file with one name per line, CVAT's
                  labelmap.txt, Roboflow's _classes.csv or a class_dict.csv, below `root` or seen from the current
                  folder. What such a file says of values and colours is added to `label_map`
    label_map     what the values in the mask files mean: file value or "#rrggbb" -> class id, class name or
                  `ignore`; "*" for all values not named. Without it, values are class ids
    ignore_index  id of the pixels that count neither in the loss nor in a score
    channels      3 for colour images, 1 for greyscale; files are converted
    resize        [height, width] that every image is brought to, or null
    train_split   name of the folders with the training part
    val_split     name of the folders with the validation part

    Raises DataError for what is missing on disk, ValueError or ConfigError for options that contradict each other.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        classes: Classes,
        label_map: dict[int | str, int | str] | None = None,
        ignore_index: int = 255,
        channels: Literal[1, 3] = 3,
        resize: Size | None = None,
        train_split: str = "train",
        val_split: str = "val",
    ):
        self.class_list = None
        if isinstance(classes, str):
            self.class_list = read_class_list(classes, existing_root(root))
            classes, label_map = (
                self.class_list.names,
                add_entries(self.class_list.label_map, label_map or {}),
            )
        _check_classes(classes, ignore_index)
        meanings = LabelMap(label_map, classes=classes, ignore_index=ignore_index)
        self.root = existing_root(root)
        self.part, self.split = split, train_split if split == "train" else val_split
        images, masks, notes = self._find_files()
        names = sorted(images)
        super().__init__(
            self.root,
            names=names,
            image_paths=[images[name] for name in names],
            mask_paths=[masks[name] for name in names],
            weight_paths=[self.root / "weights" / self.split / name for name in names],
            class_names=classes,
            label_map=meanings,
            channels=channels,
            resize=resize,
            palette=meanings.palette,
            notes=notes,
        )

    def files(self, index: int) -> tuple[Path, ...]:
        """The files that a sample is made of: its image, its mask and, if there is one, the list of the classes."""
        listed = () if self.class_list is None else (self.class_list.path,)
        return *super().files(index), *listed

    def _find_files(self) -> tuple[dict[str, Path], dict[str, Path], list[str]]:
        """Images and masks of the split by name, and notes. Raises DataError for an empty set and for images without
        mask."""
        image_folder, mask_folder = self.root / "images" / self.split, self._mask_folder()
        images, masks = self._files_by_name(image_folder), self._files_by_name(mask_folder)
        if not images:
            raise DataError(f"no images in {image_folder} ({', '.join(SUFFIXES)})")
        without_mask = [name for name in sorted(images) if name not in masks]
        if without_mask:
            first = without_mask[0]
            count = f"{len(without_mask)} images have" if len(without_mask) > 1 else "1 image has"
            raise DataError(
                f"{count} no mask: {self.shown(images[first])} -> expected {self.shown(mask_folder / first)}.png"
                f"{_describe_similar(first, masks)}"
            )
        unused = sorted(masks.keys() - images.keys())
        if not unused:
            return images, masks, []
        count = f"{len(unused)} masks have" if len(unused) > 1 else "1 mask has"
        return images, masks, [f"{count} no image: {self.shown(masks[unused[0]])}"]

    def _mask_folder(self) -> Path:
        for name in MASK_FOLDERS:
            if (self.root / name / self.split).is_dir():
                return self.root / name / self.split
        raise DataError(
            f"no folder masks/{self.split} or labels/{self.split} in {self.root}, {_describe_content(self.root)}"
            f"{self._explain_layout()}"
        )

    def _files_by_name(self, folder: Path) -> dict[str, Path]:
        """Image files below `folder` by their relative path without suffix."""
        if not folder.is_dir():
            raise DataError(
                f"no folder {self.shown(folder)} in {self.root}, {_describe_content(self.root)}"
                f"{self._explain_layout()}"
            )
        found: dict[str, Path] = {}
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
                continue
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise DataError(
                    f"two files of one name: {self.shown(found[name])} and {self.shown(path)} -> keep one"
                )
            found[name] = path
        return found

    def _explain_layout(self) -> str:
        return (
            f"\n   -> the {self.part} part is read from images/{self.split} and masks/{self.split}; "
            f"data.{self.part}_split=NAME for folders of another name"
        )


def _check_classes(classes: list[str], ignore_index: int) -> None:
    if 0 <= ignore_index < len(classes):
        raise ValueError(f"ignore_index={ignore_index} is also the id of the class {classes[ignore_index]!r}")
    for name in classes:
        if classes.count(name) > 1:
            raise ValueError(f"classes names {name!r} twice")
        if name in (IGNORE, REST):
            raise ValueError(f"a class cannot be called {name!r}, which label_map uses")


def _describe_similar(name: str, masks: dict[str, Path]) -> str:
    """The mask that an image without one was probably meant to have, if its name begins with the image's."""
    similar = sorted(other for other in masks if other.startswith(name))
    if not similar:
        return ""
    return f"\n   there is {masks[similar[0]].name}; the names must be equal up to the suffix"


def _describe_content(root: Path) -> str:
    """What a folder with the expected names would be compared with: the folders two levels deep."""
    found = sorted(path.relative_to(root).as_posix() for path in _folders(root))
    if not found:
        return "which has no folders"
    return f"which has {', '.join(found[:8])}{', ...' if len(found) > 8 else ''}"


def _folders(root: Path) -> Iterable[Path]:
    for folder in root.iterdir():
        if folder.is_dir() and not folder.name.startswith("."):
            below = [path for path in folder.iterdir() if path.is_dir()]
            yield from below or [folder]
