"""Which pixels count: what every way of computing a loss asks of the labels first."""

import torch
from torch import Tensor


def valid_pixels(target: Tensor, ignore_index: int) -> Tensor:
    """(N, *spatial) bool: class ids other than `ignore_index`; of soft labels (N, C, *spatial), those not all 0."""
    if target.is_floating_point():
        return (target != 0).any(dim=1)  # (N, C, *spatial) -> (N, *spatial)
    limits = torch.iinfo(target.dtype)
    if not limits.min <= ignore_index <= limits.max:
        return torch.ones_like(target, dtype=torch.bool)  # compared, it would wrap around to a class
    return target != ignore_index
