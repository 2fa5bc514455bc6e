"""Losses about shapes as their authors compute them, written anew from what their functions compute.

As in `peers`, only speed and memory are compared. Skeletons take ignored pixels for background, since theirs know none.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

#: As segkit's loss has it.
SKELETON_ITERATIONS = 3


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


def rmi(
    logits: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = 255,
    radius: int = 3,
    pool: int = 4,
    padding: int | None = None,
    mix: float = 0.5,
    ridge: float = 5e-4,
) -> Tensor:
    """Region mutual information in the manner of its authors: sigmoid and binary cross-entropy, cells of the whole
    image, then all windows of all classes side by side in fp64, centred, and an explicit inverse."""
    c = logits.shape[1]
    valid = labels != ignore_index
    one_hot = F.one_hot(torch.where(valid, labels, 0), c).float() * valid.unsqueeze(3)  # (N, H, W, C)
    flat = logits.permute(0, 2, 3, 1).reshape(-1, c)
    ce = F.binary_cross_entropy_with_logits(
        flat, one_hot.view(-1, c), weight=valid.float().view(-1, 1), reduction="sum"
    ) / (valid.sum() + 1)
    p = logits.sigmoid() * valid.unsqueeze(1) + 1e-6
    padding = pool // 2 if padding is None else padding
    y, p = (F.avg_pool2d(each, pool, pool, padding) for each in (one_hot.permute(0, 3, 1, 2), p))
    y, p = (_side_by_side(each, radius) for each in (y, p))  # (N, C, d, P)
    eye = ridge * torch.eye(radius**2, dtype=torch.float64, device=logits.device)
    yp, told = y @ p.transpose(2, 3), torch.inverse(p @ p.transpose(2, 3) + eye)
    left = y @ y.transpose(2, 3) - yp @ told @ yp.transpose(2, 3)
    root = torch.linalg.cholesky(left + eye)
    log_det = 2 * (root.diagonal(dim1=2, dim2=3) + 1e-8).log().sum(dim=2)  # (N, C)
    rest = (0.5 * log_det.mean(dim=0) / radius**2).sum().float()
    return mix * ce + (1 - mix) * rest


def _side_by_side(x: Tensor, radius: int) -> Tensor:
    height, width = x.shape[2] - radius + 1, x.shape[3] - radius + 1
    cells = [x[:, :, i : i + height, j : j + width] for i in range(radius) for j in range(radius)]
    z = torch.stack(cells, dim=2).flatten(3).double()
    return z - z.mean(dim=3, keepdim=True)
