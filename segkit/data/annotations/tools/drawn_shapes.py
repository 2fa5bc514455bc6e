"""Images with labelled shapes: what the data sets of all drawing tools have in common."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segkit.data.annotations.annotated_images import AnnotatedImages, empty_target
from segkit.data.annotations.patches import Patch
from segkit.data.annotations.tools.names import NamedClasses
from segkit.data.annotations.tools.options import AUTO, Overlap
from segkit.data.annotations.tools.points import bad_shape
from segkit.data.annotations.tools.shapes import Shape, cover_all
from segkit.data.decoding.value_range import find_value_range
from segkit.data.files.options import find_ends
from segkit.errors import DataError
from segkit.system.printable import show_path


class Annotated(NamedTuple):
    """One image and the file that says what is drawn on it; `name` is what the sample is called."""

    name: str
    image: Path
    notes: Path


class DrawnShapes(AnnotatedImages):
    """A data set whose labels are shapes, drawn over each other.

    entries      the images of the part, each once
    training     finds the images of the training part, by which numbers of more than 8 bits are read
    found        what was found out for options that are `auto`, to be kept with the run
    overlap      which of two shapes a pixel has that both cover: the later one (`order`), or the smaller one (`area`)
    line_width   how wide lines and points are, in pixels; 0 leaves them out, and None refuses them

    A subclass gives the shapes of an image (`shapes`). Raises DataError for an empty part, and where two files are
    about one image.
    """

    def __init__(
        self,
        root: Path,
        entries: Sequence[Annotated],
        classes: NamedClasses,
        *,
        overlap: Overlap,
        line_width: float | None,
        channels: int,
        value_range: list[float] | str,
        resize: Sequence[int] | None,
        training: Callable[[], Sequence[Path]],
        found: dict[str, Any],
        notes: Sequence[str] = (),
    ):
        if not entries:
            raise DataError(f"no annotated images in {show_path(root)}")
        images = [entry.image for entry in entries]
        # Of images of 8 bits, the others need not be looked for.
        ends = find_ends(value_range, lambda: training() if find_value_range(images) is not None else images)
        super().__init__(
            root,
            names=[entry.name for entry in entries],
            image_paths=images,
            mask_paths=[entry.notes for entry in entries],
            weight_paths=[root / "weights" / entry.name for entry in entries],
            class_names=classes.names,
            label_map=classes.values,
            channels=channels,
            value_range=ends,
            resize=resize,
            notes=notes,
        )
        self.classes, self.overlap, self.line_width = classes, overlap, line_width
        self.found_options = dict(found)
        if value_range == AUTO and ends is not None:
            self.found_options["value_range"] = list(ends)
        self._refuse_equal_images()
        name, count = Counter(self.names).most_common(1)[0]
        if count > 1:
            raise DataError(
                f"{count} images are called {name} -> rename all but one, or put them into folders of their own"
            )

    @abstractmethod
    def shapes(self, index: int, size: tuple[int, int]) -> list[Shape]:
        """What is drawn on image `index` of `size` (H, W), the first lowest. Raises DataError, naming file and
        entry."""

    def draw(self, index: int, size: tuple[int, int]) -> np.ndarray:
        source = self.shown(self.mask_paths[index])
        target = empty_target(self, size, self.classes.background)
        drawn = [shape for shape in self.shapes(index, size) if self._is_drawn(shape, source)]
        ids = [self.classes.id_of(shape.label, source=source, entry=shape.entry) for shape in drawn]
        patches = cover_all([shape.area for shape in drawn], size, self.line_width or 0.0)
        places = range(len(drawn)) if self.overlap == "order" else _by_area(drawn, patches)
        for place in places:
            patches[place].fill(target, ids[place])
        return target

    def _is_drawn(self, shape: Shape, source: str) -> bool:
        if not shape.area.thin:
            return True
        if self.line_width is None:
            raise bad_shape(
                source,
                shape.entry,
                "a line or a point, which covers no pixel by itself",
                advice="data.line_width=10 draws it so many pixels wide, data.line_width=0 leaves such shapes out",
            )
        return self.line_width > 0

    def _refuse_equal_images(self) -> None:
        seen: dict[Path, int] = {}
        for place, path in enumerate(self.image_paths):
            if path in seen:
                first, second = (self.shown(self.mask_paths[n]) for n in (seen[path], place))
                both = f"{first} and {second}" if first != second else f"{first}, twice"
                raise DataError(
                    f"one image is labelled twice: {self.shown(path)} in {both}\n   -> remove one of them"
                )
            seen[path] = place


def _by_area(shapes: Sequence[Shape], patches: Sequence[Patch]) -> list[int]:
    """The places of the shapes, largest object first; of equal ones, the first first. An object is all of its group,
    and its area the pixels that its parts cover."""
    objects = [
        (shape.label, place if shape.group is None else ("group", shape.group))
        for place, shape in enumerate(shapes)
    ]
    areas: Counter = Counter()
    for key, patch in zip(objects, patches, strict=True):
        areas[key] += patch.area
    return sorted(range(len(shapes)), key=lambda place: -areas[objects[place]])
