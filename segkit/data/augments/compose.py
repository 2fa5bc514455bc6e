"""`compose`: the transforms that a configuration lists, one after another."""

from dataclasses import replace
from typing import Annotated, Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segkit.data.sample import Sample
from segkit.data.transforms.typed import TargetMask, WeightMap, as_typed
from segkit.errors import DataError
from segkit.registry import AUGMENTS
from segkit.system.printable import show_path
from segkit.types import ComponentsOf

#: What to do about the usual reason why a transform fails.
HINTS = {
    v2.RandomCrop: "\n   -> pad_if_needed: true, or {name: scale_crop, crop_size: ...}, which pads what is missing"
}


@AUGMENTS.register("compose")
class ComposeAugment:
    """The transforms that are listed, in this order: segkit's own and torchvision's.

    transforms  blocks {name: ..., <options>}, see below; those that take `transforms` hold further lists
    """

    takes_plain_tensors = True

    def __init__(self, *, transforms: Annotated[list, ComponentsOf("transform")]):
        self.steps = list(transforms)

    @property
    def draws_from_torch(self) -> bool:
        """Whether all of the transforms are segkit's own or torchvision's."""
        return all(map(_is_known, self.steps))

    def __call__(self, sample: Sample) -> Sample:
        """Raises DataError for a transform that cannot handle the sample or does not keep to the contract."""
        typed = as_typed(sample)
        target = typed.target.as_subclass(TargetMask)
        weight = None if typed.weight is None else typed.weight.as_subclass(WeightMap)
        values: dict[str, Any] = {"image": typed.image, "target": target, "weight": weight}
        for place, transform in enumerate(self.steps):
            name = f"augment.transforms[{place}] ({type(transform).__name__})"
            try:
                values = transform(values)
            except (ValueError, RuntimeError, TypeError) as error:  # TypeError: of the number of channels
                hint = HINTS.get(type(transform), "")
                raise DataError(
                    f"{name} cannot handle {describe(sample)}: {first_line(error)}{hint}"
                ) from error
            problem = find_problem(sample, values)
            if problem:
                raise DataError(
                    f"{name} {problem}, which an augmentation must not do ({show_path(sample.name)})"
                )
        target = values["target"].as_subclass(tv_tensors.Mask)
        return replace(sample, image=values["image"], target=target, weight=values["weight"])


def find_problem(before: Sample, after: dict[str, Any]) -> str | None:
    """What a transform did to the types and sizes of a sample that would be wrong for training, or None."""
    image, target, weight = after["image"], after["target"], after["weight"]
    if image.dtype != torch.uint8:
        return f"makes the image {str(image.dtype).removeprefix('torch.')} instead of uint8"
    if image.shape[0] != before.image.shape[0]:
        return f"makes {image.shape[0]} channels of {before.image.shape[0]}"
    if target.dtype != before.target.dtype:
        found, expected = (str(kind).removeprefix("torch.") for kind in (target.dtype, before.target.dtype))
        return f"makes the labels {found} instead of {expected}"
    if target.shape != image.shape[-2:]:
        return f"brings the image to {_size(image)} and the labels to {_size(target)}"
    if (weight is None) != (before.weight is None):
        return "loses the weight map"
    if weight is not None and (not isinstance(weight, WeightMap) or weight.dtype != torch.float32):
        return "does not keep the weight map a WeightMap of float32"
    if weight is not None and weight.shape != target.shape:
        return f"brings the labels to {_size(target)} and the weight map to {_size(weight)}"
    return None


def describe(sample: Sample) -> str:
    """Name, size and channels, for messages."""
    channels = sample.image.shape[0]
    return f"{show_path(sample.name)} ({_size(sample.image)}, {channels} channel{'s' * (channels != 1)})"


def first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _size(tensor: torch.Tensor) -> str:
    return f"{tensor.shape[-1]}x{tensor.shape[-2]}"


def _is_known(transform: Any) -> bool:
    """Whether the transform, and each that it holds, is of segkit or torchvision."""
    known = type(transform).__module__.partition(".")[0] in ("segkit", "torchvision")
    return known and all(map(_is_known, getattr(transform, "transforms", ())))
