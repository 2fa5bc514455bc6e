"""`file`: weights stored beside the images and masks, or elsewhere."""

import os
from pathlib import Path

import torch
from torch import Tensor

from segkit.data.files.validate import check_weight
from segkit.data.sample import Sample, as_height_width, resize_nearest
from segkit.data.weight_maps.weight_files import (
    digest_target,
    find_labels,
    find_weights,
    read_weights,
    weight_stem,
)
from segkit.errors import DataError
from segkit.registry import WEIGHT_MAPS
from segkit.system.printable import show_path
from segkit.system.typed import typed
from segkit.types import PositiveFloat


@WEIGHT_MAPS.register("file")
class File:
    """weights/{split}/{name}.png (8 or 16 bits, multiplied by `scale`) or .npy (floats, used as they are).

    scale       for PNG files that do not carry their scale, as those of `segkit make-weights` do; 1 for 8-bit
                values unless given
    root        the folder that holds `weights`, if it is not the one that holds the images
    any_labels  whether a PNG file that says that it was made from other labels than the image now has is used

    A map has the size of its image file. Raises DataError for a map that is missing, of another size, negative or
    not finite, and for one that was made from other labels.
    """

    reads_files = True  # so that the configuration does not say what the weights are

    def __init__(
        self, *, scale: PositiveFloat | None = None, root: str | None = None, any_labels: bool = False
    ):
        self.scale, self.any_labels = scale, any_labels
        self.root = None if root is None else Path(os.path.expanduser(root))

    def __call__(self, sample: Sample) -> Tensor:
        path = self._find(sample)
        weight = torch.from_numpy(read_weights(path, scale=self.scale))
        size = as_height_width(sample.target.shape)
        check_weight(weight, size=sample.file_size or size, source=str(path))
        if not self.any_labels:
            _check_labels(path, sample)
        return weight if sample.file_size is None else resize_nearest(weight, size)  # (H, W)

    def _find(self, sample: Sample) -> Path:
        if sample.weight_path is None:
            raise DataError(
                f"the weight map 'file' needs a data set of files, and {show_path(sample.name)} comes from none\n"
                "   -> data.weight_map='{name: boundary}'"
            )
        stem = weight_stem(sample.weight_path, sample.name, self.root)
        path = find_weights(stem)
        if path is None:
            raise DataError(
                f"the weight map 'file' needs a map for every image: expected {show_path(stem)}.(png|npy)\n"
                f"   -> {typed('make_weights')} writes them; data.weight_map='{{name: boundary}}' computes them on the "
                "fly"
            )
        return path


def _check_labels(path: Path, sample: Sample) -> None:
    """Raises DataError if the file says that it was made from other labels than those of the sample."""
    made_from, labels = find_labels(path), sample.target if sample.file_size is None else sample.file_target
    if made_from is not None and labels is not None and made_from != digest_target(labels):
        raise DataError(
            f"{show_path(path)} was made from other labels than {show_path(sample.mask_path or sample.name)} has now\n"
            f"   -> {typed('make_weights')}, with the configuration of these maps, makes those anew that need it;\n"
            "      data.weight_map.any_labels=true uses them as they are"
        )
