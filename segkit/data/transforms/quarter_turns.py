"""`quarter_turns`: rotation without any new pixel."""

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segkit.registry import TRANSFORMS


@TRANSFORMS.register("quarter_turns")
class QuarterTurn(v2.Transform):
    """Turns by a random multiple of 90 degrees, which moves pixels and changes none."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"turns": int(torch.randint(4, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return tv_tensors.wrap(torch.rot90(inpt, params["turns"], dims=(-2, -1)).contiguous(), like=inpt)
