"""Distances to borders by measuring to every pixel, and the boundary loss as loops over Python floats."""

import math

import torch

from tests.losses.skeleton_reference import softmax_of


def signed_distance(labels, class_id: int, ignore_index: int = 255) -> list[list[float]]:
    """Of one image, ids (H, W)."""
    height, width = labels.shape
    valid = [(y, x) for y in range(height) for x in range(width) if labels[y, x] != ignore_index]
    inside = [place for place in valid if labels[place] == class_id]
    outside = [place for place in valid if labels[place] != class_id]
    found = [[0.0] * width for _ in range(height)]
    if not inside or not outside:
        return found  # there is no border
    for place in valid:
        y, x = place
        found[y][x] = 1 - nearest(place, outside) if labels[place] == class_id else nearest(place, inside)
    return found


def nearest(place, others) -> float:
    return min(math.dist(place, other) for other in others)


def value(logits, target, *, weight=None, only=None, ignore_index: int = 255) -> float:
    """The boundary loss of logits (N, C, H, W) and ids (N, H, W)."""
    n, c, height, width = logits.shape
    p = softmax_of(logits)
    classes = range(c) if only is None else only
    total, valid = 0.0, 0
    for i in range(n):
        maps = {k: signed_distance(target[i], k, ignore_index) for k in classes}
        for y in range(height):
            for x in range(width):
                if target[i, y, x] == ignore_index:
                    continue
                valid += 1
                pixel = sum((p[i][k][y][x] - float(target[i, y, x] == k)) * maps[k][y][x] for k in classes)
                total += pixel / len(classes) * (1.0 if weight is None else float(weight[i, y, x]))
    return total / valid if valid else 0.0


def distances(target, num_classes: int, ignore_index: int = 255) -> torch.Tensor:
    """(N, C, H, W) of ids (N, H, W)."""
    return torch.tensor(
        [[signed_distance(labels, k, ignore_index) for k in range(num_classes)] for labels in target]
    )
