"""`cvat`: what CVAT exports as `CVAT for images 1.1`, an XML file and the images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from segkit.data.annotations.tools.cvat_xml import CvatImage, cvat_shapes, read_cvat
from segkit.data.annotations.tools.drawn_shapes import Annotated, DrawnShapes
from segkit.data.annotations.tools.names import BACKGROUND, NamedClasses
from segkit.data.annotations.tools.options import AUTO, Classes, Expression, Overlap
from segkit.data.annotations.tools.parts import divided, is_there, resolved
from segkit.data.annotations.tools.shapes import Shape
from segkit.data.files.file_patterns import SPLIT
from segkit.data.files.label_map import IGNORE
from segkit.data.files.options import Channels, Ends, Fraction
from segkit.data.files.paired_files import existing_root
from segkit.data.palette import Color
from segkit.errors import DataError
from segkit.registry import DATASETS
from segkit.system.printable import show_path
from segkit.types import NonNegativeFloat, NonNegativeInt, Size

#: Of the files of a video's frames.
FRAME_SUFFIX = ".PNG"


@DATASETS.register("cvat")
class Cvat(DrawnShapes):
    """What CVAT exports as "CVAT for images 1.1", of a task or a project, as it is.

    root          the folder that holds all of it
    annotations   the XML file below `root`; {split} in it stands for the part, if each has its own, and * for any text,
                  where a part has several: "job_*/annotations.xml"
    images        the folder of the images; without it, `images` beside the XML file, or the XML file's own folder
    classes       names of the classes, in the order of their ids; `auto`: the background and the labels of the task or
                  project in their order, as CVAT's own masks have them; the run keeps what it found
    label_map     label -> class or `ignore`; "*" for all labels not named. A label that is a class needs no entry
    background    the class of what nothing is drawn on, or `ignore`
    overlap       what a pixel is that two shapes cover: the one with the higher z_order, or the later one (`order`, as
                  CVAT shows them), or the smaller one (`area`; shapes of one label and one group_id count as one)
    line_width    how wide polylines and points are, in pixels; 0 leaves them out, as CVAT's own masks do
    train_split   the subset of the training images, or what {split} is for them
    val_split     the same for the validation images
    val_fraction  the share of all images that validates instead, chosen by their names
    split_seed    another number, another choice
    split_group   a regular expression: images in whose names it finds the same text are not divided, such as "^[^_]+"
    ignore_index  id of the pixels that count neither in the loss nor in a score
    channels      3 for colour images, 1 for greyscale, which are converted into each other; else the bands of the
                  images
    value_range   which numbers become 0 and 255 in images of more than 8 bits, as of `folder`
    resize        [height, width] that every image is brought to, or null

    Polygons, boxes (also turned ones), ellipses, masks, polylines and points are drawn; tags, attributes and `occluded`
    are not read. Polygons and boxes are filled by COCO's rule, as in CVAT's own masks. An image that is in the file
    without shapes is background. Source: https://docs.cvat.ai/docs/manual/advanced/xml_format.

    Raises DataError for what is missing on disk, ConfigError for names that contradict each other.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        annotations: str = "annotations.xml",
        images: str | None = None,
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
        folder, found = existing_root(root), {}
        parts = {"train": train_split, "val": val_split}
        paths = {part: _find_files(folder, annotations.replace(SPLIT, name)) for part, name in parts.items()}

        def places(path: Path) -> list[Path]:
            return [folder / images] if images is not None else [path.parent / "images", path.parent]

        def name_of(item: tuple[CvatImage, Path]) -> str:
            image, path = item  # images of several tasks may have one name
            apart = len({path.parent for path in paths["train"]}) > 1
            above = path.parent.relative_to(folder) if apart and path.is_relative_to(folder) else Path()
            return (above / image.name).with_suffix("").as_posix()

        def find(part: Literal["train", "val"]) -> list[tuple[CvatImage, Path]]:
            listed = [(image, path) for path in paths[part] for image in read_cvat(path).images]
            if val_fraction is not None:
                return divided(
                    listed, name_of, part, fraction=val_fraction, seed=split_seed, group=split_group
                )
            return (
                listed if SPLIT in annotations else _choose_subset(listed, parts[part], folder / annotations)
            )

        listed = find(split)
        labels = {
            label: colour
            for path in dict.fromkeys([*paths["train"], *paths["val"]])
            for label, colour in read_cvat(path).labels.items()
        }
        if classes == AUTO:
            found["classes"] = classes = classes_of_labels(list(labels), label_map or {}, background)
        super().__init__(
            folder,
            [
                Annotated(name_of((image, path)), _find_image(image, places(path)), path)
                for image, path in listed
            ],
            NamedClasses(classes, label_map, background=background, ignore_index=ignore_index),
            overlap=overlap,
            line_width=line_width,
            channels=channels,
            value_range=value_range,
            resize=resize,
            training=lambda: [_find_image(image, places(path)) for image, path in find("train")],
            found=found,
        )
        self.listed = [image for image, _ in listed]
        self.palette = _palette(classes, labels, background)
        if not any(is_there(image) for image in self.image_paths):
            image, path = listed[0]
            looked = " and ".join(show_path(place) for place in places(path))
            raise DataError(
                f"no image of {show_path(path)} is there: {show_path(image.name)}\n   looked in {looked} "
                "-> export with `Save images`, or data.images says where they are"
            )

    def shapes(self, index: int, size: tuple[int, int]) -> list[Shape]:
        return cvat_shapes(self.listed[index], source=self.shown(self.mask_paths[index]))

    def said_size(self, index: int) -> tuple[int, int] | None:
        return self.listed[index].size


def classes_of_labels(labels: Sequence[str], label_map: dict[str, str], background: str) -> list[str]:
    """The names of the classes in the order of the labels, after the background."""
    meanings = (label_map.get(label, label_map.get("*", label)) for label in labels)
    names = [name for name in dict.fromkeys(meanings) if name not in (IGNORE, background)]
    return names if background == IGNORE else [background, *names]


def _find_files(root: Path, name: str) -> list[Path]:
    if (root / name).is_file():
        return [root / name]
    if "*" in name and (several := sorted(path for path in root.glob(name) if path.is_file())):
        return several
    found = sorted(path.relative_to(root).as_posix() for path in root.glob("*.xml"))
    hint = f"; there is {', '.join(found[:4])}" if found else ""
    raise DataError(f"no file {show_path(root / name)}{hint} -> data.annotations names the XML file")


def _choose_subset(
    listed: Sequence[tuple[CvatImage, Path]], part: str, path: Path
) -> list[tuple[CvatImage, Path]]:
    chosen = [item for item in listed if item[0].subset == part]
    if not chosen:
        subsets = sorted({image.subset for image, _ in listed} - {""})
        has = f"its subsets are {', '.join(subsets)}" if subsets else "it has no subsets"
        raise DataError(
            f"no image in {show_path(path)} is of the subset {part!r}: {has}\n   -> data.train_split and "
            "data.val_split name them, or data.val_fraction=0.2 divides all images"
        )
    return chosen


def _find_image(image: CvatImage, places: Sequence[Path]) -> Path:
    """The file of an image: in one of the places, where those of a project lie in folders of its subsets. Frames of a
    video are named without suffix, and saved with one."""
    names = [image.name] if Path(image.name).suffix else [image.name, image.name + FRAME_SUFFIX]
    # Its own folder first: a name may begin with that of another subset.
    below = [*([f"{image.subset}/{name}" for name in names] if image.subset else []), *names]
    tried = [resolved(place, name) for place in places for name in below]
    return next((path for path in tried if is_there(path)), tried[0])


def _palette(classes: Sequence[str], labels: dict[str, Color | None], background: str) -> list[Color] | None:
    """CVAT's colours of the classes, the background black; None if one has none, or two have the same."""
    colours = [(0, 0, 0) if name == background else labels.get(name) for name in classes]
    known = [colour for colour in colours if colour is not None]
    return known if len(set(known)) == len(classes) else None
