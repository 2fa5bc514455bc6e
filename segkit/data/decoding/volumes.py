"""NIfTI volumes, of which one slice is read at a time. They need nibabel, the extra `nnunet`."""

import gzip
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from segkit.data.decoding.opening import explained
from segkit.data.decoding.parts import Numbers, Samples
from segkit.errors import DataError
from segkit.system.printable import show_path

SUFFIXES = (".nii.gz", ".nii")
#: The axes of a volume in the order in which nnU-Net keeps them.
AXES = ("z", "y", "x")


class VolumeHead(NamedTuple):
    """Voxels along x, y and z, and the distance of two of them in mm."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Slice(Numbers):
    """Slice `place` of a volume across `axis` (0, 1, 2: x, y, z), with the later of the other two axes as rows."""

    axis: int
    place: int

    format: ClassVar[str] = "NIfTI"

    def read(self) -> Samples:
        """The numbers of the slice, (H, W, 1), as the header scales them."""
        state = self.file.stat()
        values = _read_slice(self.file, self.axis, self.place, (state.st_size, state.st_mtime_ns))
        return Samples(values[..., None], alpha=(), is_colour=False)


def read_volume_head(path: Path) -> VolumeHead:
    """Size and spacing of a volume. Raises DataError for a file that is missing, damaged or no volume of one number."""
    with explained(path):
        state = path.stat()
        return _read_head(path, (state.st_size, state.st_mtime_ns))


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
        state = path.stat()
        return _find_filled(path, axis, (state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=2)  # a check looks at image and labels, and then at what the data set makes of them
def _read_slice(path: Path, axis: int, place: int, state: tuple[int, int]) -> np.ndarray:
    index: list[Any] = [slice(None)] * 3
    index[axis] = place
    volume = _keep_open(path, state, os.getpid())
    return np.ascontiguousarray(np.asarray(volume.dataobj[tuple(index)]).T)


@lru_cache(maxsize=2)
def _keep_open(path: Path, state: tuple[int, int], process: int) -> Any:
    """A volume of which what was unpacked need not be unpacked again for a later slice. Not shared with another
    `process`, which would move the place in the file."""
    return _load(path, keep_file_open=True)


@lru_cache(maxsize=4096)
def _read_head(path: Path, state: tuple[int, int]) -> VolumeHead:
    volume = _load(path)
    if len(volume.shape) != 3:
        size = "x".join(map(str, volume.shape))
        raise DataError(
            f"cannot use {show_path(path)}: {size} is no volume of three axes -> save each channel as a file of its own"
        )
    x, y, z = (float(length) for length in volume.header.get_zooms()[:3])
    return VolumeHead(tuple(volume.shape), (x, y, z))


@lru_cache(maxsize=4096)
def _find_filled(path: Path, axis: int, state: tuple[int, int]) -> np.ndarray:
    values = np.asarray(_load(path).dataobj)
    return (values != 0).any(axis=tuple(other for other in range(3) if other != axis))


def _load(path: Path, *, keep_file_open: bool = False) -> Any:
    try:
        import nibabel  # an extra, and only for such files
    except ImportError:
        raise DataError(
            f"cannot read {show_path(path)}: a NIfTI volume\n   -> pip install nibabel   (the extra `nnunet`) reads it"
        ) from None
    return nibabel.load(path, keep_file_open=keep_file_open)


def label_suffix(path: Path) -> str:
    """The suffix of a file of labels of a volume: that of the volume."""
    return is_volume(path).lower()


def encode_labels(labels: np.ndarray, volume: Path) -> bytes:
    """A file of labels (x, y, z) that lie where the voxels of `volume` do, of its format."""
    with explained(volume):
        source = _load(volume)
        header = source.header.copy()
        header.set_data_dtype(labels.dtype)
        content = type(source)(labels, source.affine, header).to_bytes()
    return (
        gzip.compress(content, compresslevel=6, mtime=0) if label_suffix(volume).endswith(".gz") else content
    )
