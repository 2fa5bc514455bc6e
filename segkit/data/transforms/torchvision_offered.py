"""Torchvision's transforms under their own names, made safe for labels and weights.

New pixels are ignored in the target and of weight 0, whatever `fill` says of the image. Labels and weights are always
taken from the nearest pixel.
"""

import inspect
import io
from typing import Any

import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from segkit.data.transforms.jitter import ExactContrast
from segkit.data.transforms.joint import GREY, fill_by_type
from segkit.data.transforms.torchvision_refused import refuse_all
from segkit.data.transforms.torchvision_types import LEFT_OUT, find_default, find_type
from segkit.registry import TRANSFORMS

#: Names with what they do, for `--list`.
OFFERED = {
    "Compose": "One after another: a list in a list.",
    "RandomApply": "All of its transforms, with probability p, or none of them.",
    "RandomChoice": "One of its transforms, with probabilities p (any numbers; null: all alike).",
    "RandomOrder": "All of its transforms, in random order.",
    "Identity": "Nothing; for RandomChoice.",
    "CenterCrop": "The middle of the image; what is missing of a smaller one is padding.",
    "ElasticTransform": "Shifts pixels along random smooth waves: alpha how far, sigma how smooth, in pixels.",
    "Pad": "Pads by a number of pixels: one, [left and right, top and bottom], or [left, top, right, bottom].",
    "RandomAffine": "Turns by degrees, moves by shares of the size, scales by a factor, shears by degrees.",
    "RandomCrop": "A window at a random place; without pad_if_needed the image must be as large.",
    "RandomHorizontalFlip": "A mirror image, left to right.",
    "RandomPerspective": "As seen from another side.",
    "RandomResize": "Resizes the shorter side to between min_size and max_size - 1; a crop must follow.",
    "RandomResizedCrop": "A window of random area and shape, resized to `size`.",
    "RandomRotation": "Turns by up to so many degrees, or between [lowest, highest]; expand keeps the corners.",
    "RandomShortestSize": "Resizes the shorter side to min_size, or to one out of a list; a crop must follow.",
    "RandomVerticalFlip": "A mirror image, top to bottom.",
    "RandomZoomOut": "Puts the image into a larger canvas, `side_range` times its size; a crop or resize must follow.",
    "Resize": "Resizes to [height, width], or the shorter side to a number of pixels.",
    "ScaleJitter": "Resizes to fit target_size times a random factor; a crop must follow.",
    "ColorJitter": "Factors from [1 - value, 1 + value] or [lowest, highest], a shift of hue, in random order.",
    "GaussianBlur": "Blurs; sigma in pixels.",
    "GaussianNoise": "Adds noise to each value; mean and sigma are shares of the range from black to white.",
    "JPEG": "What saving as JPEG does to an image; quality 1 (worst) to 100.",
    "RandomAdjustSharpness": "Blurs (factor 0 to 1) or sharpens (above 1).",
    "RandomAutocontrast": "Stretches the values to the whole range.",
    "RandomChannelPermutation": "Swaps the colour channels.",
    "RandomEqualize": "Equalises the histogram of each channel.",
    "RandomGrayscale": "Takes the colour away and keeps the number of channels.",
    "RandomInvert": "The negative.",
    "RandomPhotometricDistort": "Brightness, contrast, saturation, hue, swapped channels, each with probability p.",
    "RandomPosterize": "Keeps so many bits of each value.",
    "RandomSolarize": "The negative of all values from the threshold on.",
}

#: Those that resize: their `nearest` must be the one by the centres of the pixels, as for labels.
_RESIZING = ("Resize", "RandomResize", "RandomResizedCrop", "RandomShortestSize", "ScaleJitter")


class CenterCrop(v2.CenterCrop):
    """Torchvision's, with what is missing of a smaller image filled like all new pixels: there it is 0, a class."""

    def __init__(self, size: Any, ignore_index: int):
        super().__init__(size)
        self.fill = fill_by_type(GREY, ignore_index)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        missing = [max(0, out - now) for out, now in zip(self.size, inpt.shape[-2:], strict=True)]
        if any(missing):
            down, right = missing
            padding = [right // 2, down // 2, right - right // 2, down - down // 2]
            inpt = F.pad(inpt, padding, fill=self.fill.get(type(inpt), self.fill["others"]))
        return super().transform(inpt, params)


class JPEG(v2.JPEG):
    """Torchvision's, through Pillow: torchvision is about to give up its own JPEG coder."""

    _transformed_types = (tv_tensors.Image,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        image = inpt.as_subclass(torch.Tensor)
        file = io.BytesIO()
        to_pil_image(image).save(file, format="JPEG", quality=params["quality"])
        with Image.open(file) as saved:
            return tv_tensors.wrap(pil_to_tensor(saved), like=inpt)


class ColorJitter(ExactContrast, v2.ColorJitter):
    """Torchvision's, with an exact mean."""


class RandomPhotometricDistort(ExactContrast, v2.RandomPhotometricDistort):
    """Torchvision's, with an exact mean."""


#: What stands for torchvision's own.
_INSTEAD: dict[type[v2.Transform], type[v2.Transform]] = {
    v2.JPEG: JPEG,
    v2.ColorJitter: ColorJitter,
    v2.RandomPhotometricDistort: RandomPhotometricDistort,
}


class FromTorchvision:
    """Makes one of torchvision's transforms of what a file says; its signature is the schema of the block."""

    def __init__(self, kind: type[v2.Transform]):
        self.kind, name = kind, kind.__name__
        self.__module__, self.__qualname__ = __name__, name
        self.__doc__ = OFFERED[name]
        own = [
            _file_parameter(name, parameter)
            for parameter in inspect.signature(kind, eval_str=True).parameters.values()
            if (name, parameter.name) not in LEFT_OUT
        ]
        given = inspect.Parameter("ignore_index", inspect.Parameter.KEYWORD_ONLY, annotation=int)
        self.__signature__ = inspect.Signature([*own, given])

    def __call__(self, *, ignore_index: int, **options: Any) -> v2.Transform:
        """Raises ValueError for options that do not fit together."""
        _check_sizes(self.kind.__name__, options)
        if "fill" in options:
            options["fill"] = fill_by_type(options["fill"], ignore_index)
        if "interpolation" in options:
            options["interpolation"] = _find_interpolation(self.kind.__name__, options["interpolation"])
        if self.kind is v2.CenterCrop:
            return CenterCrop(**options, ignore_index=ignore_index)
        try:
            return _INSTEAD.get(self.kind, self.kind)(**options)
        except TypeError as error:
            raise ValueError(str(error)) from error


def _file_parameter(transform: str, parameter: inspect.Parameter) -> inspect.Parameter:
    return inspect.Parameter(
        parameter.name,
        inspect.Parameter.KEYWORD_ONLY,
        annotation=find_type(transform, parameter.name, parameter.annotation),
        default=find_default(parameter.name, parameter.default),
    )


def _check_sizes(transform: str, options: dict[str, Any]) -> None:
    """What torchvision would only find at the first image."""
    if transform == "RandomResize" and options["min_size"] >= options["max_size"]:
        raise ValueError(f"min_size={options['min_size']} must be below max_size={options['max_size']}")
    size, most = options.get("size"), options.get("max_size")
    if transform == "Resize" and most is not None and (not isinstance(size, int) or size >= most):
        raise ValueError(f"max_size={most} goes with one number as size, smaller than it, got size={size}")


def _find_interpolation(transform: str, name: str) -> InterpolationMode:
    if name == "nearest" and transform in _RESIZING:
        return InterpolationMode.NEAREST_EXACT
    return InterpolationMode(name)


for _name in OFFERED:
    if hasattr(v2, _name):  # an older torchvision lacks the newest
        TRANSFORMS.register(_name)(FromTorchvision(getattr(v2, _name)))
refuse_all(tuple(OFFERED))
