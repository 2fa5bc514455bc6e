"""What others do for the same purpose, written anew from what their functions compute.

Each takes logits at the label's size (N, C, H, W), a target (N, H, W) of int64 ids and `ignore_index`, and returns a
scalar. Only speed and memory are compared: their edge cases are not ours (see docs/losses.md).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def plain(logits: Tensor, target: Tensor, *, ignore_index: int) -> Tensor:
    """Mean cross-entropy over the valid pixels."""
    return F.cross_entropy(logits, target, ignore_index=ignore_index)


def sorted_ohem(logits: Tensor, target: Tensor, *, ignore_index: int, thresh: float = 0.7) -> Tensor:
    """OHEM as it is usually published: sort all losses; those above the threshold, or the n_min first if fewer are."""
    loss = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="none").flatten()
    n_min = loss.numel() // 16
    loss = loss.sort(descending=True).values
    least = -math.log(thresh)
    return (loss[loss > least] if loss[n_min] > least else loss[:n_min]).mean()


def thresholded_ohem(logits: Tensor, target: Tensor, *, ignore_index: int, thresh: float = 0.7) -> Tensor:
    """OHEM of the BiSeNet line: keep losses above the threshold; only if they are too few, the largest by topk."""
    loss = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="none").flatten()
    n_min = int((target != ignore_index).sum()) // 16
    hard = loss[loss > -math.log(thresh)]
    return (loss.topk(n_min).values if hard.numel() < n_min else hard).mean()


def sampled_ohem(logits: Tensor, target: Tensor, *, ignore_index: int, thresh: float = 0.7) -> Tensor:
    """OHEM as a pixel sampler before the loss, as in mmsegmentation: the threshold is found among sorted probabilities
    of the true class, and the loss of all pixels is multiplied by the mask of those below it."""
    with torch.no_grad():
        valid = target != ignore_index
        label = torch.where(valid, target, 0)[:, None]
        probability = logits.softmax(dim=1).gather(1, label)[:, 0]
        ranked = probability[valid].sort().values
        bound = max(float(ranked[min(ranked.numel() - 1, target.numel() // 16)]), thresh)
        kept = valid & (probability < bound)
    loss = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="none")
    return (loss * kept).mean()


def top_k(logits: Tensor, target: Tensor, *, ignore_index: int, share: float = 0.15) -> Tensor:
    """Bootstrapped cross-entropy of the STCN and nnU-Net lines: the mean of the k largest losses by topk."""
    loss = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="none").flatten()
    return loss.topk(int(share * loss.numel()), sorted=False).values.mean()


def weight_map(logits: Tensor, target: Tensor, weight: Tensor, *, ignore_index: int) -> Tensor:
    """Losses times a weight map (N, H, W), divided by the number of valid pixels."""
    loss = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="none")
    return (loss * weight).sum() / (target != ignore_index).sum()


def checked_confusion(target: Tensor, prediction: Tensor, *, num_classes: int, ignore_index: int) -> Tensor:
    """A confusion matrix as torchmetrics makes it by default: the ids are checked by collecting the distinct ones, the
    ignored pixels cut out, and the cells counted."""
    for ids in (target, prediction):
        if len(torch.unique(ids)) > num_classes + 1:
            raise ValueError("more ids than classes")
    return confusion(target, prediction, num_classes=num_classes, ignore_index=ignore_index)


def confusion(target: Tensor, prediction: Tensor, *, num_classes: int, ignore_index: int) -> Tensor:
    """The same without the check."""
    target, prediction = target.flatten(), prediction.flatten()
    valid = target != ignore_index
    cell = target[valid].long() * num_classes + prediction[valid].long()
    return torch.bincount(cell, minlength=num_classes**2).reshape(num_classes, num_classes)
