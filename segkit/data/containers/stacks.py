"""Multi-page TIFF files in pairs: pages with their labels."""

from pathlib import Path
from typing import Literal, NamedTuple

from segkit.data.containers.part_division import pair_by_stem, take_part
from segkit.data.containers.parted_files import below, shown_below
from segkit.data.decoding.pages import Page, find_pages, page_name
from segkit.data.files.file_patterns import STEM
from segkit.data.files.validate import shorten
from segkit.errors import ConfigError, DataError


class LabelledPage(NamedTuple):
    """A sample: its name, and the pages that hold its image and its labels."""

    name: str
    image: Page
    labels: Page


def find_labelled_pages(
    root: Path,
    images: list[str] | str,
    labels: list[str] | str,
    *,
    key: str,
    part: Literal["train", "val"] = "train",
    fraction: float | None = None,
) -> list[LabelledPage]:
    """The samples of the files that data.KEY_images and data.KEY_labels name, of one part if they are divided."""
    found: list[LabelledPage] = []
    for image_path, label_path in _pair_files(root, images, labels, key):
        pages = pair_pages(root, image_path, label_path)
        if fraction is not None:
            pages = take_part(pages, part, fraction, what=f"{shown_below(image_path, root)} (its pages)")
        found += pages
    return found


def pair_pages(root: Path, image_path: Path, label_path: Path) -> list[LabelledPage]:
    """The samples of two files. Raises DataError unless they have as many pages, at least one."""
    image_pages, label_pages = find_pages(image_path), find_pages(label_path)
    if len(image_pages) != len(label_pages):
        raise DataError(
            f"as many images as labels are needed: {shown_below(image_path, root)} has {len(image_pages)} pages and "
            f"{shown_below(label_path, root)} {len(label_pages)} -> leave out of the longer one what the other has not"
        )
    folder, count = Path(below(image_path, root)).parent, len(image_pages)
    return [
        LabelledPage((folder / page_name(image_path, number, count)).as_posix(), *pages)
        for number, pages in enumerate(zip(image_pages, label_pages, strict=True))
    ]


def _pair_files(
    root: Path, images: list[str] | str, labels: list[str] | str, key: str
) -> list[tuple[Path, Path]]:
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
