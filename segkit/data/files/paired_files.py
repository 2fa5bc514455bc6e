"""Images and label files in pairs: what every data set of files has in common."""

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segkit.data.decoding.images_and_masks import ValueRange, read_image, read_labels
from segkit.data.files.compact import CHUNK, Compact, Paths, Texts
from segkit.data.files.label_map import LabelMap
from segkit.data.files.label_table import LabelTable
from segkit.data.palette import Color
from segkit.errors import DataError
from segkit.system.printable import show_path
from segkit.system.typed import typed

if TYPE_CHECKING:  # it needs torch, and a check of files does not
    from segkit.data.sample import Sample


class Pair(NamedTuple):
    """What two files hold: uint8 (C, H, W), and uint8 or int64 class ids (H, W)."""

    image: np.ndarray
    target: np.ndarray


class PairedFiles:
    """A data set whose sample n is the image `image_paths[n]` with the labels in `mask_paths[n]`.

    root           the folder that messages name files relative to
    names          what each sample is called, unique
    class_names    in the order of the class ids
    label_map      from what the label files hold to class ids
    channels       3 for colour and 1 for greyscale, which are converted into each other; else the bands of the images
    value_range    which numbers become 0 and 255 in images of more than 8 bits: two, "dtype" for all that the type has,
                   or None for images of 8 bits
    resize         (H, W) that every image is brought to, or None
    weight_paths   where the files with each sample's weights belong, without suffix, if such files can be had
    palette        one RGB colour per class, or None for distinct ones
    notes          what somebody should know about the files, as warnings

    A subclass finds the files and may read the labels another way (`read_values`). Names and paths are kept as `Texts`
    and `Paths`: sequences that equal the lists they were made of, in little memory that all workers share.
    """

    def __init__(
        self,
        root: Path,
        *,
        names: Sequence[str],
        image_paths: Sequence[Path],
        mask_paths: Sequence[Path],
        class_names: Sequence[str],
        label_map: LabelMap | LabelTable,
        channels: int = 3,
        value_range: ValueRange = None,
        resize: Sequence[int] | None = None,
        weight_paths: Sequence[Path] | None = None,
        palette: Sequence[Color] | None = None,
        notes: Sequence[str] = (),
    ):
        self.root, self.names = root, Texts.of(names)
        self.image_paths, self.mask_paths = _as_compact(image_paths), _as_compact(mask_paths)
        self.weight_paths = None if weight_paths is None else _as_compact(weight_paths)
        self.class_names, self.num_classes = tuple(class_names), len(class_names)
        self.label_map, self.ignore_index = label_map, label_map.ignore_index
        self.channels, self.value_range, self.notes = channels, value_range, list(notes)
        self.palette = None if palette is None else list(palette)
        self.resize = None if resize is None else (resize[0], resize[1])
        fits_a_byte = 0 <= self.ignore_index <= 255 and self.num_classes <= 255
        self.target_dtype = np.uint8 if fits_a_byte else np.int64

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> "Sample":
        """Sample `index`. Raises DataError for files that cannot be used, naming them."""
        from segkit.data.sample import as_sample  # needs torch

        return as_sample(
            *self.read(index),
            resize=self.resize,
            name=self.names[index],
            index=index,
            mask_path=self.mask_paths[index],
            weight_path=None if self.weight_paths is None else self.weight_paths[index],
        )

    def read(self, index: int) -> Pair:
        """What the files of sample `index` hold, of their own size. Raises DataError for files that cannot be used."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        image_path, mask_path = self.image_paths[index], self.mask_paths[index]
        image, turned = read_image(
            image_path, channels=self.channels, value_range=self.value_range
        )  # (C, H, W)
        values, are_colours = self.read_values(mask_path)  # (H, W)
        if image.shape[1:] != values.shape:
            raise DataError(
                f"image and mask sizes differ: {self.shown(image_path)} {_width_height(image.shape[1:])}"
                f"{' (after EXIF)' if turned else ''}, {self.shown(mask_path)} {_width_height(values.shape)}"
            )
        ids = self.label_map.apply(values, are_colours=are_colours, source=self.shown(mask_path))
        return Pair(image, ids.astype(self.target_dtype))

    def read_values(self, mask_path: Path) -> tuple[np.ndarray, bool]:
        """The values of a label file (H, W), integers, and whether they are colours, packed as 0xRRGGBB."""
        return read_labels(mask_path, colours=bool(self.label_map.colours))

    def files(self, index: int) -> tuple[Path, ...]:
        """The files that a sample is made of: its image and its mask."""
        return self.image_paths[index], self.mask_paths[index]

    def fingerprint(self) -> str:
        """Names and sizes in bytes of all files, which change when the data do; their content is not read."""
        digest, between = hashlib.sha256(), ""
        lines = itertools.chain(self.names, _describe(self.image_paths), _describe(self.mask_paths))
        while chunk := list(itertools.islice(lines, CHUNK)):  # as text, a million would take 100 MB
            digest.update((between + "\n".join(chunk)).encode())
            between = "\n"
        return digest.hexdigest()

    def explains_value(self, value: int) -> bool:
        """Whether `label_map` says in so many words what the file value `value` means."""
        return self.label_map.names_value(value)

    def shown(self, path: Path) -> str:
        """A file as messages name it: relative to `root` if it lies there, and printable."""
        return show_path(path.relative_to(self.root) if path.is_relative_to(self.root) else path)


def _as_compact(paths: Sequence[Path]) -> Compact[Path]:
    """The same paths; those that are compact already, in whatever way, stay as they are."""
    return paths if isinstance(paths, Compact) else Paths.of(paths)


def _describe(paths: Iterable[Path]) -> Iterator[str]:
    """Name and size of each file."""
    texts = paths.texts() if isinstance(paths, Paths) else map(os.fspath, paths)
    return (f"{text.rpartition('/')[2]} {_size(text)}" for text in texts)


def _size(path: str) -> int | None:
    """Bytes of a file; None for one that cannot be read, which is reported where its sample is."""
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def file_state(path: Path) -> os.stat_result:
    """Size and time of a file. Raises DataError if there is none."""
    try:
        return path.stat()
    except FileNotFoundError:
        raise DataError(f"cannot read {show_path(path)}: no such file") from None
    except OSError as error:
        raise DataError(f"cannot read {show_path(path)}: {error.strerror}") from error


def existing_root(root: str) -> Path:
    """The folder `root`, where `~` stands for the home folder. Raises DataError if there is none."""
    path = Path(os.path.expanduser(root))
    if not path.is_dir():
        raise DataError(
            f"dataset folder not found: {path}\n   without data:  {typed('train')} --config ohem.yaml"
        )
    return path


def _width_height(size: Sequence[int]) -> str:
    return f"{size[1]}x{size[0]}"
