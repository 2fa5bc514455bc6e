"""The definitions of the losses as explicit loops over Python floats (float64): slow, and obviously right.

Every loss here is sum over pixels p and classes c of factor[p][c] x (-log softmax(z_p)_c), where the factors do not
depend on the gradient. So a loss is a rule for the factors, and value and gradient follow from one place.
Further down are other forms of the same definitions: by NumPy with a hand-written backward, by logsumexp, by
gather and by full sorts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

Pixel = tuple[int, int, int]


@dataclass
class Pixels:
    """The valid pixels of a batch, in reading order, and the cross-entropy and target class of each."""

    ce: dict[Pixel, float]
    target: dict[Pixel, int]
    num_classes: int


# ---------------------------------------------------------------------------------------------- value and gradient


def value_and_gradient(
    logits: torch.Tensor,
    target: torch.Tensor,
    rule: Callable[[Pixels], dict[Pixel, float]],
    *,
    criterion: Callable[[float], tuple[float, float]] = lambda ce: (ce, 1.0),
    ignore_index: int = 255,
) -> tuple[float, torch.Tensor]:
    """Loss and gradient with respect to `logits` (N, C, h, w) for targets (N, H, W); the gradient is float64.

    `rule` gives the factor of each valid pixel's value; pixels it leaves out count 0. `criterion` makes of a pixel's
    cross-entropy its value, and the derivative of that. One logit (N, 1, h, w) stands for the two logits [0, z].
    """
    if logits.shape[1] == 1:
        both = torch.cat([torch.zeros_like(logits), logits], dim=1)
        value, gradient = value_and_gradient(
            both, target, rule, criterion=criterion, ignore_index=ignore_index
        )
        return value, gradient[:, 1:]
    z = logits.detach().double().tolist()
    n, c = logits.shape[:2]
    height, width = target.shape[1:]
    rows, columns = taps(logits.shape[2], height), taps(logits.shape[3], width)
    pixels, probabilities = Pixels({}, {}, c), {}
    for i in range(n):
        for y in range(height):
            for x in range(width):
                true = int(target[i, y, x])
                if true == ignore_index:
                    continue
                resized = [0.0] * c
                for k in range(c):
                    for row, row_share in rows[y]:
                        for column, column_share in columns[x]:
                            resized[k] += row_share * column_share * z[i][k][row][column]
                probabilities[i, y, x] = softmax(resized)
                pixels.ce[i, y, x] = log_sum_exp(resized) - resized[true]
                pixels.target[i, y, x] = true

    factor = rule(pixels)
    value, gradient = 0.0, np.zeros(tuple(logits.shape))
    for (i, y, x), share in factor.items():
        pixel_value, derivative = criterion(pixels.ce[i, y, x])
        value += share * pixel_value
        for k in range(c):
            slope = share * derivative * (probabilities[i, y, x][k] - (k == pixels.target[i, y, x]))
            for row, row_share in rows[y]:
                for column, column_share in columns[x]:
                    gradient[i, k, row, column] += row_share * column_share * slope
    return value, torch.from_numpy(gradient)


def taps(size: int, new_size: int) -> list[list[tuple[int, float]]]:
    """Bilinear resizing (align_corners=False) in one dimension: per new place, the old places and their shares."""
    if size == new_size:
        return [[(place, 1.0)] for place in range(size)]
    result = []
    for place in range(new_size):
        centre = max(0.0, (place + 0.5) * size / new_size - 0.5)
        low = min(int(centre), size - 1)
        high = min(low + 1, size - 1)
        result.append([(low, 1.0 - (centre - low)), (high, centre - low)])
    return result


def log_sum_exp(values: list[float]) -> float:
    largest = max(values)
    return largest + math.log(sum(math.exp(v - largest) for v in values))


def softmax(values: list[float]) -> list[float]:
    total = log_sum_exp(values)
    return [math.exp(v - total) for v in values]


def focal_criterion(gamma: float):
    """(1 - p)^gamma ce with p = exp(-ce), and its derivative by ce (the class weights are in the rule)."""

    def criterion(ce: float) -> tuple[float, float]:
        p = math.exp(-ce)
        return (1 - p) ** gamma * ce, (1 - p) ** gamma + gamma * (1 - p) ** (gamma - 1) * p * ce

    return criterion


# -------------------------------------------------------------------------------------------------- the four losses


def ce_rule(class_weights: list[float] | None = None, weight: torch.Tensor | None = None):
    """a_t / sum_V a_t (with a weight map m: m a_t / sum_V m a_t)."""

    def rule(pixels: Pixels) -> dict[Pixel, float]:
        factor = weigh(dict.fromkeys(pixels.ce, 1.0), pixels, class_weights, weight)
        total = sum(factor.values())
        return {p: f / total for p, f in factor.items()} if total else {}

    return rule


def weighted_mask_rule(weight: torch.Tensor, *, normalize: str, class_weights: list[float] | None = None):
    """m / |V|, or m / sum_V m."""
    if normalize == "weights":
        return ce_rule(class_weights, weight)

    def rule(pixels: Pixels) -> dict[Pixel, float]:
        factor = weigh(dict.fromkeys(pixels.ce, 1.0), pixels, class_weights, weight)
        return {p: f / len(pixels.ce) for p, f in factor.items()}

    return rule


def bootstrapped_rule(
    share: float, class_weights: list[float] | None = None, weight: torch.Tensor | None = None
):
    """1 / k for the k = max(1, int(share |V|)) hardest."""

    def rule(pixels: Pixels) -> dict[Pixel, float]:
        if not pixels.ce:
            return {}
        k = max(1, int(share * len(pixels.ce)))
        factor = weigh(hardest(pixels.ce, k), pixels, class_weights, weight)
        return {p: f / k for p, f in factor.items()}

    return rule


def ohem_rule(
    thresh: float,
    n_min: Callable[[int], int],
    class_weights: list[float] | None = None,
    weight: torch.Tensor | None = None,
):
    """1 / |hard| for the hard pixels if they are more than n_min(|V|), else for the min(n_min, |V|) hardest."""

    def rule(pixels: Pixels) -> dict[Pixel, float]:
        if not pixels.ce:
            return {}
        hard = {p: 1.0 for p, ce in pixels.ce.items() if ce > -math.log(thresh)}
        at_least = n_min(len(pixels.ce))
        if len(hard) > at_least:
            kept, k = hard, len(hard)
        else:
            k = min(at_least, len(pixels.ce))
            kept = hardest(pixels.ce, k)
        factor = weigh(kept, pixels, class_weights, weight)
        return {p: f / k for p, f in factor.items()}

    return rule


# ------------------------------------------------------------------------------ any selection, reduction and scope

Select = Callable[[dict[Pixel, float]], dict[Pixel, float]]

SELECTIONS: dict[str, Callable[..., Select]] = {
    "all": lambda: lambda ce: dict.fromkeys(ce, 1.0),
    "top_share": lambda share: lambda ce: hardest(ce, max(1, int(share * len(ce)))),
    "top_k": lambda k: lambda ce: hardest(ce, min(k, len(ce))),
    "ohem": lambda thresh, n_min: (
        lambda ce: hardest(ce, max(sum(v > -math.log(thresh) for v in ce.values()), min(n_min, len(ce))))
    ),
}


def composed_rule(
    select: Select,
    *,
    reduction: str,
    scope: str = "batch",
    class_weights: list[float] | None = None,
    weight: torch.Tensor | None = None,
):
    """share x m x a_t over |V|, the sum of shares, or the sum of share x m x a_t; per image, or of the batch."""

    def rule(pixels: Pixels) -> dict[Pixel, float]:
        images = sorted({p[0] for p in pixels.ce}) if scope == "image" else [None]
        result = {}
        for image in images:
            ce = {p: v for p, v in pixels.ce.items() if image in (None, p[0])}
            share = select(ce) if ce else {}
            factor = weigh(share, pixels, class_weights, weight)
            by = {"valid": len(ce), "selected": sum(share.values()), "weights": sum(factor.values())}
            if by[reduction]:
                result |= {p: f / by[reduction] / len(images) for p, f in factor.items()}
        return result

    return rule


def hardest(ce: dict[Pixel, float], k: int) -> dict[Pixel, float]:
    """The share to which each pixel is among the k hardest: 1, or for the pixels that tie at the end, equal parts."""
    boundary = sorted(ce.values(), reverse=True)[k - 1]
    above = [p for p, value in ce.items() if value > boundary]
    tied = [p for p, value in ce.items() if value == boundary]
    return dict.fromkeys(above, 1.0) | {p: (k - len(above)) / len(tied) for p in tied}


def weigh(factor, pixels: Pixels, class_weights, weight) -> dict[Pixel, float]:
    """The factors times the class weight and the map's value of each pixel."""
    return {
        p: f
        * (1.0 if class_weights is None else class_weights[pixels.target[p]])
        * (1.0 if weight is None else float(weight[p]))
        for p, f in factor.items()
    }


# ------------------------------------------------------------------------- other forms of the same cross-entropy


class NumpyCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of (P, C) logits and (P,) ids in NumPy, with its own backward."""

    @staticmethod
    def forward(ctx, logits, target):
        z, t = logits.detach().double().numpy(), target.numpy()
        e = np.exp(z - z.max(axis=1, keepdims=True))
        ctx.p, ctx.t = e / e.sum(axis=1, keepdims=True), t
        return logits.new_tensor(-np.log(ctx.p[np.arange(len(t)), t]).mean())

    @staticmethod
    def backward(ctx, gradient):
        g = ctx.p.copy()
        g[np.arange(len(ctx.t)), ctx.t] -= 1
        return gradient * torch.from_numpy(g / len(ctx.t)).to(gradient.dtype), None


def numpy_ce(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    c = logits.shape[1]
    return NumpyCrossEntropy.apply(logits.movedim(1, -1).reshape(-1, c), target.reshape(-1))


def gather_ce(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return -F.log_softmax(logits, dim=1).gather(1, target.unsqueeze(1)).mean()


def log_sum_exp_ce(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    true = logits.gather(1, target.unsqueeze(1)).squeeze(1)
    return (logits.logsumexp(dim=1) - true).mean()


def loops_ce(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of (N, C) logits by loops, differentiable because it is made of torch scalars."""
    total = 0.0
    for row, true in zip(logits, target.tolist(), strict=True):
        total = total - torch.log(torch.exp(row[true]) / sum(torch.exp(v) for v in row))
    return total / len(target)


# ------------------------------------------------------------------------------- selections by boolean masks and sorts


def topk_mean(
    logits: torch.Tensor, target: torch.Tensor, share: float, ignore_index: int = 255
) -> torch.Tensor:
    ce = F.cross_entropy(logits, target, reduction="none", ignore_index=ignore_index)[target != ignore_index]
    return ce.topk(max(1, int(share * ce.numel()))).values.mean()


def full_sort_ohem(
    logits: torch.Tensor, target: torch.Tensor, thresh: float, n_min: int, ignore_index: int = 255
) -> torch.Tensor:
    ce = F.cross_entropy(logits, target, reduction="none", ignore_index=ignore_index)[target != ignore_index]
    ordered = ce.sort(descending=True).values
    if ordered.numel() > n_min and ordered[n_min] > -math.log(thresh):
        return ordered[ordered > -math.log(thresh)].mean()
    return ordered[:n_min].mean()
