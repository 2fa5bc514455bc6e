"""What a sample must be like, asked of the data sets, augmentations and weight maps of others.

What only looks like a sample would train on something else without a word: an image of 0 to 1 is black, and labels of
another size than their image lie beside what they name.
"""

from typing import Any

import torch

from segkit.data.sample import Sample
from segkit.errors import DataError
from segkit.system.printable import show_path

IMAGE = "a sample's image is a tensor, uint8 (C, H, W), of 0 to 255"
TARGET = "a sample's target is a tensor of class ids, uint8 or int64 (H, W), of the size of its image"


def require_sample(made: Any, *, index: int, channels: int | None) -> Sample:
    """What a data set gave as sample `index`. Raises DataError for what is no sample, or of other channels."""
    if not isinstance(made, Sample):
        raise DataError(
            f"the data set gives {describe(made)} as sample {index}, and no Sample\n"
            "   -> from segkit.data.sample import Sample; Sample(image=..., target=..., name=..., index=index)"
        )
    fault = _find_fault(made, given=True)
    if fault is None and channels is not None and made.image.shape[0] != channels:
        fault = (
            f"an image of {made.image.shape[0]} channels, where its `channels` are {channels}\n   -> {IMAGE}"
        )
    if fault is not None:
        raise DataError(f"the data set gives sample {index} ({show_path(made.name)}) {fault}")
    return made


def require_augmented(made: Any, before: Sample) -> Sample:
    """What an augmentation made of a sample. Raises DataError for what is none, of as many channels, with a weight map
    where there was one. Its labels may have become soft ones, and its image numbers of another type, from 0 to 255."""
    name = show_path(before.name)
    if not isinstance(made, Sample):
        raise DataError(
            f"the augmentation makes {describe(made)} of {name}, and no Sample\n"
            "   -> from dataclasses import replace; return replace(sample, image=..., target=...)"
        )
    fault = _find_fault(made, given=False)
    if fault is None and made.image.shape[0] != before.image.shape[0]:
        fault = f"an image of {made.image.shape[0]} channels, of {before.image.shape[0]}\n   -> {IMAGE}"
    if fault is None and before.weight is not None:
        fault = _find_fault_of_weight(made)
    if fault is None and made.image.is_floating_point() and 0 < made.image.max() <= 1 < before.image.max():
        fault = f"an image of 0 to {made.image.max():.3g}, which is black to the network\n   -> numbers of 0 to 255"
    if fault is not None:
        raise DataError(f"the augmentation gives {name} {fault}")
    return made


def require_weight(made: Any, source: str) -> torch.Tensor:
    """A weight map, as a data set or the maker of maps gave it. Raises DataError for what is no tensor."""
    if not isinstance(made, torch.Tensor):
        raise DataError(
            f"{source} is {describe(made)}, and no tensor\n"
            "   -> a weight map is a tensor, float32 (H, W), of the size of the labels"
        )
    return made.detach()


def describe(thing: Any) -> str:
    """`float32 (3, 4, 5)` of a tensor or an array, else the type."""
    shape, dtype = getattr(thing, "shape", None), getattr(thing, "dtype", None)
    if shape is None or dtype is None:
        return type(thing).__name__
    kind = "" if isinstance(thing, torch.Tensor) else f"{type(thing).__name__} "
    return f"{kind}{str(dtype).removeprefix('torch.')} {tuple(shape)}"


def _find_fault(sample: Sample, *, given: bool) -> str | None:
    """What is wrong with a sample, as a data set has `given` it or an augmentation made it."""
    image, target = sample.image, sample.target
    if not isinstance(image, torch.Tensor) or image.ndim != 3 or (given and image.dtype != torch.uint8):
        return f"an image that is {describe(image)}\n   -> {IMAGE}"
    if not isinstance(target, torch.Tensor) or not _can_be_labels(target, soft=not given):
        return f"labels that are {describe(target)}\n   -> {TARGET}"
    if image.shape[:2] == target.shape != image.shape[-2:]:  # the bands last
        return f"an image that is {describe(image)}\n   -> {IMAGE}"
    if target.shape[-2:] != image.shape[-2:]:
        return f"an image of {_size(image)} and labels of {_size(target)}\n   -> {TARGET}"
    return None


def _can_be_labels(target: torch.Tensor, *, soft: bool) -> bool:
    if target.is_floating_point():
        return soft and target.ndim == 3
    return target.ndim == 2 and target.dtype != torch.bool


def _find_fault_of_weight(sample: Sample) -> str | None:
    weight = sample.weight
    if isinstance(weight, torch.Tensor) and weight.shape == sample.target.shape[-2:]:
        return None
    found = "no weight map, and it had one" if weight is None else f"a weight map that is {describe(weight)}"
    return (
        f"{found}\n   -> return replace(sample, image=..., target=..., weight=...), moved as the labels are"
    )


def _size(tensor: torch.Tensor) -> str:
    return f"{tensor.shape[-1]}x{tensor.shape[-2]}"
