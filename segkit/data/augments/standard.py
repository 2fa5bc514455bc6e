"""`standard`: scale, crop, flips, quarter turns and photometric changes, on `torchvision.transforms.v2`.

Images stay uint8. The target is only ever taken from the nearest pixel, and the weights with it. Pixels that lie
outside the image are grey, ignored and of weight 0.
"""

from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from segkit.data.sample import Sample, Size, WeightMap, as_height_width, resize_nearest
from segkit.registry import AUGMENTS
from segkit.types import NonNegativeFloat, PositiveFloat, PositiveInt, Share

GREY = 127  # about 0 after normalisation, which is also what convolutions pad with


@AUGMENTS.register("standard")
class Standard:
    """Random scale and crop, flips, quarter turns, brightness, contrast, saturation and hue.

    crop_size   side in pixels, or [height, width], of what the model sees; null for the size of each image
    scale       [lowest, highest] factor of enlargement, drawn uniformly; [1, 1] for none
    hflip       probability of a mirror image, left to right
    vflip       probability of a mirror image, top to bottom
    quarter_turns  whether to turn by 0, 90, 180 or 270 degrees (for aerial and microscope images)
    brightness, contrast, saturation   each factor is drawn from [1 - value, 1 + value]
    hue         the hue is shifted by up to this share of the colour circle; costs the most time
    """

    def __init__(
        self,
        ignore_index: int,
        *,
        crop_size: PositiveInt | Size | None = None,
        scale: Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)] = [0.5, 2.0],  # noqa: B006 (shown as the default, never mutated)
        hflip: Share = 0.5,
        vflip: Share = 0.0,
        quarter_turns: bool = False,
        brightness: NonNegativeFloat = 0.3,
        contrast: NonNegativeFloat = 0.3,
        saturation: NonNegativeFloat = 0.3,
        hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0,
    ):
        low, high = scale
        if low > high:
            raise ValueError(f"scale must be [lowest, highest], got {scale}")
        crop = None if crop_size is None else as_height_width(crop_size)
        steps = [
            *([QuarterTurn()] if quarter_turns else []),
            ScaleCrop(crop, scale=(low, high), ignore_index=ignore_index),
            v2.RandomHorizontalFlip(hflip),
            v2.RandomVerticalFlip(vflip),
            v2.ColorJitter(brightness, contrast, saturation, hue),
        ]
        self.transform = v2.Compose(steps)

    def __call__(self, sample: Sample) -> Sample:
        return apply_transform(self.transform, sample)


def apply_transform(transform: v2.Transform, sample: Sample) -> Sample:
    """Let a torchvision transform change image, target and weight together."""
    changed = transform({"image": sample.image, "target": sample.target, "weight": sample.weight})
    return replace(sample, **changed)


class QuarterTurn(v2.Transform):
    """Turns by a random multiple of 90 degrees, which moves pixels and changes none."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"turns": int(torch.randint(4, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return tv_tensors.wrap(torch.rot90(inpt, params["turns"], dims=(-2, -1)).contiguous(), like=inpt)


class ScaleCrop(v2.Transform):
    """Enlarges or shrinks by a random factor and cuts out a window of `crop` (H, W) at a random place.

    The window is cut first, so only the pixels that will be seen are resized. Where the resized image is smaller
    than the window, the rest is padding, divided at random between the sides.
    """

    def __init__(self, crop: tuple[int, int] | None, *, scale: tuple[float, float], ignore_index: int):
        super().__init__()
        self.crop, self.scale, self.ignore_index = crop, scale, ignore_index

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        size = F.get_size(flat_inputs[0])  # [H, W], the same for all
        low, high = self.scale
        factor = low + (high - low) * torch.rand(()).item()
        crop = self.crop or size
        spans = [_cut(length, out, factor) for length, out in zip(size, crop, strict=True)]
        (top, height, new_height, above, below), (left, width, new_width, before, after) = spans
        return {
            "window": (top, left, height, width),
            "size": (new_height, new_width),
            "padding": [before, above, after, below],  # left, top, right, bottom
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        part = F.crop(inpt, *params["window"])
        size, padding = params["size"], params["padding"]
        if tuple(part.shape[-2:]) != size:
            if isinstance(inpt, tv_tensors.Mask):
                part = tv_tensors.wrap(resize_nearest(part.as_subclass(torch.Tensor), size), like=inpt)
            else:
                part = F.resize(part, list(size), antialias=True)
        return F.pad(part, padding, fill=self._fill(inpt)) if any(padding) else part

    def _fill(self, inpt: Any) -> int:
        if isinstance(inpt, WeightMap):
            return 0
        return self.ignore_index if isinstance(inpt, tv_tensors.Mask) else GREY


def _cut(length: int, out: int, factor: float) -> tuple[int, int, int, int, int]:
    """Along one side of `length` pixels, for a window of `out` after scaling by `factor`: first pixel and number
    of pixels to take, the number they are resized to, and the padding before and after them."""
    taken = min(length, max(1, round(out / factor)))
    resized = min(out, max(1, round(taken * factor)))
    if taken < length:
        resized = out  # rounding must not leave a seam of padding inside a larger image
    first = int(torch.randint(length - taken + 1, ()))
    before = int(torch.randint(out - resized + 1, ()))
    return first, taken, resized, before, out - resized - before
