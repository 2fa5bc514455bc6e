"""What data sets of COCO files have in common: images, classes, and how messages name an annotation."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from segkit.data.annotations.annotated_images import AnnotatedImages
from segkit.data.annotations.coco.classes import (
    Naming,
    category_values,
    check_classes,
    check_label_map,
    list_classes,
)
from segkit.data.annotations.coco.coco_file import CocoFile
from segkit.data.annotations.coco.part import Part, Parts
from segkit.data.decoding.value_range import find_value_range
from segkit.data.files.label_map import IGNORE, LabelMap
from segkit.data.files.options import find_ends
from segkit.data.files.paired_files import existing_root
from segkit.errors import DataError
from segkit.system.printable import show_name, show_path

#: Classes are found in the training file.
AUTO = "auto"


class CocoImages(AnnotatedImages):
    """The images of a part of COCO files, with the classes of its categories; a subclass draws them.

    parts        which images there are
    find_labels  the file with the labels of each image of a part, from the root and the part
    others       the arguments are those of `Coco`
    """

    def __init__(
        self,
        parts: Parts,
        split: Literal["train", "val"],
        *,
        root: str,
        find_labels: Callable[[Path, Part], Sequence[Path]],
        refuse: Callable[[CocoFile], None],
        classes: list[str] | str,
        label_map: Mapping[str, str] | None,
        background: str,
        naming: Naming,
        ignore_index: int,
        channels: int,
        value_range: list[float] | str,
        resize: Sequence[int] | None,
    ):
        folder, label_map = existing_root(root), label_map or {}
        part = parts.find(folder, split)
        refuse(part.file)
        found: dict[str, Any] = {}
        if isinstance(classes, str):
            file = parts.open(folder, "train")
            check_label_map(label_map, file.categories, naming=naming, source=file.path)
            first = None if background == IGNORE else background
            classes = list_classes(file.categories, label_map, background=first, naming=naming)
            found["classes"] = classes
        check_classes(classes, label_map, background=background, ignore_index=ignore_index)
        ends = find_ends(value_range, lambda: _find_ranging(parts, part, folder, split))
        if value_range == AUTO and ends is not None:
            found["value_range"] = list(ends)
        super().__init__(
            folder,
            names=part.names,
            image_paths=part.image_paths,
            mask_paths=find_labels(folder, part),
            weight_paths=[folder / "weights" / split / name for name in part.names],
            class_names=classes,
            label_map=LabelMap(None, classes=classes, ignore_index=ignore_index),
            channels=channels,
            value_range=ends,
            resize=resize,
            notes=[*part.file.notes, *part.notes, *_describe_strays(part.file)],
        )
        self.file, self.numbers = part.file, part.numbers
        self.background = ignore_index if background == IGNORE else classes.index(background)
        self.values = category_values(
            part.file.categories,
            part.file.used,
            label_map,
            classes=classes,
            ignore_index=ignore_index,
            naming=naming,
            source=part.file.path,
        )
        #: What `auto` stands for, to be kept with the run.
        self.found_options = found

    def said_size(self, index: int) -> tuple[int, int] | None:
        height, width = self.file.sizes[self.numbers[index]].tolist()
        return (height, width) if height and width else None

    def value_of(self, entry: Mapping[str, Any]) -> int:
        """Class id or `ignore_index` of what has a `category_id`. Raises ValueError for one that is not there."""
        key = entry.get("category_id")
        if key not in self.values:
            raise ValueError(
                f"there is no category with the id {show_name(repr(key))}\n"
                "   -> list the category, or remove the annotation"
            )
        return self.values[key]

    def wrong(self, index: int, number: int, entry: Mapping[str, Any], text: str) -> DataError:
        """The error to raise for `annotations[number]` of image `index`; `text` is the rule and what to do."""
        own = f" (id {show_name(entry['id'])})" if "id" in entry else ""
        image = self.shown(self.image_paths[index])
        return DataError(f"{self.shown(self.file.path)}: annotations[{number}]{own} of {image}: {text}")


def _find_ranging(parts: Parts, part: Part, root: Path, split: str) -> list[Path]:
    """The training images, by which numbers of more than 8 bits are read; or these, if they have none."""
    if split == "train" or find_value_range(part.image_paths) is None:
        return part.image_paths
    return parts.find(root, "train").image_paths


def _describe_strays(file: CocoFile) -> list[str]:
    """A note on annotations that will be errors where their images are read."""
    if not len(file.strays):
        return []
    first = f"{show_path(file.path)}: annotations[{file.strays[0]}]"
    count = f"{len(file.strays)} annotations have" if len(file.strays) > 1 else "1 annotation has"
    return [f"{count} a category that is not there, so that their images cannot be used: {first}"]
