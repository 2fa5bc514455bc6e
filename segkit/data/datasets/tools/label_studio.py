"""`label_studio`: images with the JSON that Label Studio exports."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from segkit.data.annotations.tools.drawn_shapes import Annotated, DrawnShapes
from segkit.data.annotations.tools.label_studio_json import (
    Task,
    choose_annotation,
    images_of,
    label_studio_shapes,
    labels_of,
    read_tasks,
    size_of,
    unlabelled_in,
)
from segkit.data.annotations.tools.names import BACKGROUND, NamedClasses, classes_of
from segkit.data.annotations.tools.options import AUTO, Classes, Expression, Overlap
from segkit.data.annotations.tools.parts import divided, is_there, resolved
from segkit.data.annotations.tools.shapes import Shape
from segkit.data.files.file_patterns import SPLIT
from segkit.data.files.options import Channels, Ends, Fraction
from segkit.data.files.paired_files import existing_root
from segkit.data.files.validate import shorten
from segkit.errors import ConfigError, DataError
from segkit.registry import DATASETS
from segkit.system.printable import show_path
from segkit.types import NonNegativeFloat, NonNegativeInt, Size

#: What Label Studio puts before the name of a file that is uploaded.
UPLOADED = re.compile("[0-9a-f]{8}-(?=.)")


@DATASETS.register("label_studio")
class LabelStudio(DrawnShapes):
    """Label Studio's export as JSON, with the images in a folder, as it is.

    root          the folder that holds all of it
    annotations   the JSON file below `root`; {split} in it stands for the part, if each has its own; without it, the
                  only JSON file of `root`
    images        the folder below `root` of the images, searched for the end of each address, or for the name alone,
                  also without the eight digits that an upload puts before it
    image_key     what the image is called in the data of a task
    to_name       what the labelling configuration calls that image, where a task has several: `toName` of its labels
    completed_by  number or e-mail address of the person whose annotations are read, where a task has several
    classes       names of the classes, in the order of their ids; `auto`: the background and all labels that are found,
                  sorted; the run keeps what it found
    label_map     label -> class or `ignore`; "*" for all labels not named. A label that is a class needs no entry
    background    the class of what nothing is drawn on, or `ignore`
    overlap       what a pixel is that two shapes cover: the later one (`order`) or the smaller one (`area`)
    line_width    how wide key points are, in pixels; 0 leaves them out
    train_split   what {split} is for the training part
    val_split     the same for the validation part
    val_fraction  the share of the tasks that validates instead, chosen by the names of their images
    split_seed    another number, another choice
    split_group   a regular expression: images in whose names it finds the same text are not divided, such as "^[^_]+"
    ignore_index  id of the pixels that count neither in the loss nor in a score
    channels      3 for colour images, 1 for greyscale, which are converted into each other; else the bands of the
                  images
    value_range   which numbers become 0 and 255 in images of more than 8 bits, as of `folder`
    resize        [height, width] that every image is brought to, or null

    Polygons, brush strokes, bit masks, rectangles, ellipses and key points with labels are drawn; those without are
    left out and noted, and so are tasks that nobody annotated, or all of whose annotations were cancelled. The export
    of brush labels as PNG files says the task's number alone and not the image; its pixels are in the JSON export, too.
    Source: https://labelstud.io/guide/export.

    Raises DataError for what is missing on disk, ConfigError for names that contradict each other.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        annotations: str | None = None,
        images: str = "",
        image_key: str = "image",
        to_name: str | None = None,
        completed_by: int | str | None = None,
        classes: Classes = "auto",
        label_map: dict[str, str] | None = None,
        background: str = BACKGROUND,
        overlap: Overlap = "order",
        line_width: NonNegativeFloat | None = None,
        train_split: str = "train",
        val_split: str = "val",
        val_fraction: Fraction | None = None,
        split_seed: NonNegativeInt = 0,
        split_group: Expression | None = None,
        ignore_index: int = 255,
        channels: Channels = 3,
        value_range: Ends = "auto",
        resize: Size | None = None,
    ):
        folder, notes, found = existing_root(root), [], {}
        name = annotations or find_export(folder)
        if SPLIT not in name and val_fraction is None:
            raise ValueError(
                "Label Studio's export does not say which images validate -> data.val_fraction=0.2, or a file for "
                "each part: data.annotations='{split}.json'"
            )
        paths = {
            part: folder / name.replace(SPLIT, said)
            for part, said in (("train", train_split), ("val", val_split))
        }

        def find(part: Literal["train", "val"], notes: list[str]) -> list[Task]:
            return divided(
                _leave_out_empty(read_tasks(paths[part], image_key), notes),
                _name,
                part,
                fraction=val_fraction,
                seed=split_seed,
                group=split_group,
            )

        self.tasks, path = find(split, notes), paths[split]
        if not self.tasks:
            raise DataError(f"no annotated image in {show_path(path)}")
        _check_images(self.tasks, read_tasks(path, image_key), to_name, path)
        if classes == AUTO:
            everything = [
                task for file in sorted(set(paths.values())) for task in read_tasks(file, image_key)
            ]
            found["classes"] = classes = classes_of(
                _find_labels(everything, to_name), label_map, background=background
            )
        self.completed_by, self.to_name = completed_by, to_name
        notes += _note_unlabelled(self.tasks, to_name)
        super().__init__(
            folder,
            [Annotated(_name(task), find_image(task, folder / images), path) for task in self.tasks],
            NamedClasses(classes, label_map, background=background, ignore_index=ignore_index),
            overlap=overlap,
            line_width=line_width,
            channels=channels,
            value_range=value_range,
            resize=resize,
            training=lambda: [find_image(task, folder / images) for task in find("train", [])],
            found=found,
            notes=notes,
        )

    def shapes(self, index: int, size: tuple[int, int]) -> list[Shape]:
        source = self.shown(self.mask_paths[index])
        annotation = choose_annotation(self.tasks[index], source=source, completed_by=self.completed_by)
        source = f"{source}, task {self.tasks[index].number}"
        return label_studio_shapes(annotation, size, source=source, to_name=self.to_name)

    def said_size(self, index: int) -> tuple[int, int] | None:
        task, source = self.tasks[index], self.shown(self.mask_paths[index])
        annotation = choose_annotation(task, source=source, completed_by=self.completed_by)
        return size_of(annotation, self.to_name)


def find_export(root: Path) -> str:
    """The only JSON file of a folder. Raises DataError if there is none, or if there are several."""
    found = sorted(path.name for path in root.glob("*.json"))
    if len(found) == 1:
        return found[0]
    has = ", ".join(found[:4]) if found else "no JSON file"
    raise DataError(f"{show_path(root)} has {has} -> data.annotations names the export")


def _leave_out_empty(tasks: Sequence[Task], notes: list[str]) -> list[Task]:
    kept = [task for task in tasks if task.annotations]
    if len(kept) < len(tasks):
        first = next(task for task in tasks if not task.annotations)
        count = len(tasks) - len(kept)
        have = (
            "1 task has no annotation and is" if count == 1 else f"{count} tasks have no annotation and are"
        )
        notes.append(f"{have} left out: task {first.number}, {PurePosixPath(first.file).name}")
    return kept


def find_image(task: Task, folder: Path) -> Path:
    """The image of a task: the longest end of its path that is there, else by its name without what an upload adds."""
    parts = PurePosixPath(task.file).parts
    tried = [resolved(folder, "/".join(parts[place:])) for place in range(len(parts))]
    tried.append(folder / UPLOADED.sub("", parts[-1], count=1))
    return next((path for path in tried if is_there(path)), folder / parts[-1])


def _name(task: Task) -> str:
    return PurePosixPath(task.file).stem


def _check_images(tasks: Sequence[Task], everything: Sequence[Task], to_name: str | None, path: Path) -> None:
    """Raises DataError for regions on several images of a task where nobody says which are read, and ConfigError for a
    name that no region of the file has."""
    if to_name is None:
        for task in tasks:
            for names in map(images_of, task.annotations):
                if len(names) > 1:
                    raise DataError(
                        f"regions on several images: {show_path(path)}, task {task.number}, on {shorten(names)}\n"
                        "   -> data.to_name is the one of them that data.image_key is, in the labelling configuration"
                    )
        return
    known = [name for task in everything for annotation in task.annotations for name in images_of(annotation)]
    if to_name not in known:
        raise ConfigError(
            f"data.to_name={to_name}: no region of {show_path(path)} is on it; they are on "
            f"{shorten(sorted(set(known)), most=6) or 'nothing'}"
        )


def _note_unlabelled(tasks: Iterable[Task], to_name: str | None) -> list[str]:
    found = [
        f"task {task.number}, {entry}"
        for task in tasks
        for annotation in task.annotations
        for entry in unlabelled_in(annotation, to_name)
    ]
    if not found:
        return []
    have = (
        "1 region has no label and is" if len(found) == 1 else f"{len(found)} regions have no label and are"
    )
    return [f"{have} left out: {found[0]}"]


def _find_labels(tasks: Iterable[Task], to_name: str | None) -> set[str]:
    return {
        label for task in tasks for annotation in task.annotations for label in labels_of(annotation, to_name)
    }
