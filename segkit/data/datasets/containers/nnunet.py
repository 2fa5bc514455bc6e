"""`nnunet`: a data set in the layout of nnU-Net, images or volumes.

    root/dataset.json                 channel_names, labels, file_ending
    root/imagesTr/case_0000.nii.gz    channel 0 of a case
    root/labelsTr/case.nii.gz

Splits are read where nnU-Net made some.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from segkit.data.containers.cases import (
    SPLITS,
    CaseFiles,
    Description,
    find_cases,
    read_description,
    read_split,
)
from segkit.data.containers.parted_files import PartedFiles, shown_below
from segkit.data.decoding.bands import join_bands
from segkit.data.decoding.opening import SUFFIXES
from segkit.data.decoding.pages import find_pages
from segkit.data.decoding.parts import Source
from segkit.data.decoding.volumes import AXES, cut, find_farthest, find_filled, is_volume, read_volume_head
from segkit.data.decoding.volumes import SUFFIXES as VOLUMES
from segkit.data.files.divide import choose_validation
from segkit.data.files.label_map import IGNORE, LabelMap
from segkit.data.files.options import Ends, Fraction, Meanings, check_classes, find_ends
from segkit.data.files.paired_files import existing_root
from segkit.errors import ConfigError, DataError
from segkit.registry import DATASETS
from segkit.types import NonNegativeInt, Size

TIFF = (".tif", ".tiff")


class Drawn(NamedTuple):
    """A sample: its name, and what its image and its labels are read from."""

    name: str
    image: Source
    labels: Source


@DATASETS.register("nnunet")
class NnUNet(PartedFiles):
    """A data set of nnU-Net: dataset.json, imagesTr and labelsTr, of images, or of volumes slice by slice. What version
    1 wrote, and the Medical Segmentation Decathlon, is read likewise.

    root           the folder with dataset.json, such as nnUNet_raw/Dataset001_NAME
    fold           which of the parts in splits_final.json trains and validates
    splits         that file, below `root` or seen from the current folder; without it, `root`/splits_final.json is
                   looked for
    val_fraction   where there is none: the share of the cases that validates, chosen by their names; the slices of a
                   case are never divided
    split_seed     another number, another choice
    axis           across which axis volumes are cut: `auto` takes the one along which voxels lie farthest apart, in the
                   median case, as nnU-Net's 2D networks do; of equal ones z
    empty_slices   what is done in training about slices whose labels are background alone: `keep` or `skip`
    ignore_index   id of the pixels that count neither in the loss nor in a score, such as those of the label `ignore`
    value_range    which numbers become 0 and 255 in images of more than 8 bits, of all channels alike; see `folder`
    resize         [height, width] that every image is brought to, or null

    The classes are those of dataset.json, and the channels of a case are the bands of its image. PNG, BMP and TIFF need
    nothing else; NIfTI needs nibabel (the extra `nnunet`), MetaImage and NRRD SimpleITK (the extra `itk`). Of a .nii.gz
    file everything before a slice is unpacked to read it, of compressed MetaImage and NRRD the whole volume:
    data.cache=disk does that once. A sample is called like its case, of volumes with the number of the
    slice, from 0: `case_012`.

    Raises DataError for what is missing or cannot be used, ConfigError for options that contradict each other.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        fold: NonNegativeInt = 0,
        splits: str | None = None,
        val_fraction: Fraction | None = None,
        split_seed: NonNegativeInt = 0,
        axis: Literal["auto", "x", "y", "z"] = "auto",
        empty_slices: Literal["keep", "skip"] = "keep",
        ignore_index: int = 255,
        value_range: Ends = "auto",
        resize: Size | None = None,
    ):
        folder = existing_root(root)
        described = read_description(folder)
        _check_ending(described, folder)
        check_classes(described.class_names, ignore_index)
        cases = find_cases(folder, described)
        parts = _divide(folder, cases, fold, splits, val_fraction, split_seed)
        place = _find_axis(cases.values(), axis)

        def find(part: Literal["train", "val"]) -> list[Drawn]:
            skip = empty_slices == "skip" and part == "train"
            return [
                drawn for name in parts[part] for drawn in _find_drawn(cases[name], place, skip_empty=skip)
            ]

        drawn = find(split)
        if not drawn:
            raise DataError(
                f"no slice with labels in the {split} cases of {folder} -> data.empty_slices=keep"
            )
        ends = find_ends(value_range, lambda: [each.image for each in find("train")])
        ignored: dict[int | str, int | str] = {}
        if described.ignored is not None:
            ignored[described.ignored] = IGNORE
        label_map = LabelMap(ignored, classes=described.class_names, ignore_index=ignore_index)
        super().__init__(
            folder,
            names=[each.name for each in drawn],
            images=[each.image for each in drawn],
            labels=[each.labels for each in drawn],
            meanings=Meanings(described.class_names, label_map, more=(described.path,)),
            channels=described.channels,
            value_range=ends,
            found=value_range == "auto",
            resize=resize,
            notes=[] if place is None else _note_ways([cases[name] for name in parts[split]]),
        )
        if place is not None and axis == "auto":
            self.found_options["axis"] = AXES[2 - place]


def _check_ending(described: Description, root: Path) -> None:
    ending = described.ending.lower()
    if ending not in (*SUFFIXES, *VOLUMES):
        raise DataError(
            f"{shown_below(described.path, root)}: file_ending {described.ending!r} is not read\n"
            "   -> save the files as .png, .tif, .nii.gz, .mha or .nrrd, and say so there"
        )


def _divide(
    root: Path,
    cases: Mapping[str, CaseFiles],
    fold: int,
    splits: str | None,
    fraction: float | None,
    seed: int,
) -> dict[str, list[str]]:
    """The names of the cases of each part."""
    if fraction is None and seed:
        raise ConfigError("data.split_seed does nothing without data.val_fraction")
    if splits is not None and fraction is not None:
        raise ConfigError("data.splits and data.val_fraction both say which cases validate -> remove one")
    places = [root / (splits or SPLITS), *([Path(splits)] if splits is not None else [])]
    path = next((place for place in places if place.is_file()), None)
    if path is None and splits is not None:
        raise ConfigError(f"data.splits: no file {splits} in {root} or in the current folder")
    if fraction is None:
        if path is None:
            raise ConfigError(
                f"nothing says which cases validate: {root} has no {SPLITS}\n"
                "   -> data.splits=FILE, or data.val_fraction=0.2"
            )
        return read_split(path, fold, cases)
    if fold:
        raise ConfigError(f"data.fold={fold} does nothing beside data.val_fraction -> remove one")
    chosen = choose_validation(list(cases), fraction=fraction, seed=seed)
    return {
        "train": [name for name in cases if name not in chosen],
        "val": [name for name in cases if name in chosen],
    }


def _find_axis(cases: Iterable[CaseFiles], axis: str) -> int | None:
    """The axis (0, 1, 2: x, y, z) that volumes are cut across; None for images."""
    spacings = []
    for case in cases:
        if not is_volume(case.labels):
            return None
        spacings.append(read_volume_head(case.labels).spacing)
    return find_farthest(spacings) if axis == "auto" else 2 - AXES.index(axis)


def _find_drawn(case: CaseFiles, axis: int | None, *, skip_empty: bool) -> list[Drawn]:
    """The samples of a case: its slices, its pages, or itself."""
    if axis is not None:
        return _find_slices(case, axis, skip_empty=skip_empty)
    if case.labels.suffix.lower() in TIFF:
        pages = [find_pages(path) for path in (*case.images, case.labels)]
        _require_equal(case, [len(found) for found in pages], "pages")
        if len(pages[0]) > 1:
            *images, labels = pages
            return _number(case, [join_bands(bands) for bands in zip(*images, strict=True)], labels)
    return [Drawn(case.name, join_bands(case.images), case.labels)]


def _find_slices(case: CaseFiles, axis: int, *, skip_empty: bool) -> list[Drawn]:
    paths = (*case.images, case.labels)
    _require_equal(case, [read_volume_head(path).shape for path in paths], "voxels")
    count = read_volume_head(case.labels).shape[axis]
    kept = find_filled(case.labels, axis) if skip_empty else np.ones(count, dtype=bool)

    images = [join_bands(bands) for bands in zip(*(cut(path, axis) for path in case.images), strict=True)]
    drawn = _number(case, images, cut(case.labels, axis))
    return [each for each, keep in zip(drawn, kept.tolist(), strict=True) if keep]


def _note_ways(cases: Sequence[CaseFiles]) -> list[str]:
    """What is said of labels whose axes lead elsewhere than those of their images, by their heads."""
    found = []
    for case in cases:
        ways = [read_volume_head(path).ways for path in (case.labels, *case.images)]
        found += [(case, ways[0], other) for other in ways[1:] if other != ways[0]][:1]
    if not found:
        return []
    case, labels, image = found[0]
    return [
        f"in {len(found)} of {len(cases)} cases, axes of image and labels lead elsewhere, by their heads ({image} and "
        f"{labels} in {case.name}): they are read voxel by voxel, as nnU-Net does -> look at some of them"
    ]


def _require_equal(case: CaseFiles, sizes: Sequence[object], what: str) -> None:
    for path, size in zip((*case.images, case.labels), sizes, strict=True):
        if size != sizes[-1]:
            raise DataError(
                f"case {case.name}: {path.name} and {case.labels.name} differ in {what}: {_show(size)} and "
                f"{_show(sizes[-1])}"
            )


def _show(size: object) -> str:
    return "x".join(map(str, size)) if isinstance(size, tuple) else str(size)


def _number(case: CaseFiles, images: Sequence[Source], labels: Sequence[Source]) -> list[Drawn]:
    digits = max(3, len(str(len(labels) - 1)))
    return [
        Drawn(f"{case.name}_{number:0{digits}}", *pair)
        for number, pair in enumerate(zip(images, labels, strict=True))
    ]
