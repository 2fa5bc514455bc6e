"""`file`: weights stored beside the images and masks."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segkit.data.image_io import read_numbers
from segkit.data.sample import Sample, resize_nearest
from segkit.data.validate import check_weight
from segkit.errors import DataError
from segkit.registry import WEIGHT_MAPS
from segkit.types import PositiveFloat


@WEIGHT_MAPS.register("file")
class File:
    """weights/{split}/{name}.png (8 or 16 bits, multiplied by `scale`) or .npy (floats, used as they are).

    A map has the size of its image file. Raises DataError for a map that is missing, of another size, negative or
    not finite.
    """

    def __init__(self, *, scale: PositiveFloat = 1.0):
        self.scale = scale

    def __call__(self, sample: Sample) -> Tensor:
        path = self._find(sample)
        values = _read_npy(path) if path.suffix == ".npy" else read_numbers(path) * np.float32(self.scale)
        weight = torch.from_numpy(values)
        size = tuple(sample.target.shape)
        check_weight(weight, size=sample.file_size or size, source=str(path))
        return weight if sample.file_size is None else resize_nearest(weight, size)  # (H, W)

    def _find(self, sample: Sample) -> Path:
        if sample.weight_path is None:
            raise DataError(
                f"the weight map 'file' needs a data set of files, and {sample.name} comes from none\n"
                "   -> data.weight_map={name: boundary}"
            )
        for suffix in (".png", ".npy"):
            path = sample.weight_path.with_name(sample.weight_path.name + suffix)
            if path.is_file():
                return path
        raise DataError(
            f"the weight map 'file' needs a map for every image: expected {sample.weight_path}.(png|npy)\n"
            "   -> data.weight_map={name: boundary} computes one from the labels"
        )


def _read_npy(path: Path) -> np.ndarray:
    """The numbers of a .npy file as float32; objects, which could run code, are refused."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise DataError(f"cannot use {path}: expected an array of numbers (H, W)")
    return values.astype(np.float32)
