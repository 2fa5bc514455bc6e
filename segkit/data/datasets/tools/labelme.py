"""`labelme`: images with the JSON files that labelme saves beside them."""

import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from segkit.data.annotations.tools.drawn_shapes import Annotated, DrawnShapes
from segkit.data.annotations.tools.labelme_json import (
    NotLabelme,
    embedded_image,
    labelme_shapes,
    labels_in,
    read_labelme,
)
from segkit.data.annotations.tools.names import BACKGROUND, NamedClasses, classes_of
from segkit.data.annotations.tools.options import AUTO, Classes, Expression, Overlap
from segkit.data.annotations.tools.parts import (
    divided,
    folder_of_part,
    is_there,
    name_below,
    resolved,
    walk_files,
    walk_images,
)
from segkit.data.annotations.tools.shapes import Shape
from segkit.data.decoding.images_and_masks import read_image
from segkit.data.files.file_patterns import SPLIT
from segkit.data.files.label_map import IGNORE
from segkit.data.files.options import Channels, Ends, Fraction
from segkit.data.files.paired_files import existing_root
from segkit.errors import DataError
from segkit.registry import DATASETS
from segkit.types import NonNegativeFloat, NonNegativeInt, Size

#: What labelme's own list of labels calls the background and what counts nowhere.
OWN_BACKGROUND = "_background_"
OWN_NAMES = {OWN_BACKGROUND: BACKGROUND, "__ignore__": IGNORE}


@DATASETS.register("labelme")
class Labelme(DrawnShapes):
    """Images with labelme's JSON files, of its first versions and of today's, as they are.

    root          the folder that holds all of it
    classes       names of the classes, in the order of their ids; `auto`: the background, and all labels that the files
                  of both parts have, sorted, for which all of them are read; the run keeps what it found
    label_map     label -> class or `ignore`; "*" for all labels not named. A label that is a class needs no entry
    background    the class of what nothing is drawn on, or `ignore`
    overlap       what a pixel is that two shapes cover: the later one (`order`, as labelme draws them) or the smaller
                  one (`area`; shapes of one label and one group_id count as one)
    line_width    how wide lines and points are, in pixels (labelme's own tools: 10); 0 leaves them out
    labels        the folder of the JSON files, where {split} stands for the part; without it, {split}, or all of
                  `root` if there is a `val_fraction`
    train_split   what {split} is for the training part
    val_split     what {split} is for the validation part
    val_fraction  the share of the files that validates instead, chosen by their names
    split_seed    another number, another choice
    split_group   a regular expression: files in whose names it finds the same text are not divided, such as "^[^_]+"
    unlabelled    what to do about images without a JSON file: `skip` them, or take them for `background`; those in a
                  folder of images of both parts are in neither, since nothing says in which
    ignore_index  id of the pixels that count neither in the loss nor in a score
    channels      3 for colour images, 1 for greyscale, which are converted into each other; else the bands of the
                  images
    value_range   which numbers become 0 and 255 in images of more than 8 bits, as of `folder`
    resize        [height, width] that every image is brought to, or null

    An image is the file that `imagePath` names, seen from the JSON file, or that has the JSON file's name; only where
    neither is there, the copy inside of the JSON file is used. Polygons are filled by COCO's rule: labelme's own
    exporters count every pixel that an outline touches, which makes all things about a pixel larger. Flags and
    descriptions are not read. Source: https://github.com/wkentaro/labelme.

    Raises DataError for what is missing on disk, ConfigError for names that contradict each other.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        classes: Classes = "auto",
        label_map: dict[str, str] | None = None,
        background: str = BACKGROUND,
        overlap: Overlap = "order",
        line_width: NonNegativeFloat | None = None,
        labels: str | None = None,
        train_split: str = "train",
        val_split: str = "val",
        val_fraction: Fraction | None = None,
        split_seed: NonNegativeInt = 0,
        split_group: Expression | None = None,
        unlabelled: Literal["skip", "background"] = "skip",
        ignore_index: int = 255,
        channels: Channels = 3,
        value_range: Ends = "auto",
        resize: Size | None = None,
    ):
        folder, notes = existing_root(root), []
        pattern = labels if labels is not None else ("" if val_fraction is not None else SPLIT)
        if SPLIT not in pattern and val_fraction is None:
            raise ValueError(
                f"labels={pattern!r} is the same for both parts -> {{split}} in it, or data.val_fraction=0.2"
            )
        parts = {"train": train_split, "val": val_split}

        def find(part: Literal["train", "val"], notes: list[str]) -> list[Annotated]:
            below = folder_of_part(folder, pattern, parts[part], key="data.labels")
            other = folder / pattern.replace(SPLIT, parts["val" if part == "train" else "train"])
            return divided(
                _find_entries(below, notes, unlabelled, other=None if other == below else other),
                lambda entry: entry.name,
                part,
                fraction=val_fraction,
                seed=split_seed,
                group=split_group,
            )

        entries, found = find(split, notes), {}
        own = OWN_NAMES if background == IGNORE else {**OWN_NAMES, OWN_BACKGROUND: background}
        meanings = {**own, **(label_map or {})}
        if classes == AUTO:
            folders = {folder / pattern.replace(SPLIT, part) for part in parts.values()}
            files = (path for place in sorted(folders) for path in walk_files(place, (".json",)))
            found["classes"] = classes = classes_of(_find_labels(files), meanings, background=background)
        named = _without_absent(meanings, classes, label_map or {})
        super().__init__(
            folder,
            entries,
            NamedClasses(classes, named, background=background, ignore_index=ignore_index),
            overlap=overlap,
            line_width=line_width,
            channels=channels,
            value_range=value_range,
            resize=resize,
            training=lambda: [entry.image for entry in find("train", [])],
            found=found,
            notes=notes,
        )
        embedded = [index for index, path in enumerate(self.image_paths) if self._is_embedded(index)]
        if embedded:
            first = self.shown(self.mask_paths[embedded[0]])
            self.notes.append(
                f"{_count(len(embedded), 'image file is', 'image files are')} not there: the copies inside of the JSON "
                f"files are read, as of {first}"
            )

    def shapes(self, index: int, size: tuple[int, int]) -> list[Shape]:
        path = self.mask_paths[index]
        if not path.exists():  # an image that nothing was drawn on
            return []
        file = read_labelme(path)
        self._check_image(index, file.image)
        return labelme_shapes(file, source=self.shown(path))

    def said_size(self, index: int) -> tuple[int, int] | None:
        return read_labelme(self.mask_paths[index]).size if self.mask_paths[index].exists() else None

    def read_pixels(self, index: int) -> tuple[np.ndarray, bool]:
        notes = self.mask_paths[index]
        if is_there(self.image_paths[index]) or not notes.exists() or read_labelme(notes).data is None:
            return super().read_pixels(index)
        with tempfile.TemporaryDirectory() as folder:  # what decodes images opens files
            path = Path(folder, "imageData")
            path.write_bytes(embedded_image(read_labelme(notes), notes))
            try:
                return read_image(path, channels=self.channels, value_range=self.value_range)
            except DataError as error:
                text = str(error).replace(str(path), f"imageData in {self.shown(notes)}")
                raise DataError(text) from error

    def files(self, index: int) -> tuple[Path, ...]:
        """The files that a sample is made of: its image and its JSON file, or the one of both that is there."""
        both = self.image_paths[index], self.mask_paths[index]
        return tuple(path for path in both if is_there(path)) or both

    def _is_embedded(self, index: int) -> bool:
        """Whether the image is read from the JSON file: there is no other, and it has one."""
        if is_there(self.image_paths[index]) or not self.mask_paths[index].exists():
            return False
        try:
            return read_labelme(self.mask_paths[index]).data is not None
        except DataError:  # which is raised where the sample is read
            return False

    def _check_image(self, index: int, named: str | None) -> None:
        """Raises DataError if the file names another image that is there as well."""
        if named is None:
            return
        used, notes = self.image_paths[index], self.mask_paths[index]
        said = resolved(notes.parent, named)
        if said != used and is_there(said) and not (is_there(used) and said.samefile(used)):
            raise DataError(
                f"two images for one file: {self.shown(notes)} names {self.shown(said)}, and "
                f"{self.shown(used)} has its name\n   -> remove or rename the one that was not labelled"
            )


def _find_entries(folder: Path, notes: list[str], unlabelled: str, *, other: Path | None) -> list[Annotated]:
    """The JSON files below a folder with their images, and images without one if they are `background`. `other` is the
    folder of the other part, if it is another one."""
    entries, others = _find_labelled(folder)
    if others:
        count = _count(len(others), "JSON file is", "JSON files are")
        notes.append(f"{count} none of labelme's and left out: {name_below(others[0], folder)}.json")
    free, shared = _find_free(folder, {entry.image for entry in entries}, other)
    if unlabelled == "skip":
        free = sorted([*free, *shared])
    elif shared:
        count = _count(len(shared), "image has no JSON file and is", "images have no JSON file and are")
        notes.append(
            f"{count} in neither part, since their folder has images of both: {shared[0].name}\n"
            "   -> a JSON file without shapes for each, in the folder of its part"
        )
    if free and unlabelled == "skip":
        count = _count(len(free), "image has no JSON file and is", "images have no JSON file and are")
        notes.append(f"{count} left out: {free[0].name} -> data.unlabelled=background if nothing is on them")
    elif free:
        count = _count(len(free), "image has no JSON file and is", "images have no JSON file and are")
        notes.append(f"{count} background throughout: {free[0].name}")
        entries += [Annotated(name_below(path, folder), path, path.with_suffix(".json")) for path in free]
    if not entries:
        raise DataError(f"no JSON files of labelme in {folder}")
    return sorted(entries)


def _find_labelled(folder: Path) -> tuple[list[Annotated], list[Path]]:
    """The JSON files of labelme's below a folder with their images, and the JSON files of others."""
    images: dict[Path, list[Path]] = {}
    for path in walk_images(folder):
        images.setdefault(path.with_suffix(""), []).append(path)
    entries, others = [], []
    for path in walk_files(folder, (".json",)):
        same = images.get(path.with_suffix(""), [])
        if len(same) == 1:
            entries.append(Annotated(name_below(path, folder), same[0], path))
            continue
        try:
            named = read_labelme(path).image
        except NotLabelme:
            others.append(path)
            continue
        except DataError:  # which is raised where the sample is read
            named = None
        entries.append(Annotated(name_below(path, folder), _named_image(path, named), path))
    return entries, others


def _find_free(folder: Path, used: set[Path], other: Path | None) -> tuple[list[Path], list[Path]]:
    """The images below a folder, and beside the `used` ones, that no JSON file is about; and those that lie where
    images of the `other` part do, too."""
    places = sorted({folder, *(image.parent for image in used if image.parent.is_dir())})
    free = sorted({path for place in places for path in walk_images(place)} - used)
    outside = [path for path in free if not path.is_relative_to(folder)]
    if other is None or not outside or not other.is_dir():
        return free, []
    theirs = {entry.image for entry in _find_labelled(other)[0]}
    both = [place for place in places if any(image.is_relative_to(place) for image in theirs)]
    shared = [path for path in outside if path in theirs or any(path.is_relative_to(place) for place in both)]
    return sorted(set(free) - set(shared)), sorted(set(shared) - theirs)


def _named_image(path: Path, named: str | None) -> Path:
    """The image that a file names: where it says or, of a folder of another machine, beside the file."""
    if named is None:
        return path.with_suffix("")
    said, beside = resolved(path.parent, named), path.parent / PurePosixPath(named).name
    return beside if is_there(beside) and not is_there(said) else said


def _find_labels(paths: Iterable[Path]) -> set[str]:
    labels: set[str] = set()
    for path in paths:
        try:
            labels |= labels_in(read_labelme(path))
        except DataError:  # which is raised where the sample is read
            continue
    return labels


def _without_absent(meanings: dict[str, str], classes: list[str], given: dict[str, str]) -> dict[str, str]:
    """The meanings without labelme's own names for a class that is not among those asked for."""
    return {
        label: meaning
        for label, meaning in meanings.items()
        if label in given or meaning in (IGNORE, *classes)
    }


def _count(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
