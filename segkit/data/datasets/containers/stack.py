"""`stack`: images and labels that are the pages of TIFF files, such as slices of a volume.

root/train-volume.tif    page n is an image
root/train-labels.tif    page n has its labels
"""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from segkit.data.containers.part_division import check_parts, pair_by_stem, take_part
from segkit.data.containers.parted_files import PartedFiles, below, shown_below
from segkit.data.decoding.pages import Page, find_pages
from segkit.data.files.file_patterns import STEM
from segkit.data.files.options import Channels, Classes, Ends, Fraction, find_ends, read_meanings
from segkit.data.files.paired_files import existing_root
from segkit.data.files.validate import shorten
from segkit.errors import ConfigError, DataError
from segkit.registry import DATASETS
from segkit.types import Expects, Size

Files = Annotated[
    list[str] | str, Expects("a TIFF file, a list of them, or a pattern such as images/{stem}.tif")
]


class _Slice(NamedTuple):
    """A sample: its name, and the pages that hold its image and its labels."""

    name: str
    image: Page
    labels: Page


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

        def find(part: Literal["train", "val"]) -> list[_Slice]:
            if part == "val" and val_images is not None and val_labels is not None:
                return _find_slices(folder, val_images, val_labels, key="val")
            return _find_slices(
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


def _find_slices(
    root: Path,
    images: Files,
    labels: Files,
    *,
    key: str,
    part: Literal["train", "val"] = "train",
    fraction: float | None = None,
) -> list[_Slice]:
    """The samples of the files that data.KEY_images and data.KEY_labels name, of one part if they are divided."""
    found: list[_Slice] = []
    for image_path, label_path in _pair_files(root, images, labels, key):
        pages = pair_pages(root, image_path, label_path)
        if fraction is not None:
            pages = take_part(pages, part, fraction, what=f"{shown_below(image_path, root)} (its pages)")
        found += pages
    return found


def pair_pages(root: Path, image_path: Path, label_path: Path) -> list[_Slice]:
    """The samples of two files. Raises DataError unless they have as many pages, at least one."""
    image_pages, label_pages = find_pages(image_path), find_pages(label_path)
    if len(image_pages) != len(label_pages):
        raise DataError(
            f"as many images as labels are needed: {shown_below(image_path, root)} has {len(image_pages)} pages and "
            f"{shown_below(label_path, root)} {len(label_pages)} -> leave out of the longer one what the other has not"
        )
    digits = max(3, len(str(len(image_pages) - 1)))
    start = below(image_path, root)
    return [
        _Slice(f"{start}_{number:0{digits}}", *pages)
        for number, pages in enumerate(zip(image_pages, label_pages, strict=True))
    ]


def _pair_files(root: Path, images: Files, labels: Files, key: str) -> list[tuple[Path, Path]]:
    """The files of images with those of their labels. Raises DataError, and ConfigError for lists that do not match."""
    is_pattern = [isinstance(files, str) and STEM in files for files in (images, labels)]
    names = [f"data.{key}_images", f"data.{key}_labels"]
    if any(is_pattern):
        if not all(is_pattern):
            raise ConfigError(
                f"{names[is_pattern.index(False)]} has no {STEM}, and the other one has -> both or none"
            )
        return list(pair_by_stem(root, str(images), str(labels), names).values())
    lists = [[files] if isinstance(files, str) else list(files) for files in (images, labels)]
    if not lists[0] or len(lists[0]) != len(lists[1]):
        raise ConfigError(
            f"{names[0]} has {len(lists[0])} files and {names[1]} {len(lists[1])} -> as many, in pairs"
        )
    if len(set(lists[0])) < len(lists[0]):
        raise ConfigError(f"{names[0]} names a file twice: {shorten(lists[0])}")
    return [(root / image, root / label) for image, label in zip(*lists, strict=True)]
