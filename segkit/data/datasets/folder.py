"""`folder`: your own images and masks, in whatever folders they are.

    root/images/train/0001.jpg      root/masks/train/0001.png      root/weights/train/0001.png   (optional)
    root/images/val/0002.jpg        root/masks/val/0002.png        root/weights/val/0002.npy

`labels` may stand for `masks`, the split may come first (`train/images`), and the folders may have subfolders. Other
layouts are described by patterns, lists of files, or the share of one folder that validates.
"""

from pathlib import Path
from typing import Annotated, Literal

from segkit.data.cache.kept_pairs import find_pairs
from segkit.data.files.layout import Layout
from segkit.data.files.options import Channels, Classes, Ends, Fraction, find_ends, read_meanings
from segkit.data.files.paired_files import PairedFiles, existing_root
from segkit.registry import DATASETS
from segkit.types import Expects, NonNegativeInt, Size

Pattern = Annotated[str, Expects("a folder, or a pattern with {stem}, such as masks/{split}/{stem}_mask.png")]
ListFile = Annotated[str, Expects("a text file")]
Expression = Annotated[str, Expects("a regular expression")]


@DATASETS.register("folder")
class Folder(PairedFiles):
    """Your own images and masks: images/{split} and masks/{split} (or labels/{split}), files of the same name.

    root          the folder that holds all of it
    classes       names of the classes, in the order of their ids; or a file with one name per line, CVAT's
                  labelmap.txt, Roboflow's _classes.csv, a class_dict.csv or a label_colors.txt, below `root` or seen
                  from the current folder. What such a file says of values and colours is added to `label_map`
    label_map     what the values in the mask files mean: file value or "#rrggbb" -> class id, class name or
                  `ignore`; "*" for all values not named. Without it, values are class ids
    ignore_index  id of the pixels that count neither in the loss nor in a score: not the id of a class, so that more
                  than 255 classes need another, such as 65535
    channels      3 for colour images, 1 for greyscale, which are converted into each other; else as many bands as the
                  images have. Transparency is no band, unless it is counted
    value_range   which numbers become 0 and 255 in images of more than 8 bits: [low, high]; `dtype` for all that the
                  type of the file has; `auto` finds them from the training images, and the run keeps what it found
    resize        [height, width] that every image is brought to, or null
    images        where the images are: a folder, or a pattern such as "{split}/img/{stem}.jpg"
    masks         where their masks are, such as "{split}/{stem}_mask.png"; {stem} is what both names have in common
    weights       where the weight maps of `weight_map: {name: file}` are
    train_split   what {split} is for the training part
    val_split     what {split} is for the validation part
    train_list    a text file, below `root` or seen from the current folder, with the names of the training images, one
                  per line, or with an image and its mask per line
    val_list      the same for the validation part
    val_fraction  the share of the training images that validates instead, chosen by their names
    split_seed    another number, another choice
    split_group   a regular expression: images in whose names it finds the same text are not divided, such as "^[^_]+"
    unlabelled    what to do about images without a mask: `stop`, or `skip` them

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
        channels: Channels = 3,
        value_range: Ends = "auto",
        resize: Size | None = None,
        images: Pattern | None = None,
        masks: Pattern | None = None,
        weights: Pattern | None = None,
        train_split: str = "train",
        val_split: str = "val",
        train_list: ListFile | None = None,
        val_list: ListFile | None = None,
        val_fraction: Fraction | None = None,
        split_seed: NonNegativeInt = 0,
        split_group: Expression | None = None,
        unlabelled: Literal["stop", "skip"] = "stop",
    ):
        layout = Layout(
            images=images,
            masks=masks,
            weights=weights,
            train_split=train_split,
            val_split=val_split,
            train_list=train_list,
            val_list=val_list,
            val_fraction=val_fraction,
            split_seed=split_seed,
            split_group=split_group,
            unlabelled=unlabelled,
        )
        self.meanings = read_meanings(
            classes, label_map, ignore_index=ignore_index, root=lambda: existing_root(root)
        )
        folder = existing_root(root)
        pairs = find_pairs(layout, folder, split)
        ends = find_ends(
            value_range,
            lambda: (pairs if split == "train" else find_pairs(layout, folder, "train")).images,
        )
        super().__init__(
            folder,
            names=pairs.names,
            image_paths=pairs.images,
            mask_paths=pairs.masks,
            weight_paths=pairs.weights,
            class_names=self.meanings.names,
            label_map=self.meanings.label_map,
            channels=channels,
            value_range=ends,
            resize=resize,
            palette=self.meanings.label_map.palette,
            notes=pairs.notes,
        )
        #: What `auto` stands for, to be kept with the run.
        self.found_options = {"value_range": list(ends)} if value_range == "auto" and ends is not None else {}

    def files(self, index: int) -> tuple[Path, ...]:
        """The files that a sample is made of: its image, its mask and, if there is one, the list of the classes."""
        return *super().files(index), *self.meanings.files
