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

from segkit.data.sample import Sample, TargetMask, WeightMap

#: About 0 after normalisation, which is also what convolutions pad with.
GREY = 127

#: New pixels of an image: one value for all channels, or one per channel.
ImageFill = int | Sequence[int]


def apply_transform(transform: v2.Transform, sample: Sample) -> Sample:
    """Let a torchvision transform change image, target and weight together."""
    changed = transform({"image": sample.image, "target": sample.target, "weight": sample.weight})
    return replace(sample, **changed)


def fill_by_type(image: ImageFill, ignore_index: int) -> dict[type | str, Any]:
    """The `fill` of torchvision's transforms, which find it by the type of the tensor."""
    return {TargetMask: ignore_index, tv_tensors.Mask: ignore_index, WeightMap: 0, "others": image}


def fill_of(inpt: torch.Tensor, ignore_index: int) -> int:
    """The value of new pixels in a tensor of this type."""
    if isinstance(inpt, WeightMap):
        return 0
    return ignore_index if isinstance(inpt, tv_tensors.Mask) else GREY
