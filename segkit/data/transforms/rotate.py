"""`rotate`: rotation by any angle."""

from typing import Any

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from segkit.data.transforms.joint import fill_of
from segkit.registry import TRANSFORMS
from segkit.types import Angle, Share


@TRANSFORMS.register("rotate")
class Rotate(v2.Transform):
    """Turns about the centre by a random angle; what comes in at the corners is grey, ignored and of weight 0.

    degrees  the angle is drawn uniformly from [-degrees, degrees]
    p        probability of turning at all
    """

    def __init__(self, ignore_index: int, *, degrees: Angle = 10.0, p: Share = 1.0):
        super().__init__()
        self.ignore_index, self.degrees, self.p = ignore_index, degrees, p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        turns, place = torch.rand(2).tolist()
        return {"angle": self.degrees * (2 * place - 1) if turns < self.p else 0.0}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not params["angle"]:
            return inpt
        fill: Any = fill_of(inpt, self.ignore_index)  # a number, where torchvision declares a list
        return F.rotate(inpt, params["angle"], interpolation=v2.InterpolationMode.BILINEAR, fill=fill)
