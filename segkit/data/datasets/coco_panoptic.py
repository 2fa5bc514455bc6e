"""`coco_panoptic`: COCO's panoptic labels, a JSON file and a folder of PNG files in which every segment has an id."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segkit.data.annotations.coco.coco_file import CocoFile
from segkit.data.annotations.coco.coco_images import CocoImages
from segkit.data.annotations.coco.part import (
    Classes,
    Expression,
    Folder,
    JsonFile,
    Part,
    Parts,
    mask_folders,
)
from segkit.data.decoding.images_and_masks import read_labels
from segkit.data.files.file_patterns import SPLIT
from segkit.data.files.options import Channels, Ends, Fraction
from segkit.data.files.validate import shorten
from segkit.errors import DataError
from segkit.registry import DATASETS
from segkit.system.printable import show_path
from segkit.types import NonNegativeInt, Size

#: The id of pixels that belong to no segment.
VOID = 0


@DATASETS.register("coco_panoptic")
class CocoPanoptic(CocoImages):
    """COCO's panoptic labels: a JSON file, and PNG files of segments (id = red + 256 green + 65536 blue).

    masks  the folder below `root` in which the PNG files lie as the JSON file names them; {split} becomes train or val.
           Without it: that of the JSON file's name, such as annotations/panoptic_train2017/, or beside the file
    background  the class of pixels that no segment covers (id 0), or `ignore`

    The other options are those of `coco`. Format: https://cocodataset.org/#format-data (Kirillov et al., "Panoptic
    Segmentation", CVPR 2019).

    Raises DataError for what is missing or contradicts itself, ConfigError for options that contradict each other.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        train_annotations: JsonFile,
        val_annotations: JsonFile | None = None,
        val_fraction: Fraction | None = None,
        split_seed: NonNegativeInt = 0,
        split_group: Expression | None = None,
        images: Folder | None = None,
        masks: Folder | None = None,
        classes: Classes = "auto",
        label_map: dict[str, str] | None = None,
        categories: Literal["name", "supercategory"] = "name",
        background: str = "ignore",
        crowd: Literal["class", "ignore"] = "class",
        ignore_index: int = 255,
        channels: Channels = 3,
        value_range: Ends = "auto",
        resize: Size | None = None,
    ):
        parts = Parts(
            train_annotations=train_annotations,
            val_annotations=val_annotations,
            images=images,
            val_fraction=val_fraction,
            split_seed=split_seed,
            split_group=split_group,
        )
        folder = (
            None if masks is None else masks.replace(SPLIT, "train" if val_fraction is not None else split)
        )
        super().__init__(
            parts,
            split,
            root=root,
            find_labels=lambda root, part: _find_masks(root, part, folder),
            refuse=_refuse_outlines,
            classes=classes,
            label_map=label_map,
            background=background,
            naming=categories,
            ignore_index=ignore_index,
            channels=channels,
            value_range=value_range,
            resize=resize,
        )
        self.crowd = crowd

    def files(self, index: int) -> tuple[Path, ...]:
        """The files that a sample is made of: its image, the JSON file, and the PNG file, whose values mean nothing by
        themselves."""
        image, png = super().files(index)
        return image, self.file.path, png

    def draw(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Class ids (H, W). Raises DataError for segments that are not explained."""
        ((number, entry),) = self.file.annotations(self.numbers[index])
        mask = self.mask_paths[index]
        try:
            values = self._values_of(entry["segments_info"])
        except ValueError as error:
            raise self.wrong(index, number, entry, str(error)) from None
        unknown: list[np.ndarray] = []
        for segments in _readings(mask):  # (H, W)
            if segments.shape != size:
                raise DataError(
                    f"image and mask sizes differ: {self.shown(self.image_paths[index])} {size[1]}x{size[0]}, "
                    f"{self.shown(mask)} {segments.shape[1]}x{segments.shape[0]}"
                )
            found, strange = self._replace(segments, values)
            if not len(strange):
                self._refuse_void(segments, values, self.shown(mask))
                return found
            unknown.append(strange)
        strange = min(unknown, key=len)
        wrong = int(strange[0])
        raise DataError(
            f"segment without a category: {self.shown(mask)} has the segment {wrong} in "
            f"{int((strange == wrong).sum())} pixels, which segments_info of {self.shown(self.file.path)} does not "
            "list\n   -> are the PNG files those of another JSON file?"
        )

    def _refuse_void(self, segments: np.ndarray, values: Mapping[int, int], source: str) -> None:
        if len(values) > 1 and not segments.any():
            raise DataError(
                f"none of the {len(values) - 1} segments that segments_info of {self.shown(self.file.path)} lists is "
                f"in {source}: every pixel is void -> are the PNG files those of another JSON file?"
            )

    def _values_of(self, segments: Sequence[Mapping[str, Any]]) -> dict[int, int]:
        """The class id, or `ignore_index`, of each segment by its id. Raises ValueError for what contradicts itself."""
        values: dict[int, int] = {}
        for segment in segments:
            if "id" not in segment:
                raise ValueError("a segment has no id -> write the file again")
            key = segment["id"]
            if type(key) not in (int, float) or key != key // 1 or not 0 <= key < 256**3:
                raise ValueError(
                    f"a segment has the id {shorten([repr(key)])}, expected a whole number below 256 * 256 * 256"
                )
            value = self.value_of(segment)
            if segment.get("iscrowd") and self.crowd == "ignore":
                value = self.ignore_index
            if values.setdefault(int(key), value) != value:
                raise ValueError(
                    f"two segments have the id {int(key)}, and are of two classes -> number them anew"
                )
        return {VOID: self.background} | values

    def _replace(self, segments: np.ndarray, values: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The class ids of segments (H, W), and those segments (n,) of pixels that have none."""
        ids = np.array(sorted(values), dtype=np.int64)
        place = np.searchsorted(ids, segments).clip(max=len(ids) - 1)
        strange = segments[ids[place] != segments]
        return np.array([values[n] for n in ids.tolist()], dtype=self.target_dtype)[place], strange


def _readings(path: Path) -> Iterator[np.ndarray]:
    """The ids of the segments (H, W) in a PNG file; what else its numbers may be, where they are no colours. Raises
    DataError.

    Programs that make PNG files smaller save few colours as a palette, and greys as one number: what such a file shows
    is what it held, red + 256 green + 65536 blue. Others save the ids themselves as numbers, with any palette.
    """
    shown, are_colours = read_labels(path, colours=True)
    if are_colours:
        yield shown >> 16 | shown & 0xFF00 | (shown & 0xFF) << 16
    elif shown.dtype == np.uint8:
        yield shown.astype(np.int64) * (1 + 256 + 65536)
    numbers, are_colours = read_labels(path)
    if not are_colours:
        yield numbers


def _refuse_outlines(file: CocoFile) -> None:
    """Files of other annotations, and of several for one image."""
    if file.pngs is None:
        raise DataError(f"{show_path(file.path)} has no segments_info: it is not panoptic -> data.name=coco")
    for image, name in enumerate(file.names):
        if file.count(image) != 1:
            raise DataError(
                f"{show_path(file.path)}: images[{image}], {show_path(name)}, has {file.count(image)} annotations, "
                "expected one, with its segments -> remove the image, or all but one"
            )


def _find_masks(root: Path, part: Part, folder: str | None) -> Sequence[Path]:
    """The PNG files of the images of a part. Raises DataError if they are in none of the folders."""
    pngs = [name for name in (part.file.pngs or []) if name is not None]
    source = part.file.path
    places = mask_folders(source, root) if folder is None else [root / folder]
    twice = [name for name, count in Counter(pngs).items() if count > 1]
    if twice:
        raise DataError(
            f"{show_path(source)}: the segments of two images are in one PNG file, {show_path(twice[0])} "
            "-> name each file with its folder"
        )
    for place in places:
        if pngs and (place / pngs[part.numbers[0]]).is_file():
            return [place / pngs[number] for number in part.numbers]
    looked = " nor ".join(show_path(place.relative_to(root)) or "." for place in places)
    raise DataError(
        f"no PNG files of {show_path(source)}: {show_path(pngs[part.numbers[0]])} is not in {looked}\n"
        "   -> data.masks=FOLDER, in which they lie as the file names them"
    )
