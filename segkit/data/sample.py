"""One image with its labels, and the tensor types that carry labels and per-pixel weights through transforms.

`torchvision.transforms.v2` decides by the type of a tensor how to treat it. Image and target use torchvision's own
types; a weight map is a `TargetMask` (so it is moved exactly like the target, pixel by pixel) that stays float32 and
is filled with 0. Both are resized to the nearest pixel as the image is, by the centres of the pixels: torchvision's
own way with masks moves them by up to half a pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F


def as_height_width(size: int | Sequence[int]) -> tuple[int, int]:
    """(H, W) from one number (a square) or two."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return height, width


def resize_nearest(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(H, W) of any type brought to `size` by taking, for each new pixel, the old one its centre falls into."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, values.shape, strict=True)
    )
    # In NumPy, since indexing in torch takes four times as long.
    return torch.from_numpy(values.numpy().take(rows, axis=0).take(columns, axis=1))


#: The weight of new pixels; a number, where torchvision declares a list.
_NONE: Any = 0


class TargetMask(tv_tensors.Mask):
    """Class ids (H, W) while transforms change them: a `Mask` that is resized to the nearest centre of a pixel."""


class WeightMap(TargetMask):
    """Weights (H, W), float32 and >= 0, that transforms treat like the target.

    Resizing takes the nearest value, so a weight always belongs to the same source pixel as the label beside it and
    no new extremes appear. Whatever fill a transform uses for other tensors, new pixels get weight 0.
    """

    def __new__(cls, data: Any, *, device: torch.device | str | None = None) -> "WeightMap":
        return cls._to_tensor(data, dtype=torch.float32, device=device).as_subclass(cls)


@F.register_kernel(F.resize, TargetMask)
def _resize(
    inpt: TargetMask, size: Any, interpolation: Any = None, max_size: Any = None, antialias: Any = None
) -> TargetMask:
    new = F.resize_mask(
        _plain(inpt), size=size, max_size=max_size
    ).shape  # torchvision knows its rules of size
    return resize_nearest(_plain(inpt), as_height_width(new)).as_subclass(type(inpt))


@F.register_kernel(F.resized_crop, TargetMask)
def _resized_crop(
    inpt: TargetMask,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Any,
    interpolation: Any = None,
    antialias: Any = None,
) -> TargetMask:
    part = F.crop_mask(_plain(inpt), top, left, height, width)
    return resize_nearest(part, as_height_width(size)).as_subclass(type(inpt))


@F.register_kernel(F.to_dtype, WeightMap)
def _keep_dtype(inpt: WeightMap, dtype: torch.dtype | None = None, scale: bool = False) -> WeightMap:
    return inpt


@F.register_kernel(F.pad, WeightMap)
def _pad(inpt: WeightMap, padding: Any, fill: Any = None, padding_mode: str = "constant") -> WeightMap:
    return _wrap(F.pad_mask(_plain(inpt), padding=padding, fill=_NONE, padding_mode=padding_mode))


@F.register_kernel(F.rotate, WeightMap)
def _rotate(
    inpt: WeightMap,
    angle: float,
    interpolation: Any = None,
    expand: bool = False,
    center: Any = None,
    fill: Any = None,
) -> WeightMap:
    return _wrap(F.rotate_mask(_plain(inpt), angle=angle, expand=expand, center=center, fill=_NONE))


@F.register_kernel(F.affine, WeightMap)
def _affine(
    inpt: WeightMap,
    angle: Any,
    translate: Any,
    scale: Any,
    shear: Any,
    interpolation: Any = None,
    fill: Any = None,
    center: Any = None,
) -> WeightMap:
    moved = F.affine_mask(
        _plain(inpt), angle=angle, translate=translate, scale=scale, shear=shear, fill=_NONE, center=center
    )
    return _wrap(moved)


@F.register_kernel(F.perspective, WeightMap)
def _perspective(
    inpt: WeightMap,
    startpoints: Any,
    endpoints: Any,
    interpolation: Any = None,
    fill: Any = None,
    coefficients: Any = None,
) -> WeightMap:
    return _wrap(
        F.perspective_mask(_plain(inpt), startpoints, endpoints, fill=_NONE, coefficients=coefficients)
    )


@F.register_kernel(F.elastic, WeightMap)
def _elastic(
    inpt: WeightMap, displacement: torch.Tensor, interpolation: Any = None, fill: Any = None
) -> WeightMap:
    return _wrap(F.elastic_mask(_plain(inpt), displacement=displacement, fill=_NONE))


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_subclass(torch.Tensor)


def _wrap(tensor: torch.Tensor) -> WeightMap:
    return tensor.as_subclass(WeightMap)


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its labels.

    image        uint8 (C, H, W), C = 1 or 3
    target       uint8 or int64 (H, W), class ids and `ignore_index`
    name         what messages and result files call it
    index        its place in the data set
    weight       float32 (H, W) >= 0, or None
    mask_path    the file the target was read from, if any
    weight_path  where a file with this sample's weights belongs, without suffix, if files can be had
    file_size    (H, W) of the files on disk, if the data set resized them
    """

    image: tv_tensors.Image
    target: tv_tensors.Mask
    name: str
    index: int
    weight: WeightMap | None = None
    mask_path: Path | None = None
    weight_path: Path | None = None
    file_size: tuple[int, int] | None = None


def as_sample(
    image: np.ndarray,
    target: np.ndarray,
    *,
    resize: tuple[int, int] | None,
    name: str,
    index: int,
    mask_path: Path | None = None,
    weight_path: Path | None = None,
) -> Sample:
    """The sample of an image (C, H, W) and its labels (H, W), brought to the size `resize` if that is not None."""
    pixels, ids = torch.from_numpy(image), torch.from_numpy(target)
    file_size = None
    if resize is not None and resize != target.shape:
        file_size = target.shape
        pixels = F.resize_image(pixels, list(resize), antialias=True)
        ids = resize_nearest(ids, resize)
    return Sample(
        image=tv_tensors.Image(pixels),
        target=tv_tensors.Mask(ids),
        name=name,
        index=index,
        mask_path=mask_path,
        weight_path=weight_path,
        file_size=file_size,
    )
