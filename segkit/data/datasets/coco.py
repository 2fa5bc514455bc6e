"""`coco`: objects outlined in COCO's JSON files, drawn as they are read."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from segkit.data.annotations.annotated_images import empty_target
from segkit.data.annotations.coco.coco_file import CocoFile
from segkit.data.annotations.coco.coco_images import CocoImages
from segkit.data.annotations.coco.part import Classes, Expression, Folder, JsonFile, Parts
from segkit.data.annotations.coco.shapes import WrongShape, object_patches
from segkit.data.files.options import Channels, Ends, Fraction
from segkit.data.loading.spread import spread
from segkit.errors import DataError
from segkit.registry import DATASETS
from segkit.system.printable import show_path
from segkit.types import NonNegativeInt, Size

#: Images whose outlines are looked at for boxes, and outlines from which on it is said that all are such.
LOOKED_AT, MANY_BOXES = 20, 20


@DATASETS.register("coco")
class Coco(CocoImages):
    """Objects in COCO's JSON files (polygons, run lengths): every pixel is of the class of the object that covers it.

    root               the folder that holds all of it
    train_annotations  the JSON file of the training images, such as annotations/instances_train2017.json
    val_annotations    that of the validation images
    val_fraction       instead: the share of the training images that validates, chosen by their names
    split_seed         another number, another choice
    split_group        a regular expression: images in whose names it finds the same text are not divided
    images             the folder below `root` in which the images lie as the file names them; {split} becomes train or
                       val. Without it they are looked for beside the file and in folders of the usual names
    classes            names of categories, in the order of the class ids; `auto`: all categories of the training file,
                       in the order of their ids, after the background; the run keeps what it found
    label_map          what categories are instead: name -> class or `ignore`; "*" for all that are not named
    categories         what is meant by the name of a category: its `name`, or its `supercategory`
    background         the class of pixels that nothing covers, or `ignore`
    crowd              what the region of an object with `iscrowd` is: its `class`, like any other, or `ignore`
    overlap            which of two objects is above: the smaller in `area`, or the later in the `order` of the file
    unannotated        what to do about images without annotations: `keep` them, all background, or `skip` them
    ignore_index       id of the pixels that count neither in the loss nor in a score
    channels           3 for colour images, 1 for greyscale, which are converted into each other; else their bands
    value_range        which numbers become 0 and 255 in images of more than 8 bits, as of `folder`
    resize             [height, width] that every image is brought to, or null

    Polygons cover the pixels that COCO's own tools (pycocotools) say they cover. A file of many objects is not kept in
    memory: what is kept is where in it they stand. Format: https://cocodataset.org/#format-data (Lin et al., "Microsoft
    COCO: Common Objects in Context", ECCV 2014).

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
        classes: Classes = "auto",
        label_map: dict[str, str] | None = None,
        categories: Literal["name", "supercategory"] = "name",
        background: str = "background",
        crowd: Literal["class", "ignore"] = "class",
        overlap: Literal["area", "order"] = "area",
        unannotated: Literal["keep", "skip"] = "keep",
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
            unannotated=unannotated,
        )
        super().__init__(
            parts,
            split,
            root=root,
            find_labels=lambda root, part: [part.file.path] * len(part.names),
            refuse=_refuse_undrawn,
            classes=classes,
            label_map=label_map,
            background=background,
            naming=categories,
            ignore_index=ignore_index,
            channels=channels,
            value_range=value_range,
            resize=resize,
        )
        self.crowd, self.overlap = crowd, overlap
        self.notes += self._note_boxes()

    def _note_boxes(self) -> list[str]:
        """A note on outlines that are the boxes around objects, as files made for detection have them."""
        looked = [
            entry
            for place in spread(len(self), LOOKED_AT)
            for _, entry in self.file.annotations(self.numbers[place])
            if entry.get("segmentation")
        ]
        if len(looked) < MANY_BOXES or not all(map(_is_box, looked)):
            return []
        return [
            f"all {len(looked)} outlines looked at are the boxes of their objects, which say nothing of the pixels in "
            f"them: {show_path(self.file.path)}"
        ]

    def draw(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Class ids (H, W). Raises DataError for annotations that cannot be drawn."""
        target = empty_target(self, size, self.background)
        annotations = self.file.annotations(self.numbers[index])
        values = [self._value(index, number, entry) for number, entry in annotations]
        try:
            objects = object_patches([entry for _, entry in annotations], size)
        except WrongShape as error:
            raise self.wrong(index, *annotations[error.place], str(error)) from None
        drawn = list(zip(values, objects, strict=True))
        if self.overlap == "area":  # the largest first; of parts that overlap, the pixels count twice
            drawn.sort(key=lambda each: -sum(patch.area for patch in each[1]))
        for value, patches in drawn:
            for patch in patches:
                patch.fill(target, value)
        return target

    def _value(self, index: int, number: int, entry: dict[str, Any]) -> int:
        try:
            value = self.value_of(entry)
        except ValueError as error:
            raise self.wrong(index, number, entry, str(error)) from None
        return self.ignore_index if entry.get("iscrowd") and self.crowd == "ignore" else value


def _is_box(entry: Mapping[str, Any]) -> bool:
    """Whether an annotation is outlined by its box."""
    outline, box = entry["segmentation"], entry.get("bbox")
    if not isinstance(outline, list) or len(outline) != 1 or not isinstance(box, list) or len(box) != 4:
        return False
    try:
        points = np.array(outline[0], dtype=np.float64).reshape(-1, 2)
        left, top, width, height = (float(number) for number in box)
        low, high = points.min(axis=0), points.max(axis=0)
    except (TypeError, ValueError):  # which is said where it is drawn
        return False
    near = np.abs(np.concatenate([low, high]) - [left, top, left + width, top + height]).max() <= 1
    return len(points) in (4, 5) and bool(((points == low) | (points == high)).all()) and bool(near)


def _refuse_undrawn(file: CocoFile) -> None:
    """Files of another kind of annotations than outlines."""
    if file.pngs is not None:
        raise DataError(
            f"{show_path(file.path)} is panoptic: its labels are in PNG files -> data.name=coco_panoptic"
        )
    if sum(file.used) and not file.drawn:
        raise DataError(
            f"{show_path(file.path)} has boxes alone, no outlines, and says of no pixel what it is\n"
            "   -> export it with segmentation, or outline the objects"
        )
