"""Images with objects drawn on them: what every data set of polygons has in common."""

from abc import abstractmethod
from pathlib import Path

import numpy as np

from segkit.data.decoding.images_and_masks import read_image
from segkit.data.files.paired_files import Pair, PairedFiles
from segkit.errors import DataError


class AnnotatedImages(PairedFiles):
    """A data set whose labels are drawn from what a tool saved, one image at a time.

    Its arguments are those of `PairedFiles`, where `mask_paths[n]` is the file that says what is drawn on image n: one
    for each, or the same for all. A subclass says which objects there are (`draw`) and, where the file knows it, of
    which size the image is (`said_size`).
    """

    #: Said to whom it may concern that no file has ids which may count from 1.
    labels_are_drawn = True

    def explains_value(self, value: int) -> bool:
        """True: what is ignored was said to be, and is no value of a file."""
        return True

    @abstractmethod
    def draw(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """The class ids of image `index`, of `target_dtype` and `size` (H, W). Raises DataError for entries that cannot
        be drawn, naming file and entry."""

    def said_size(self, index: int) -> tuple[int, int] | None:
        """(H, W) that the annotations say image `index` has, or None where they do not."""
        return None

    def read_pixels(self, index: int) -> tuple[np.ndarray, bool]:
        """Image `index` as uint8 (C, H, W), and whether EXIF data turned it. Raises DataError."""
        return read_image(self.image_paths[index], channels=self.channels, value_range=self.value_range)

    def read(self, index: int) -> Pair:
        """Image and labels of sample `index`, of the image's own size. Raises DataError for unusable files."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        image, turned = self.read_pixels(index)  # (C, H, W)
        size = (image.shape[1], image.shape[2])
        said = self.said_size(index)
        if said is not None and said != size:
            raise self._wrong_size(index, size, said, turned=turned)
        return Pair(image, self.draw(index, size))

    def _wrong_size(
        self, index: int, size: tuple[int, int], said: tuple[int, int], *, turned: bool
    ) -> DataError:
        image, notes = self.shown(self.image_paths[index]), self.shown(self.mask_paths[index])
        on_side = turned and said == size[::-1]
        advice = (
            "what was drawn lies on the image as it is stored, before EXIF turns it: turn the file itself, or draw anew"
            if on_side
            else "the image was changed after it was labelled: put the one that was labelled back, or label this one"
        )
        found = f"{_width_height(size)}{' (after EXIF)' if turned else ''}"
        return DataError(
            f"image of another size than its labels: {image} is {found}, "
            f"{notes} says {_width_height(said)}\n   -> {advice}"
        )


def empty_target(dataset: PairedFiles, size: tuple[int, int], value: int) -> np.ndarray:
    """Class ids (H, W) that are all `value`, to be drawn on."""
    return np.full(size, value, dtype=dataset.target_dtype)


def _width_height(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def annotation_path(root: Path, name: str) -> Path:
    """The file `name`, below `root` or seen from the current folder. Raises DataError if there is none."""
    for path in (root / name, Path(name)):
        if path.is_file():
            return path
    raise DataError(f"no file {name} in {root}, nor here")
