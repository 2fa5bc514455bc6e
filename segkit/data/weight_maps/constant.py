"""`constant`: the same weight everywhere."""

import torch
from torch import Tensor

from segkit.data.sample import Sample
from segkit.registry import WEIGHT_MAPS
from segkit.types import NonNegativeFloat


@WEIGHT_MAPS.register("constant")
class Constant:
    """The weight `value` at every pixel; the neutral map to compare others with."""

    def __init__(self, *, value: NonNegativeFloat = 1.0):
        self.value = value

    def __call__(self, sample: Sample) -> Tensor:
        return torch.full(tuple(sample.target.shape), self.value)  # (H, W)
