"""`stack`: images and labels that are the pages of TIFF files, such as slices of a volume.

    root/train-volume.tif    page n is an image
    root/train-labels.tif    page n has its labels

Several of them are a list, or a pattern.
"""

from typing import Annotated, Literal

from segkit.data.containers.part_division import check_parts
from segkit.data.containers.parted_files import PartedFiles
from segkit.data.containers.stacks import LabelledPage, find_labelled_pages
from segkit.data.files.options import Channels, Classes, Ends, Fraction, find_ends, read_meanings
from segkit.data.files.paired_files import existing_root
from segkit.registry import DATASETS
from segkit.types import Expects, Size

Files = Annotated[
    list[str] | str, Expects("a TIFF file, a list of them, or a pattern such as images/{stem}.tif")
]


@DATASETS.register("stack")
class Stack(PartedFiles):
    """Multi-page TIFF files: page n of one is an image, and page n of the other has its labels.

    root          the folder that the files lie in
    classes       names of the classes, in the order of their ids, or a file that lists them; see `folder`
    train_images  the files whose pages are trained on: one, a list, or a pattern such as "images/{stem}.tif"
    train_labels  the files with their labels: as many in the same order, or a pattern with the same stems
    val_images    the same for the pages that validate
    val_labels    the same for their labels
    val_fraction  the share of the pages of each training file that validates instead: the last ones, since slices side
                  by side are nearly the same, and those that validate would otherwise lie between two that were trained
                  on. Only where the two parts meet do they still touch
    label_map     what the values in the labels mean; see `folder`
    ignore_index  id of the pixels that count neither in the loss nor in a score
    channels      3 for colour images, 1 for greyscale, which are converted into each other; else as many bands as the
                  pages have
    value_range   which numbers become 0 and 255 in images of more than 8 bits; see `folder`
    resize        [height, width] that every image is brought to, or null

    A sample is called like the file of its image, with the number of the page, from 0: `train-volume_012`. Pages are
    read one at a time; smaller copies, as of a pyramid, are no pages.

    Raises DataError for what is missing on disk and for files whose pages do not belong together, ConfigError for
    options that contradict each other.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        classes: Classes,
        train_images: Files,
        train_labels: Files,
        val_images: Files | None = None,
        val_labels: Files | None = None,
        val_fraction: Fraction | None = None,
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

        def find(part: Literal["train", "val"]) -> list[LabelledPage]:
            if part == "val" and val_images is not None and val_labels is not None:
                return find_labelled_pages(folder, val_images, val_labels, key="val")
            return find_labelled_pages(
                folder, train_images, train_labels, key="train", part=part, fraction=val_fraction
            )

        slices = find(split)
        ends = find_ends(value_range, lambda: [each.image for each in find("train")])
        super().__init__(
            folder,
            names=[each.name for each in slices],
            images=[each.image for each in slices],
            labels=[each.labels for each in slices],
            meanings=meanings,
            channels=channels,
            value_range=ends,
            found=value_range == "auto",
            resize=resize,
        )
