"""Which files of a folder are images and which are their masks, as options of the data set `folder`."""

import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from segkit.data.check.contents import describe_contents
from segkit.data.check.part_words import TRAIN, VAL
from segkit.data.decoding.opening import SUFFIXES
from segkit.data.decoding.parts import Source
from segkit.data.files.file_patterns import SPLIT, STEM
from segkit.data.files.layout import DIVIDED, WHOLE
from segkit.errors import DataError
from segkit.system.printable import show_path

#: What people call the folders and files, the usual word first.
IMAGES = (
    "images",
    "image",
    "imgs",
    "img",
    "JPEGImages",
    "inputs",
    "input",
    "leftImg8bit",
    "data",
    "rgb",
    "image_2",
    "imagesTr",
)
MASKS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "gt", "gts", "ground_truth", "groundtruth",
    "SegmentationClass", "segmentation", "targets", "target", "annot", "gtFine", "gtCoarse", "semantic", "labelsTr",
    "instance", "instances", "SegmentationObject",
)  # fmt: skip
#: What a mask file has beside the name of its image, and an image file beside that of its mask.
MASK_WORDS = (
    "mask",
    "masks",
    "label",
    "labels",
    "gt",
    "seg",
    "segmentation",
    "annotation",
    "lbl",
    "target",
    "L",
    "gtFine_labelIds",
    "gtFine_labelTrainIds",
    "gtCoarse_labelIds",
    "gtFine_instanceIds",
)
IMAGE_WORDS = ("image", "img", "sat", "rgb", "input", "leftImg8bit", "0000")
LISTS = ("", "ImageSets/Segmentation", "splits", "lists", "split", "list")
#: The share that validates where nothing says which images do.
VAL_FRACTION = 0.2


@dataclass(frozen=True)
class FoundLayout:
    """Images with their masks, and the options of `folder` that say where they are.

    options        what `data:` needs beside `root` and the classes
    text           the same for people
    pairs          image and mask, by part; only `train` if nothing divides them
    without_mask   images that no mask belongs to
    without_image  masks that no image belongs to
    masks          the pattern of the masks
    name           the data set that reads it
    """

    options: dict[str, Any]
    text: str
    pairs: dict[str, list[tuple[Source, Source]]]
    without_mask: list[Path]
    without_image: list[Path]
    masks: str = ""
    name: str = "folder"

    @property
    def mask_glob(self) -> str:
        """What `Path.glob` finds the masks by, below the root."""
        folder, _, name = self.masks.rpartition("/") if STEM in self.masks else (self.masks, "", STEM)
        return (
            "/".join(part for part in (folder, "**", f"{name}.*") if part)
            .replace(SPLIT, "*")
            .replace(STEM, "*")
        )


class _Candidate(NamedTuple):
    """A layout that may be meant: pairs, more of which are better, files that are alone, as a negative number; and the
    whole of it, made for the best one only."""

    pairs: int
    alone: int
    describe: Callable[[], FoundLayout]


def find_layout(root: Path) -> FoundLayout:
    """The layout that brings most images and masks together. Raises DataError if there is none."""
    if not root.is_dir():
        raise DataError(f"dataset folder not found: {root}")
    found = [layout for layout in _candidates(root) if layout.pairs]
    if not found:
        raise DataError(_describe_failure(root))
    # Of equally good ones the first, which needs the fewest options.
    return max(found, key=lambda layout: layout[:2]).describe()


def _describe_failure(root: Path) -> str:
    """What was found instead, and the lines that make masks of it."""
    lines, how = describe_contents(root)
    found = "".join(f"found     {line}\n" for line in lines)
    advice = (
        f"   -> lines that make masks of that, to paste into a shell:\n{how}"
        if "\n" in how
        else f"   -> {how}"
    )
    return (
        f"no images with masks found in {show_path(root)}\n{found}"
        "   looked for images/ and masks/ (or labels/), with or without train/ and val/ above or below them, and "
        "for names\n   such as 1.jpg and 1_mask.png -> --config with data.images and data.masks says where they are"
        + (f"\n{advice}" if how else "")
    )


def _candidates(root: Path) -> Iterator[_Candidate]:
    files = _list_images(root)
    folders = {parent.as_posix() for file in files for parent in PurePosixPath(file).parents}
    splits: list[dict[str, str | None]] = [
        {"train": train, "val": val}
        for train in _known(folders, TRAIN)
        for val in (*_known(folders, VAL), None)
    ]
    for images, masks in _templates(folders):
        for split in splits if SPLIT in images else [{}]:
            yield from _try_names(root, files, images, masks, split)


def _list_images(root: Path) -> list[str]:
    """All image files below `root`, relative to it, but nothing hidden."""
    found = []
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = PurePosixPath(Path(place).relative_to(root).as_posix())
        wanted = [n for n in names if n[0] != "." and PurePosixPath(n).suffix.lower() in SUFFIXES]
        found += [(below / name).as_posix() for name in sorted(wanted)]
    return found


def _known(folders: set[str], words: Sequence[str]) -> list[str]:
    """The names among the folders that are one of `words`, in the order of the words, as they are written; a year may
    follow (`train2017`)."""
    names = {part for folder in folders for part in folder.split("/")}
    return [
        name
        for word in words
        for name in sorted(names)
        if re.fullmatch(rf"{word}(\d{{4}})?", name, re.IGNORECASE)
    ]


def _templates(folders: set[str]) -> Iterator[tuple[str, str]]:
    """Folders of images and of masks below the root, with {split} for those that divide the parts."""
    pairs = list(itertools.product(_known(folders, IMAGES), _known(folders, MASKS)))
    for image, mask in pairs:
        yield f"{image}/{SPLIT}", f"{mask}/{SPLIT}"
        yield f"{SPLIT}/{image}", f"{SPLIT}/{mask}"
        yield image, mask
    for both in _known(folders, IMAGES):
        yield f"{both}/{SPLIT}", f"{both}/{SPLIT}"
        yield f"{SPLIT}/{both}", f"{SPLIT}/{both}"
    yield SPLIT, f"{SPLIT}annot"
    yield SPLIT, SPLIT
    yield "", ""


def _try_names(
    root: Path, files: Sequence[str], images: str, masks: str, split: Mapping[str, str | None]
) -> Iterator[_Candidate]:
    """The layouts with these folders, for each way in which the names of mask and image may differ."""
    parts = {part: name for part, name in split.items() if name is not None} or {"train": ""}
    inside = {
        part: (_below(files, images.replace(SPLIT, name)), _below(files, masks.replace(SPLIT, name)))
        for part, name in parts.items()
    }
    if not all(found for pair in inside.values() for found in pair):
        return
    words = {name for pair in inside.values() for name in pair[1]}
    for image_name, mask_name in _name_pairs(words, apart=images != masks):
        pairs = {part: _pair(*pair, image_name, mask_name) for part, pair in inside.items()}
        both = [
            image is not None and mask is not None for part in pairs.values() for image, mask in part.values()
        ]
        where = (_join(images, image_name), _join(masks, mask_name))
        yield _Candidate(sum(both), sum(both) - len(both), partial(_describe, root, *where, split, pairs))


def _below(files: Sequence[str], folder: str) -> dict[str, str]:
    """The files below a folder by their name without folder and suffix; folders between belong to the name."""
    start = f"{folder}/" if folder else ""
    return {f[len(start) : f.rindex(".")]: f for f in files if f.startswith(start)}


def _name_pairs(names: set[str], *, apart: bool) -> Iterator[tuple[str, str]]:
    """Patterns for the names of images and masks; equal ones only if they lie `apart`."""
    mask_names = [STEM, *(p for w in MASK_WORDS for p in (f"{STEM}_{w}", f"{STEM}-{w}", f"{w}_{STEM}"))]
    image_names = [STEM, *(p for w in IMAGE_WORDS for p in (f"{STEM}_{w}", f"{STEM}-{w}", f"{w}_{STEM}"))]
    for mask_name in mask_names:
        before, after = mask_name.split(STEM)
        if any(name.rpartition("/")[2].startswith(before) and name.endswith(after) for name in names):
            yield from ((i, mask_name) for i in image_names if apart or mask_name != STEM)


def _pair(
    images: Mapping[str, str], masks: Mapping[str, str], image_name: str, mask_name: str
) -> dict[str, tuple[str | None, str | None]]:
    """Image and mask by stem, None for one that is missing."""
    labels = _stems(masks, mask_name)
    used = set(labels.values())
    found = {stem: file for stem, file in _stems(images, image_name).items() if file not in used}
    return {stem: (found.get(stem), labels.get(stem)) for stem in sorted({*found, *labels})}


def _stems(files: Mapping[str, str], pattern: str) -> dict[str, str]:
    if pattern == STEM:
        return dict(files)
    before, after = (re.escape(part) for part in pattern.split(STEM))
    regex = re.compile(f"((?:.*/)?){before}([^/]+){after}")
    matches = ((regex.fullmatch(name), file) for name, file in files.items())
    return {found[1] + found[2]: file for found, file in matches if found}


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name != STEM else folder or name


def _describe(
    root: Path,
    images: str,
    masks: str,
    split: Mapping[str, str | None],
    pairs: Mapping[str, Mapping[str, tuple[str | None, str | None]]],
) -> FoundLayout:
    options: dict[str, Any] = {}
    whole = SPLIT not in images
    usual_images = (*DIVIDED["images"], *(WHOLE["images"] if whole else ()))
    usual_masks = (*DIVIDED["masks"], *(WHOLE["masks"] if whole else ()))
    if not (images in usual_images and masks in usual_masks):
        options |= {"images": images, "masks": masks}
    for part in ("train", "val"):
        if split.get(part) not in (None, part):
            options[f"{part}_split"] = split[part]
    text = f"{images or '.'} and {masks or '.'}"
    if len(pairs) == 1:
        lists = _find_lists(root) if whole else {}
        options |= lists or {"val_fraction": VAL_FRACTION}
        why = (
            " and ".join(lists.values())
            if lists
            else f"nothing says which images validate: {VAL_FRACTION:.0%} do"
        )
        text += f"; {why}"

    def chosen(part: str, condition: Callable[[str | None, str | None], bool]) -> list[tuple]:
        return [(root / (i or ""), root / (m or "")) for i, m in pairs[part].values() if condition(i, m)]

    return FoundLayout(
        options,
        text,
        pairs={part: chosen(part, lambda i, m: bool(i and m)) for part in pairs},
        without_mask=[image for part in pairs for image, _ in chosen(part, lambda i, m: not m)],
        without_image=[mask for part in pairs for _, mask in chosen(part, lambda i, m: not i)],
        masks=masks,
    )


def _find_lists(root: Path) -> dict[str, str]:
    """Lists of the images of both parts, if they are where lists usually are."""
    for folder in LISTS:
        found = {
            f"{part}_list": next((w for w in words if (root / folder / f"{w}.txt").is_file()), None)
            for part, words in (("train", TRAIN), ("val", VAL))
        }
        if all(found.values()):
            return {key: f"{folder}/{word}.txt".lstrip("/") for key, word in found.items()}
    return {}
