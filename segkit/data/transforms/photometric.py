"""`photometric`: light and colour, each changed or not."""

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from segkit.registry import TRANSFORMS
from segkit.types import PositiveRange, Share


@TRANSFORMS.register("photometric")
class Photometric(v2.Transform):
    """Changes brightness, contrast, saturation and hue, each with probability `p`.

    The distortion of Liu et al., SSD: Single Shot MultiBox Detector (ECCV 2016), Caffe's `DistortImage`. Contrast comes
    before the colours or behind them, with equal chances. Greyscale images only change in brightness and contrast.

    p           probability of each of the four
    brightness  up to this much of the range from black to white is added or taken away
    contrast    [lowest, highest] factor of all values
    saturation  [lowest, highest] factor of the colourfulness
    hue         the hue is shifted by up to this share of the colour circle
    """

    _transformed_types = (tv_tensors.Image,)

    def __init__(
        self,
        *,
        p: Share = 0.5,
        brightness: Share = 0.125,
        contrast: PositiveRange = [0.5, 1.5],  # noqa: B006 (shown as the default, never mutated)
        saturation: PositiveRange = [0.5, 1.5],  # noqa: B006
        hue: Annotated[float, Field(ge=0, le=0.5)] = 0.05,
    ):
        super().__init__()
        self.p, self.brightness, self.contrast = p, brightness, contrast
        self.saturation, self.hue = saturation, hue

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        happens, values = torch.rand(4) < self.p, torch.rand(4).tolist()
        first = torch.rand(()).item() < 0.5
        drawn = {
            "brightness": 255 * self.brightness * (2 * values[0] - 1),
            "contrast": _between(self.contrast, values[1]),
            "saturation": _between(self.saturation, values[2]),
            "hue": self.hue * (2 * values[3] - 1),
        }
        chosen = {name: value for (name, value), is_on in zip(drawn.items(), happens, strict=True) if is_on}
        return {**chosen, "contrast_first": first}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        shift, factor = params.get("brightness", 0.0), params.get("contrast", 1.0)
        early, late = (factor, 1.0) if params["contrast_first"] else (1.0, factor)
        image = _map_values(inpt, early, shift)
        if image.shape[-3] == 3:
            if "saturation" in params:
                image = F.adjust_saturation(image, params["saturation"])
            if "hue" in params:
                image = F.adjust_hue(image, params["hue"])
        return tv_tensors.wrap(_map_values(image, late, 0.0), like=inpt)


def _between(ends: list[float], place: float) -> float:
    low, high = ends
    return low + (high - low) * place


def _map_values(image: torch.Tensor, factor: float, shift: float) -> torch.Tensor:
    """factor * (value + shift) of a uint8 image, by table, within 0 and 255 after each of the two."""
    if factor == 1.0 and shift == 0.0:
        return image
    table = (np.arange(256.0) + shift).clip(0, 255) * factor
    table = table.round().clip(0, 255).astype(np.uint8)
    return torch.from_numpy(table[image.as_subclass(torch.Tensor).numpy()])
