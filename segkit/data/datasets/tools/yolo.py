"""`yolo`: the polygons of YOLO's segmentation, in a text file for each image, with a `data.yaml`."""

from pathlib import Path
from typing import Literal

from segkit.data.annotations.tools.drawn_shapes import Annotated, DrawnShapes
from segkit.data.annotations.tools.names import BACKGROUND, NamedClasses
from segkit.data.annotations.tools.options import AUTO, Classes, Expression, Overlap
from segkit.data.annotations.tools.parts import divided, is_there, name_below
from segkit.data.annotations.tools.shapes import Shape
from segkit.data.annotations.tools.yolo_text import (
    IMAGES,
    YoloFile,
    corner_counts,
    find_images,
    read_data_file,
    read_names_file,
    text_of,
    yolo_shapes,
)
from segkit.data.files.label_map import IGNORE
from segkit.data.files.options import Channels, Ends, Fraction
from segkit.data.files.paired_files import existing_root
from segkit.data.loading.spread import spread
from segkit.errors import DataError
from segkit.registry import DATASETS
from segkit.system.printable import show_path
from segkit.types import NonNegativeInt, Size

DATA_FILE, NAMES_FILE = "data.yaml", "classes.txt"
#: Text files that are looked at for boxes, and polygons from which on it is said that all may be such.
LOOKED_AT, MANY_BOXES = 20, 20


@DATASETS.register("yolo")
class Yolo(DrawnShapes):
    """YOLO's polygons with their data.yaml, as they are; classes as in Ultralytics' semantic segmentation.

    root          the folder that holds `data_file`
    data_file     the file with `path`, `train`, `val` and `names`; without it data.yaml, or the only .yaml file of
                  `root`, or a classes.txt with a name on each line, beside images/train, images/val or images alone
    classes       names of the classes, in the order of their ids; `auto`: those of the file by their numbers and then
                  the background, or, for one class, the background and that class; the run keeps what it found
    label_map     name in the file -> class or `ignore`; "*" for all names not named. A name that is a class needs no
                  entry
    background    the class of what no polygon covers, or `ignore`
    overlap       what a pixel is that two polygons cover: the smaller one (`area`, as Ultralytics has it), or the later
                  one (`order`)
    train_split   the key of the file that names the training images
    val_split     the same for the validation images: `val`, `test`
    val_fraction  the share of the training images that validates instead, chosen by their names
    split_seed    another number, another choice
    split_group   a regular expression: images in whose names it finds the same text are not divided, such as "^[^_]+"
    ignore_index  id of the pixels that count neither in the loss nor in a score
    channels      3 for colour images, 1 for greyscale, which are converted into each other; else the bands of the
                  images
    value_range   which numbers become 0 and 255 in images of more than 8 bits, as of `folder`
    resize        [height, width] that every image is brought to, or null

    The text file of images/train/a.jpg is labels/train/a.txt; an image without one is background throughout. Polygons
    are filled by COCO's rule; Ultralytics cuts corners off to whole pixels and counts every pixel that the outline
    touches. Rows of 5 numbers are boxes, and refused. Source: https://docs.ultralytics.com/datasets/segment.

    Raises DataError for what is missing on disk, ConfigError for names that contradict each other.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        data_file: str | None = None,
        classes: Classes = "auto",
        label_map: dict[str, str] | None = None,
        background: str = BACKGROUND,
        overlap: Overlap = "area",
        train_split: Literal["train", "val", "test"] = "train",
        val_split: Literal["train", "val", "test"] = "val",
        val_fraction: Fraction | None = None,
        split_seed: NonNegativeInt = 0,
        split_group: Expression | None = None,
        ignore_index: int = 255,
        channels: Channels = 3,
        value_range: Ends = "auto",
        resize: Size | None = None,
    ):
        folder, found = existing_root(root), {}
        self.file = file = read_file(find_data_file(folder, data_file))

        def find(part: Literal["train", "val"]) -> list[Path]:
            return divided(
                find_images(file, val_split if part == "val" and val_fraction is None else train_split),
                lambda image: _name(image, file),
                part,
                fraction=val_fraction,
                seed=split_seed,
                group=split_group,
            )

        if classes == AUTO:
            found["classes"] = classes = classes_of_file(file, label_map or {}, background)
        super().__init__(
            folder,
            [Annotated(_name(image, file), image, text_of(image)) for image in find(split)],
            NamedClasses(classes, label_map, background=background, ignore_index=ignore_index),
            overlap=overlap,
            line_width=None,
            channels=channels,
            value_range=value_range,
            resize=resize,
            training=lambda: find("train"),
            found=found,
        )
        self._note_backgrounds()

    def shapes(self, index: int, size: tuple[int, int]) -> list[Shape]:
        path = self.mask_paths[index]
        if not is_there(path):
            return []
        return yolo_shapes(path, self.file.names, size, source=self.shown(path))

    def files(self, index: int) -> tuple[Path, ...]:
        """The files that a sample is made of: its image, its text file if it has one, and the data.yaml."""
        text = self.mask_paths[index]
        return self.image_paths[index], *([text] if is_there(text) else []), self.file.path

    def _note_backgrounds(self) -> None:
        """Raises DataError if no image has a text file: then they are not where they are looked for."""
        without = [path for path in self.mask_paths if not is_there(path)]
        if len(without) == len(self):
            raise DataError(
                f"no image has a text file with polygons: {self.shown(self.image_paths[0])} -> expected "
                f"{self.shown(without[0])}"
            )
        self._note_boxes()
        if without:
            have = "1 image has" if len(without) == 1 else f"{len(without)} images have"
            self.notes.append(f"{have} no text file and nothing on them: no {self.shown(without[0])}")

    def _note_boxes(self) -> None:
        """A note on polygons that all have four corners: YOLO's oriented boxes are written like them."""
        texts = [path for path in self.mask_paths if is_there(path)]
        looked = [texts[place] for place in spread(len(texts), LOOKED_AT)]
        counts = [count for path in looked for count in corner_counts(path)]
        if len(counts) >= MANY_BOXES and set(counts) == {4}:
            self.notes.append(
                f"all {len(counts)} polygons of the text files looked at have four corners: if they are "
                "boxes around objects, as of oriented detection, they say nothing of the pixels in them"
            )


def read_file(path: Path) -> YoloFile:
    """A data.yaml, or a classes.txt with names alone."""
    return read_names_file(path) if path.suffix.lower() == ".txt" else read_data_file(path)


def find_data_file(root: Path, name: str | None) -> Path:
    """The data.yaml of a folder, or its classes.txt. Raises DataError if there is none, or if there are several."""
    if name is not None:
        if (root / name).is_file():
            return root / name
        raise DataError(
            f"no file {show_path(root / name)} -> data.data_file names the one with train, val and names"
        )
    if (root / DATA_FILE).is_file():
        return root / DATA_FILE
    found = sorted(path for path in root.iterdir() if path.suffix in (".yaml", ".yml"))
    if len(found) == 1:
        return found[0]
    if not found and (root / NAMES_FILE).is_file():
        return root / NAMES_FILE
    what = f"has {', '.join(path.name for path in found)}" if found else f"has no {DATA_FILE}"
    raise DataError(f"{show_path(root)} {what} -> data.data_file names the file with train, val and names")


def classes_of_file(file: YoloFile, label_map: dict[str, str], background: str) -> list[str]:
    """The names of the classes as Ultralytics' semantic segmentation numbers them: the background last or, beside a
    single class, first."""
    meanings = (label_map.get(name, label_map.get("*", name)) for name in file.names)
    names = [name for name in dict.fromkeys(meanings) if name != IGNORE]
    if background == IGNORE or background in names:
        return names
    return [background, *names] if len(names) == 1 else [*names, background]


def _name(image: Path, file: YoloFile) -> str:
    """What a sample is called: the path of its image below the last folder `images`, or below the folder of the
    file."""
    places = [place for place, part in enumerate(image.parts[:-1]) if part == IMAGES]
    if places and places[-1] > len(file.folder.parts) - 1:
        return Path(*image.parts[places[-1] + 1 :]).with_suffix("").as_posix()
    return name_below(image, file.folder)
