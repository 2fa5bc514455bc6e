"""`scale_crop`: random scale and crop in one step, with a cap on how much of the window one class may fill."""

import math
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from segkit.data.sample import WeightMap, as_height_width, resize_nearest
from segkit.data.transforms.joint import fill_of
from segkit.registry import TRANSFORMS
from segkit.types import PositiveInt, PositiveRange, Probability, Size


@TRANSFORMS.register("scale_crop")
class ScaleCrop(v2.Transform):
    """Enlarges or shrinks by a random factor and cuts out a window at a random place.

    The window is cut first, so only the pixels that will be seen are resized. Where the resized image is smaller
    than the window, the rest is padding, divided at random between the sides.

    crop_size  side in pixels, or [height, width], of the window; null for the size of each image
    scale      [lowest, highest] factor of enlargement, drawn uniformly; [1, 1] for none
    max_class_share  if one class has more than this share of the window's valid pixels, another place is drawn
    tries      number of places to try; if all have too much of one class, the one that has least of it is taken
    """

    def __init__(
        self,
        ignore_index: int,
        *,
        crop_size: PositiveInt | Size | None = None,
        scale: PositiveRange = [0.5, 2.0],  # noqa: B006 (shown as the default, never mutated)
        max_class_share: Probability | None = None,
        tries: PositiveInt = 10,
    ):
        super().__init__()
        low, high = scale
        if low > high:
            raise ValueError(f"scale must be [lowest, highest], got {scale}")
        self.crop = None if crop_size is None else as_height_width(crop_size)
        self.scale, self.ignore_index = (low, high), ignore_index
        self.max_class_share, self.tries = max_class_share, tries

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        size = F.get_size(flat_inputs[0])  # [H, W], the same for all
        low, high = self.scale
        factor = low + (high - low) * torch.rand(()).item()
        crop = self.crop or as_height_width(size)
        if self.max_class_share is None:
            return _choose_window(size, crop, factor)
        ids = _find_ids(flat_inputs)
        found, least = None, math.inf
        for _ in range(self.tries):
            window = _choose_window(size, crop, factor)
            share = largest_share(ids, window["window"], self.ignore_index)
            if found is None or share < least:
                found, least = window, share
            if share <= self.max_class_share:
                break
        assert found is not None  # there is at least one try
        return found

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        part = F.crop(inpt, *params["window"])
        size, padding = params["size"], params["padding"]
        if tuple(part.shape[-2:]) != size:
            if isinstance(inpt, tv_tensors.Mask):
                part = tv_tensors.wrap(resize_nearest(part.as_subclass(torch.Tensor), size), like=inpt)
            else:
                part = F.resize(part, list(size), antialias=True)
        return F.pad(part, padding, fill=fill_of(inpt, self.ignore_index)) if any(padding) else part


def largest_share(ids: torch.Tensor, window: tuple[int, int, int, int], ignore_index: int) -> float:
    """The share that the most frequent class has of a window's valid pixels; 1 if there are none.

    `ids` is (H, W), `window` (top, left, height, width).
    """
    top, left, height, width = window
    values = ids[top : top + height, left : left + width].as_subclass(torch.Tensor).numpy().ravel()
    values = values[values != ignore_index]
    return float(np.bincount(values).max() / values.size) if values.size else 1.0


def _find_ids(flat_inputs: list[Any]) -> torch.Tensor:
    """The target among the tensors of a sample."""
    return next(
        inpt for inpt in flat_inputs if isinstance(inpt, tv_tensors.Mask) and not isinstance(inpt, WeightMap)
    )


def _choose_window(size: list[int], crop: tuple[int, int], factor: float) -> dict[str, Any]:
    """A window at a random place, and what is done to what it shows."""
    spans = [_cut(length, out, factor) for length, out in zip(size, crop, strict=True)]
    (top, height, new_height, above, below), (left, width, new_width, before, after) = spans
    return {
        "window": (top, left, height, width),
        "size": (new_height, new_width),
        "padding": [before, above, after, below],  # left, top, right, bottom
    }


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
