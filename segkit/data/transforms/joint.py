"""Changing image, target and weight of a sample together.

`torchvision.transforms.v2` treats a tensor by its type. Pixels that a transform has to invent are grey in the image,
ignored in the target and of weight 0, whichever transform it is.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segkit.data.sample import Sample
from segkit.data.transforms.typed import TargetMask, WeightMap, WeightsBesideMask, as_typed
from segkit.data.transforms.windows import GREY

#: New pixels of an image: one value for all channels, or one per channel.
ImageFill = int | Sequence[int]


def apply_transform(transform: v2.Transform, sample: Sample) -> Sample:
    """Let a torchvision transform change image, target and weight together."""
    return apply_transforms([transform], sample)


def apply_transforms(transforms: Sequence[v2.Transform], sample: Sample) -> Sample:
    """Let torchvision's transforms, one after the other, change image, target and weight together."""
    typed = as_typed(sample)
    values: dict[str, Any] = {"image": typed.image, "target": typed.target, "weight": typed.weight}
    for transform in transforms:
        values = transform(values)
    return replace(sample, **values)


def fill_by_type(image: ImageFill, ignore_index: int) -> dict[type | str, Any]:
    """The `fill` of torchvision's transforms, which find it by the type of the tensor."""
    labels: dict[type | str, Any] = {TargetMask: ignore_index, tv_tensors.Mask: ignore_index}
    return {**labels, WeightMap: 0, WeightsBesideMask: 0, "others": image}


def fill_of(inpt: torch.Tensor, ignore_index: int) -> int:
    """The value of new pixels in a tensor of this type."""
    if isinstance(inpt, WeightMap):
        return 0
    return ignore_index if isinstance(inpt, tv_tensors.Mask) else GREY
