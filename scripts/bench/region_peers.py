"""Losses about shapes as their authors compute them, written anew from what their functions compute.

As in `peers`, only speed and memory are compared; ignored pixels are taken for background, since theirs know none.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

#: Of both, as the losses of segkit have them.
SKELETON_ITERATIONS, RADIUS, POOL, RIDGE = 3, 3, 4, 5e-4


def one_hot(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Ids (N, H, W) as zeros and ones (N, C, H, W)."""
    ids = target.masked_fill(target == ignore_index, 0)
    return F.one_hot(ids, logits.shape[1]).movedim(-1, 1).to(logits.dtype)


def cldice(logits: Tensor, target: Tensor, *, ignore_index: int) -> Tensor:
    """Half Dice, half clDice, of soft skeletons made by pooling with every step kept for the way back."""
    p, y = logits.softmax(dim=1), one_hot(logits, target, ignore_index)
    of_p, of_y = _skeleton(p), _skeleton(y)
    precision = ((of_p * y).sum() + 1) / (of_p.sum() + 1)
    recall = ((of_y * p).sum() + 1) / (of_y.sum() + 1)
    dice = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    return 0.5 * dice + 0.5 * (1 - 2 * precision * recall / (precision + recall))


def _skeleton(maps: Tensor) -> Tensor:
    found = F.relu(maps - _dilate(_erode(maps)))
    for _ in range(SKELETON_ITERATIONS):
        maps = _erode(maps)
        ridge = F.relu(maps - _dilate(_erode(maps)))
        found = found + F.relu(ridge - found * ridge)
    return found


def _erode(maps: Tensor) -> Tensor:
    columns = -F.max_pool2d(-maps, (3, 1), 1, (1, 0))
    rows = -F.max_pool2d(-maps, (1, 3), 1, (0, 1))
    return torch.minimum(columns, rows)


def _dilate(maps: Tensor) -> Tensor:
    return F.max_pool2d(maps, 3, 1, 1)


def rmi(logits: Tensor, target: Tensor, *, ignore_index: int) -> Tensor:
    """Half binary cross-entropy, half region mutual information: all shifts of the pooled maps are stacked, in double
    precision, and the covariance of the prediction is inverted."""
    y = one_hot(logits, target, ignore_index)
    p = logits.sigmoid()
    bce = F.binary_cross_entropy_with_logits(logits, y)
    of_y = _windows(F.max_pool2d(y, POOL, POOL)).double()  # (N, C, D, P)
    of_p = _windows(F.avg_pool2d(p, POOL, POOL)).double()
    of_y, of_p = (part - part.mean(dim=3, keepdim=True) for part in (of_y, of_p))
    ridge = RIDGE * torch.eye(RADIUS**2, dtype=torch.float64, device=logits.device)
    inverse = torch.inverse(of_p @ of_p.mT + ridge)
    both = of_y @ of_p.mT
    rest = of_y @ of_y.mT - both @ inverse @ both.mT
    halves = torch.linalg.cholesky(rest + ridge).diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)  # (N, C)
    return 0.5 * bce + 0.5 * (halves.mean(dim=0).sum() / RADIUS**2).to(logits.dtype)


def _windows(maps: Tensor) -> Tensor:
    """Each pixel with its neighbours: (N, C, H, W) -> (N, C, RADIUS^2, P)."""
    height, width = (side - RADIUS + 1 for side in maps.shape[2:])
    shifts = [
        maps[:, :, row : row + height, column : column + width]
        for row in range(RADIUS)
        for column in range(RADIUS)
    ]
    return torch.stack(shifts, dim=2).flatten(3)
