"""`arrays`: images and labels in NumPy's files.

    root/images.npy    (N, H, W), (N, H, W, C) or (N, C, H, W)
    root/labels.npy    (N, H, W)

or as arrays of an .npz file, or with a file for each image.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from segkit.data.containers.arrays import LabelledArray, find_labelled_arrays, note_compressed
from segkit.data.containers.part_division import check_parts, take_part
from segkit.data.containers.parted_files import PartedFiles
from segkit.data.files.options import Channels, Classes, Ends, Fraction, find_ends, read_meanings
from segkit.data.files.paired_files import existing_root
from segkit.registry import DATASETS
from segkit.types import Expects, Size

Array = Annotated[
    str, Expects("a file such as images.npy or all.npz#images, or a pattern such as images/{stem}.npy")
]


@DATASETS.register("arrays")
class Arrays(PartedFiles):
    """NumPy arrays: entry n of one is an image, and entry n of the other has its labels.

    root          the folder that the files lie in
    classes       names of the classes, in the order of their ids, or a file that lists them; see `folder`
    train_images  the images that are trained on: `images.npy`, (N, H, W) or with an axis of channels; an array of an
                  archive, `all.npz#images`; or a file for each, `images/{stem}.npy`, (H, W) or with channels
    train_labels  their labels, (N, H, W), or (H, W) in a file for each
    val_images    the same for the images that validate
    val_labels    the same for their labels
    val_fraction  the share of the training images that validates instead: the last ones, since what lies side by side,
                  such as slices and frames, is often nearly the same
    channel_axis  where the numbers of a pixel are: `first`, (C, H, W), or `last`, (H, W, C); `auto` takes that with
                  which the images have the size of their labels
    label_map     what the values in the labels mean; see `folder`
    ignore_index  id of the pixels that count neither in the loss nor in a score
    channels      3 for colour images, 1 for greyscale, which are converted into each other; else the channels of the
                  arrays
    value_range   which numbers become 0 and 255 in images of more than 8 bits, or of floating-point numbers; see
                  `folder`
    resize        [height, width] that every image is brought to, or null

    Of .npy files, and of .npz files that are not compressed, one image is read at a time; compressed arrays are held in
    memory by every process. A sample is called like the file of its image, with its number, from 0: `images_012`.
    Arrays of Python objects, which are pickles, are never opened.

    Raises DataError for what is missing on disk and for arrays that do not belong together, ConfigError for options
    that contradict each other.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        classes: Classes,
        train_images: Array,
        train_labels: Array,
        val_images: Array | None = None,
        val_labels: Array | None = None,
        val_fraction: Fraction | None = None,
        channel_axis: Literal["auto", "first", "last"] = "auto",
        label_map: dict[int | str, int | str] | None = None,
        ignore_index: int = 255,
        channels: Channels = 3,
        value_range: Ends = "auto",
        resize: Size | None = None,
    ):
        check_parts(val_images, val_labels, val_fraction)
        meanings = read_meanings(
            classes, label_map, ignore_index=ignore_index, root=lambda: existing_root(root)
        )
        folder = existing_root(root)

        def find(part: Literal["train", "val"]) -> Sequence[LabelledArray]:
            if part == "val" and val_images is not None and val_labels is not None:
                return find_labelled_arrays(
                    folder, val_images, val_labels, key="val", channel_axis=channel_axis
                )
            found = find_labelled_arrays(
                folder, train_images, train_labels, key="train", channel_axis=channel_axis
            )
            if val_fraction is None:
                return found
            return take_part(found, part, val_fraction, what=f"data.train_images={train_images}")

        found = find(split)
        ends = find_ends(value_range, lambda: [each.image for each in find("train")])
        super().__init__(
            folder,
            names=[each.name for each in found],
            images=[each.image for each in found],
            labels=[each.labels for each in found],
            meanings=meanings,
            channels=channels,
            value_range=ends,
            found=value_range == "auto",
            resize=resize,
            notes=note_compressed(folder, found),
        )
