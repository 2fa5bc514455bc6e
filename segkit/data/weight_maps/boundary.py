"""`boundary`: heavier near the borders between classes, computed from the labels alone."""

import math

import torch
from torch import Tensor

from segkit.data.sample import Sample
from segkit.registry import WEIGHT_MAPS
from segkit.types import NonNegativeFloat, PositiveFloat

REACH = 5.0  # in sigmas; exp(-5^2 / 2) < 4e-6, so nothing visible is lost beyond


@WEIGHT_MAPS.register("boundary")
class Boundary:
    """base + amplitude * exp(-d^2 / (2 sigma^2)), d = pixels to the nearest class change; 0 where ignored.

    d is the Euclidean distance to the nearest pixel that touches (above, below, left or right) a pixel of another
    class; it is 0 on both sides of a border. Where a class meets ignored pixels is no border. The shape of the
    formula is that of the border term of U-Net (Ronneberger et al. 2015), for classes instead of cells.
    """

    def __init__(
        self,
        ignore_index: int,
        *,
        base: NonNegativeFloat = 1.0,
        amplitude: NonNegativeFloat = 5.0,
        sigma: PositiveFloat = 3.0,
    ):
        self.ignore_index, self.base, self.amplitude, self.sigma = ignore_index, base, amplitude, sigma
        self.recipe = f"boundary {ignore_index} {base!r} {amplitude!r} {sigma!r}"

    def __call__(self, sample: Sample) -> Tensor:
        target = sample.target.as_subclass(Tensor)  # (H, W)
        valid = target != self.ignore_index
        border = find_border(target, valid)
        square = squared_distance(border, radius=math.ceil(REACH * self.sigma))
        weight = self.base + self.amplitude * torch.exp(square / (-2 * self.sigma**2))  # exp(-inf) is 0
        return weight * valid


def find_border(target: Tensor, valid: Tensor) -> Tensor:
    """The pixels (H, W) beside a valid pixel of another class; both arguments (H, W), result bool."""
    border = torch.zeros_like(valid)
    down = (target[1:] != target[:-1]) & valid[1:] & valid[:-1]  # (H - 1, W)
    border[1:] |= down
    border[:-1] |= down
    across = (target[:, 1:] != target[:, :-1]) & valid[:, 1:] & valid[:, :-1]  # (H, W - 1)
    border[:, 1:] |= across
    border[:, :-1] |= across
    return border


def squared_distance(points: Tensor, *, radius: int) -> Tensor:
    """Squared Euclidean distance (H, W) to the nearest true pixel of `points`, exact up to `radius`.

    Beyond `radius` it is at least radius^2 and may be infinite. The two directions are separable: first the
    distance to the nearest point in the same column, then the best combination with a step sideways.
    """
    rows = torch.arange(points.shape[0], dtype=torch.float32)[:, None]  # (H, 1)
    far = torch.full(tuple(points.shape), math.inf)
    above = rows - torch.where(points, rows, -far).cummax(dim=0).values  # to the last point at or above
    below = torch.where(points, rows, far).flip(0).cummin(dim=0).values.flip(0) - rows
    column = torch.minimum(above, below).square()  # (H, W)
    best = column.clone()
    for step in range(1, min(radius, points.shape[1] - 1) + 1):
        torch.minimum(best[:, step:], column[:, :-step] + step * step, out=best[:, step:])
        torch.minimum(best[:, :-step], column[:, step:] + step * step, out=best[:, :-step])
    return best
