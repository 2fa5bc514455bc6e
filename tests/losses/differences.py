"""Slopes of a loss that gives a Python float, for references that know no gradient."""

from collections.abc import Callable

import torch
from torch import Tensor


def central_differences(value: Callable[[Tensor], float], logits: Tensor, step: float = 1e-5) -> Tensor:
    """The slope of `value(logits)` at each entry, in fp64."""
    z = logits.detach().double().clone()
    slope = torch.zeros_like(z)
    for place in range(z.numel()):
        saved = z.view(-1)[place].item()
        ends = []
        for sign in (1, -1):
            z.view(-1)[place] = saved + sign * step
            ends.append(value(z))
        z.view(-1)[place] = saved
        slope.view(-1)[place] = (ends[0] - ends[1]) / (2 * step)
    return slope
