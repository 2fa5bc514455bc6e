"""Powers whose exponent may move with the iteration."""

import torch
from torch import Tensor


def raise_to(x: Tensor, exponent: float) -> Tensor:
    """`x ** exponent`, elementwise, where a schedule may move the exponent.

    A number there becomes part of what torch.compile makes, so that it would compile anew in each iteration, and give
    up after a few. A tensor does not.
    """
    if torch.compiler.is_compiling():
        return x ** (torch.ones((), dtype=x.dtype, device=x.device) * exponent)
    return x**exponent
