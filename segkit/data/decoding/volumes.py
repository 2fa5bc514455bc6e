"""Volumes, of which one slice is read at a time: NIfTI, MetaImage and NRRD files, each by a library of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import ClassVar, NamedTuple

import numpy as np

from segkit.data.decoding import itk_files, nifti_files
from segkit.data.decoding.opening import explained
from segkit.data.decoding.parts import Numbers, Samples
from segkit.errors import DataError
from segkit.system.printable import show_path

SUFFIXES = (*nifti_files.SUFFIXES, *itk_files.SUFFIXES)
#: The axes of a volume in the order in which nnU-Net keeps them.
AXES = ("z", "y", "x")


class VolumeHead(NamedTuple):
    """Voxels along x, y and z, the distance of two of them in mm, and where the axes lead (`RAS`: to the right, to the
    front, upwards)."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    ways: str


@dataclass(frozen=True, slots=True)
class Slice(Numbers):
    """Slice `place` of a volume across `axis` (0, 1, 2: x, y, z), with the later of the other two axes as rows."""

    axis: int
    place: int

    format: ClassVar[str] = "volume"

    @property
    def files(self) -> tuple[Path, ...]:
        """The file of the volume, and that of its numbers if they lie beside it."""
        return _reader(self.file).files_of_volume(self.file)

    def read(self) -> Samples:
        """The numbers of the slice, (H, W, 1), as the header scales them."""
        values = _read_slice(self.file, self.axis, self.place, _state(self.file))
        return Samples(values[..., None], alpha=(), is_colour=False)


def read_volume_head(path: Path) -> VolumeHead:
    """What a volume says of itself. Raises DataError for a file that is missing, damaged or no volume of one number."""
    with explained(path):
        return _read_head(path, _state(path))


def is_volume(path: Path) -> str:
    """The suffix by which a file is taken for a volume, as it is written; "" for any other file."""
    name = path.name.lower()
    return next((path.name[-len(suffix) :] for suffix in SUFFIXES if name.endswith(suffix)), "")


def find_farthest(spacings: Sequence[Sequence[float]]) -> int:
    """The axis (0, 1, 2: x, y, z) along which voxels lie farthest apart, in the median of volumes; of equal ones the
    last, as nnU-Net's 2D networks have it."""
    return 2 - int(np.argmax(np.median([spacing[::-1] for spacing in spacings], axis=0)))


def cut(path: Path, axis: int) -> list[Slice]:
    """The slices of a volume across an axis, called by it and their number from 0. Raises as `read_volume_head`."""
    count = read_volume_head(path).shape[axis]
    return [Slice(path, f"{AXES[2 - axis]}{place}", axis, place) for place in range(count)]


def find_filled(path: Path, axis: int) -> np.ndarray:
    """Which slices across `axis` of a volume of labels show more than 0, bool (slices,). The volume is read once."""
    with explained(path):
        return _find_filled(path, axis, _state(path))


def label_suffix(path: Path) -> str:
    """The suffix of a file of labels of a volume."""
    return _reader(path).label_suffix(is_volume(path).lower())


def encode_labels(labels: np.ndarray, volume: Path) -> bytes:
    """A file of labels (x, y, z) that lie where the voxels of `volume` do, of its format. Raises DataError."""
    with explained(volume):
        return _reader(volume).encode_labels(labels, volume)


def _reader(path: Path) -> ModuleType:
    return nifti_files if path.name.lower().endswith(nifti_files.SUFFIXES) else itk_files


def _state(path: Path) -> tuple[int, ...]:
    """Sizes and times of the files of a volume, by which a changed one is noticed."""
    states = [file.stat() for file in _reader(path).files_of_volume(path)]
    return tuple(number for state in states for number in (state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=2)  # a check looks at image and labels, and then at what the data set makes of them
def _read_slice(path: Path, axis: int, place: int, state: tuple[int, ...]) -> np.ndarray:
    return np.ascontiguousarray(_reader(path).read_slice(path, axis, place, state).T)


@lru_cache(maxsize=4096)
def _read_head(path: Path, state: tuple[int, ...]) -> VolumeHead:
    shape, spacing, ways = _reader(path).read_head(path)
    if len(shape) != 3:
        size = "x".join(map(str, shape))
        raise DataError(
            f"cannot use {show_path(path)}: {size} is no volume of three axes -> save each channel as a file of its own"
        )
    return VolumeHead(shape, spacing, ways)


@lru_cache(maxsize=4096)
def _find_filled(path: Path, axis: int, state: tuple[int, ...]) -> np.ndarray:
    values = _reader(path).read_all(path)
    return (values != 0).any(axis=tuple(other for other in range(3) if other != axis))
