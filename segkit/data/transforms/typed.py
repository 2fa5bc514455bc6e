"""The tensor types that carry image, labels and per-pixel weights through torchvision's transforms.

`torchvision.transforms.v2` decides by the type of a tensor how to treat it. Images use torchvision's own type; a target
is a `TargetMask` and a weight map another one (so it is moved exactly like the target, pixel by pixel) that stays
float32 and is filled with 0. Both are resized to the nearest pixel as the image is, by the centres of the pixels:
torchvision's own way with masks moves them by up to half a pixel. An augmentation of one's own gets the labels as
torchvision's `Mask`, for which its options may have values by type, and a weight map that goes the same way.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from segkit.data.sample import Sample, as_height_width, band_by_band, resize_nearest

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


class WeightsBesideMask(WeightMap):
    """Weights beside labels that are torchvision's own `Mask`, as an augmentation of one's own gets them: resized as
    that is, or a weight would be that of the label half a pixel away."""


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


@F.register_kernel(F.resize, WeightsBesideMask)
def _resize_beside_mask(
    inpt: WeightsBesideMask,
    size: Any,
    interpolation: Any = None,
    max_size: Any = None,
    antialias: Any = None,
) -> WeightsBesideMask:
    return F.resize_mask(_plain(inpt), size=size, max_size=max_size).as_subclass(WeightsBesideMask)


@F.register_kernel(F.resized_crop, WeightsBesideMask)
def _resized_crop_beside_mask(
    inpt: WeightsBesideMask,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Any,
    interpolation: Any = None,
    antialias: Any = None,
) -> WeightsBesideMask:
    return F.resized_crop_mask(_plain(inpt), top, left, height, width, size).as_subclass(WeightsBesideMask)


@F.register_kernel(F.to_dtype, WeightMap)
def _keep_dtype(inpt: WeightMap, dtype: torch.dtype | None = None, scale: bool = False) -> WeightMap:
    return inpt


@F.register_kernel(F.pad, WeightMap)
def _pad(inpt: WeightMap, padding: Any, fill: Any = None, padding_mode: str = "constant") -> WeightMap:
    return _wrap(F.pad_mask(_plain(inpt), padding=padding, fill=_NONE, padding_mode=padding_mode), inpt)


@F.register_kernel(F.rotate, WeightMap)
def _rotate(
    inpt: WeightMap,
    angle: float,
    interpolation: Any = None,
    expand: bool = False,
    center: Any = None,
    fill: Any = None,
) -> WeightMap:
    return _wrap(F.rotate_mask(_plain(inpt), angle=angle, expand=expand, center=center, fill=_NONE), inpt)


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
    return _wrap(moved, inpt)


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
        F.perspective_mask(_plain(inpt), startpoints, endpoints, fill=_NONE, coefficients=coefficients), inpt
    )


@F.register_kernel(F.elastic, WeightMap)
def _elastic(
    inpt: WeightMap, displacement: torch.Tensor, interpolation: Any = None, fill: Any = None
) -> WeightMap:
    return _wrap(F.elastic_mask(_plain(inpt), displacement=displacement, fill=_NONE), inpt)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_subclass(torch.Tensor)


def _wrap(tensor: torch.Tensor, inpt: WeightMap) -> WeightMap:
    return tensor.as_subclass(type(inpt))


def as_typed(sample: Sample) -> Sample:
    """The sample with the tensor types that torchvision's transforms know, the labels its own `Mask`."""
    weight = sample.weight if sample.weight is None else WeightsBesideMask(sample.weight)
    # Band by band in memory, as caches give it too: some transforms make other last digits of another order.
    image = tv_tensors.Image(band_by_band(sample.image))
    return replace(sample, image=image, target=tv_tensors.Mask(sample.target), weight=weight)


class Typed:
    """An augmentation that gets samples with the tensor types that torchvision's transforms know, as `as_typed` makes
    them. Every other attribute is its own."""

    def __init__(self, augment: Callable[[Sample], Sample]):
        self.augment = augment

    def __call__(self, sample: Sample) -> Sample:
        return self.augment(as_typed(sample))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "augment":  # unpickling asks before there is an augmentation
            raise AttributeError(name)
        return getattr(self.augment, name)
