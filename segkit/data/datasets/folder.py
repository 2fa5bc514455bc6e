"""`folder`: images and masks of the same name in two folders.

    root/images/train/0001.jpg      root/masks/train/0001.png      root/weights/train/0001.png   (optional)
    root/images/val/0002.jpg        root/masks/val/0002.png        root/weights/val/0002.npy

`labels` may stand for `masks`, and the folders may have subfolders.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from segkit.data.image_io import SUFFIXES, read_image, read_labels
from segkit.data.label_map import IGNORE, REST, LabelMap
from segkit.data.sample import Sample, Size, resize_nearest
from segkit.errors import DataError
from segkit.registry import DATASETS

MASK_FOLDERS = ("masks", "labels")


@DATASETS.register("folder")
class Folder:
    """Your own images and masks: images/{split} and masks/{split} (or labels/{split}), files of the same name.

    root          the folder that holds `images`
    classes       names of the classes, in the order of their ids
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
        classes: Annotated[list[str], Field(min_length=2)],
        label_map: dict[int | str, int | str] | None = None,
        ignore_index: int = 255,
        channels: Literal[1, 3] = 3,
        resize: Size | None = None,
        train_split: str = "train",
        val_split: str = "val",
    ):
        _check_classes(classes, ignore_index)
        self.root, self.channels, self.ignore_index = Path(os.path.expanduser(root)), channels, ignore_index
        self.class_names, self.num_classes = tuple(classes), len(classes)
        self.label_map = LabelMap(label_map, classes=classes, ignore_index=ignore_index)
        self.resize = None if resize is None else (resize[0], resize[1])
        self.part, self.split = split, train_split if split == "train" else val_split
        fits_a_byte = 0 <= ignore_index <= 255 and len(classes) <= 255
        self.target_dtype = np.uint8 if fits_a_byte else np.int64
        self._find_files()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        image_path, mask_path = self.image_paths[index], self.mask_paths[index]
        image, turned = read_image(image_path, channels=self.channels)  # (C, H, W)
        values, are_colours = read_labels(mask_path, colours=bool(self.label_map.colours))  # (H, W)
        if image.shape[1:] != values.shape:
            raise DataError(
                f"image and mask sizes differ: {self._shown(image_path)} {_width_height(image.shape[1:])}"
                f"{' (after EXIF)' if turned else ''}, {self._shown(mask_path)} {_width_height(values.shape)}"
            )
        ids = self.label_map.apply(values, are_colours=are_colours, source=self._shown(mask_path))
        target = torch.from_numpy(ids.astype(self.target_dtype))  # (H, W)
        file_size = None
        if self.resize is not None and self.resize != values.shape:
            file_size = values.shape
            image = F.resize_image(image, list(self.resize), antialias=True)
            target = resize_nearest(target, self.resize)
        return Sample(
            image=tv_tensors.Image(image),
            target=tv_tensors.Mask(target),
            name=self.names[index],
            index=index,
            mask_path=mask_path,
            weight_path=self.root / "weights" / self.split / self.names[index],
            file_size=file_size,
        )

    def files(self, index: int) -> tuple[Path, Path]:
        """The files that a sample is made of: its image and its mask."""
        return self.image_paths[index], self.mask_paths[index]

    def fingerprint(self) -> str:
        """Names and sizes in bytes of all files, which change when the data do; their content is not read."""
        paths = [*self.image_paths, *self.mask_paths]
        lines = [f"{path.name} {path.stat().st_size}" for path in paths]
        return hashlib.sha256("\n".join([*self.names, *lines]).encode()).hexdigest()

    def explains_value(self, value: int) -> bool:
        """Whether `label_map` says in so many words what the file value `value` means."""
        return self.label_map.names_value(value)

    def _find_files(self) -> None:
        """Pair the files of the split by name. Raises DataError for an empty set and for images without mask."""
        if not self.root.is_dir():
            raise DataError(
                f"dataset folder not found: {self.root}\n   without data:  python train.py --config ohem.yaml"
            )
        image_folder = self.root / "images" / self.split
        mask_folder = self._mask_folder()
        images = self._files_by_name(image_folder)
        masks = self._files_by_name(mask_folder)
        if not images:
            raise DataError(f"no images in {image_folder} ({', '.join(SUFFIXES)})")
        self.names = sorted(images)
        without_mask = [name for name in self.names if name not in masks]
        if without_mask:
            first = without_mask[0]
            count = f"{len(without_mask)} images have" if len(without_mask) > 1 else "1 image has"
            raise DataError(
                f"{count} no mask: {self._shown(images[first])} -> expected {self._shown(mask_folder / first)}.png"
                f"{_describe_similar(first, masks)}"
            )
        self.image_paths = [images[name] for name in self.names]
        self.mask_paths = [masks[name] for name in self.names]
        unused = sorted(masks.keys() - images.keys())
        self.notes = []
        if unused:
            count = f"{len(unused)} masks have" if len(unused) > 1 else "1 mask has"
            self.notes.append(f"{count} no image: {self._shown(masks[unused[0]])}")

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
                f"no folder {self._shown(folder)} in {self.root}, {_describe_content(self.root)}"
                f"{self._explain_layout()}"
            )
        found: dict[str, Path] = {}
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
                continue
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise DataError(
                    f"two files of one name: {self._shown(found[name])} and {self._shown(path)} -> keep one"
                )
            found[name] = path
        return found

    def _explain_layout(self) -> str:
        return (
            f"\n   -> the {self.part} part is read from images/{self.split} and masks/{self.split}; "
            f"data.{self.part}_split=NAME for folders of another name"
        )

    def _shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


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


def _width_height(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]}"
