"""NIfTI files of volumes. They need nibabel, the extra `nnunet`."""

import gzip
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from segkit.errors import DataError
from segkit.system.printable import show_path

SUFFIXES = (".nii.gz", ".nii")


def read_head(path: Path) -> tuple[tuple[int, ...], tuple[float, ...], str]:
    """Voxels along the axes, their distance in mm, and where the axes of space lead, such as `RAS`."""
    volume = _load(path)
    nibabel = _library(path)
    codes = "".join(code or "?" for code in nibabel.aff2axcodes(volume.affine))
    return tuple(volume.shape), tuple(float(length) for length in volume.header.get_zooms()[:3]), codes


def read_slice(path: Path, axis: int, place: int, state: tuple[int, ...]) -> np.ndarray:
    """The numbers of a slice, as the header scales them, with the earlier of the two other axes first. `state` is
    another one when the file is."""
    index: list[Any] = [slice(None)] * 3
    index[axis] = place
    return np.asarray(_keep_open(path, state, os.getpid()).dataobj[tuple(index)])


def read_all(path: Path) -> np.ndarray:
    """All numbers (x, y, z)."""
    return np.asarray(_load(path).dataobj)


def files_of_volume(path: Path) -> tuple[Path, ...]:
    """All files that a volume is in."""
    return (path,)


def label_suffix(suffix: str) -> str:
    """The suffix of a file of labels of a volume with `suffix`."""
    return suffix


def encode_labels(labels: np.ndarray, volume: Path) -> bytes:
    """A file of labels (x, y, z) that lie where the voxels of `volume` do."""
    source = _load(volume)
    header = source.header.copy()
    header.set_data_dtype(labels.dtype)
    header["cal_min"] = header["cal_max"] = (
        0  # by which viewers would show ids as black and white as its voxels
    )
    content = type(source)(labels, source.affine, header).to_bytes()
    return (
        gzip.compress(content, compresslevel=6, mtime=0) if volume.name.lower().endswith(".gz") else content
    )


@lru_cache(maxsize=2)
def _keep_open(path: Path, state: tuple[int, ...], process: int) -> Any:
    """A volume of which what was unpacked need not be unpacked again for a later slice. Not shared with another
    `process`, which would move the place in the file."""
    return _load(path, keep_file_open=True)


def _load(path: Path, *, keep_file_open: bool = False) -> Any:
    return _library(path).load(path, keep_file_open=keep_file_open)


def _library(path: Path) -> Any:
    try:
        import nibabel  # an extra, and only for such files
    except ImportError:
        raise DataError(
            f"cannot read {show_path(path)}: a NIfTI volume\n   -> pip install nibabel   (the extra `nnunet`) reads it"
        ) from None
    return nibabel
