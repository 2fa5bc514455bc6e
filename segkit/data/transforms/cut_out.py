"""`cut_out`: rectangles nobody can see, and nobody is asked about."""

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from segkit.data.transforms.joint import fill_of
from segkit.registry import TRANSFORMS
from segkit.types import PositiveInt, Share, ShareRange


@TRANSFORMS.register("cut_out")
class CutOut(v2.Transform):
    """Greys out rectangles at random places; their labels become ignored and their weights 0.

    After DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout (2017), and
    Zhong et al., Random Erasing Data Augmentation (2017), which keep the labels; here nothing is asked of a pixel
    that cannot be seen.

    p       probability of cutting anything out of an image
    number  rectangles in an image
    area    [smallest, largest] share of the image that a rectangle covers, drawn uniformly
    aspect  height / width is between 1 / aspect and aspect
    """

    def __init__(
        self,
        ignore_index: int,
        *,
        p: Share = 0.5,
        number: PositiveInt = 1,
        area: ShareRange = [0.02, 0.2],  # noqa: B006 (shown as the default, never mutated)
        aspect: Annotated[float, Field(ge=1)] = 3.0,
    ):
        super().__init__()
        self.ignore_index, self.p, self.number, self.area, self.aspect = (
            ignore_index,
            p,
            number,
            area,
            aspect,
        )

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        size = F.get_size(flat_inputs[0])
        count = self.number if torch.rand(()).item() < self.p else 0
        return {"rectangles": [self._choose(*size) for _ in range(count)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not params["rectangles"]:
            return inpt
        out = inpt.as_subclass(torch.Tensor).clone()
        for top, left, height, width in params["rectangles"]:
            out[..., top : top + height, left : left + width] = fill_of(inpt, self.ignore_index)
        return tv_tensors.wrap(out, like=inpt)

    def _choose(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of one rectangle."""
        share, shape, down, right = torch.rand(4).tolist()
        low, high = self.area
        pixels = (low + (high - low) * share) * height * width
        ratio = math.exp(math.log(self.aspect) * (2 * shape - 1))
        tall = min(height, max(1, round(math.sqrt(pixels * ratio))))
        wide = min(width, max(1, round(math.sqrt(pixels / ratio))))
        return round(down * (height - tall)), round(right * (width - wide)), tall, wide
