"""`scale_crop`: random scale and crop in one step, with a cap on how much of the window one class may fill."""

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from segkit.data.sample import as_height_width, resize_image, resize_nearest
from segkit.data.transforms.joint import fill_of
from segkit.data.transforms.typed import WeightMap
from segkit.data.transforms.windows import Window, Windows
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
        self.windows = Windows(
            ignore_index, crop_size=crop_size, scale=scale, max_class_share=max_class_share, tries=tries
        )
        self.crop, self.scale, self.ignore_index = self.windows.crop, self.windows.scale, ignore_index
        self.max_class_share, self.tries = max_class_share, tries

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        size = as_height_width(F.get_size(flat_inputs[0]))  # the same for all
        ids = None if self.max_class_share is None else _find_ids(flat_inputs)
        return {"window": self.windows.draw(size, ids)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        window: Window = params["window"]
        part = F.crop(inpt, *window.place)
        size, padding = window.size, list(window.padding)
        if tuple(part.shape[-2:]) != size:
            if isinstance(inpt, tv_tensors.Mask):
                part = tv_tensors.wrap(resize_nearest(part.as_subclass(torch.Tensor), size), like=inpt)
            else:
                part = tv_tensors.wrap(resize_image(part.as_subclass(torch.Tensor), size), like=inpt)
        return F.pad(part, padding, fill=fill_of(inpt, self.ignore_index)) if any(padding) else part


def _find_ids(flat_inputs: list[Any]) -> torch.Tensor:
    """The target among the tensors of a sample."""
    return next(
        inpt for inpt in flat_inputs if isinstance(inpt, tv_tensors.Mask) and not isinstance(inpt, WeightMap)
    )
