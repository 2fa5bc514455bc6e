"""The region losses as explicit loops over Python floats: value by definition, gradient by differences of values."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from tests.losses.reference import softmax


@dataclass(frozen=True)
class OfTheBatch:
    """A loss that is more than the mean of `form` over the classes: `finish(losses, p, y, m, classes)`, where p are the
    probabilities of each pixel, y the true classes and m the weights, and `losses` those of `classes`."""

    form: Callable[..., float]
    finish: Callable[..., float]


def value(form, logits, target, *, weight=None, classes: str, ignore_index: int = 255) -> float:
    """The mean of `form(p, y, m)` over the classes, for logits (N, C, H, W) and ids (N, H, W).

    `form` gets three lists over the valid pixels: probability of the class, whether it is the true one, and weight.
    """
    n, c, height, width = logits.shape
    p, y, m = [], [], []
    for i in range(n):
        for row in range(height):
            for column in range(width):
                true = int(target[i, row, column])
                if true == ignore_index:
                    continue
                p.append(softmax(logits[i, :, row, column].double().tolist()))
                y.append(true)
                m.append(1.0 if weight is None else float(weight[i, row, column]))
    counted = [
        k for k in range(c) if classes == "all" or any(t == k and w for t, w in zip(y, m, strict=True))
    ]
    class_form = form.form if isinstance(form, OfTheBatch) else form
    losses = [class_form([q[k] for q in p], [t == k for t in y], m) for k in counted]
    if isinstance(form, OfTheBatch):
        return form.finish(losses, p, y, m, counted)
    return sum(losses) / len(losses) if losses else 0.0


def gradient(form, logits, target, **options) -> torch.Tensor:
    """Central differences of `value`."""
    step, z = 1e-5, logits.detach().double().clone()
    slope = torch.zeros_like(z)
    for place in range(z.numel()):
        saved = z.view(-1)[place].item()
        ends = []
        for sign in (1, -1):
            z.view(-1)[place] = saved + sign * step
            ends.append(value(form, z, target, **options))
        z.view(-1)[place] = saved
        slope.view(-1)[place] = (ends[0] - ends[1]) / (2 * step)
    return slope


def dice(smooth: float):
    def form(p, y, m):
        both = sum(w * q for q, t, w in zip(p, y, m, strict=True) if t)
        sizes = sum(w * q for q, w in zip(p, m, strict=True)) + sum(w for t, w in zip(y, m, strict=True) if t)
        return 1 - (2 * both + smooth) / (sizes + smooth) if sizes + smooth else 0.0

    return form


def tversky(alpha: float, beta: float, smooth: float):
    def form(p, y, m):
        both = sum(w * q for q, t, w in zip(p, y, m, strict=True) if t)
        too_much = sum(w * q for q, t, w in zip(p, y, m, strict=True) if not t)
        missed = sum(w * (1 - q) for q, t, w in zip(p, y, m, strict=True) if t)
        below = both + alpha * too_much + beta * missed + smooth
        return 1 - (both + smooth) / below if below else 0.0

    return form


def jaccard(smooth: float):
    return tversky(1.0, 1.0, smooth)


def focal_tversky(alpha: float, beta: float, gamma: float, smooth: float):
    below_power = tversky(alpha, beta, smooth)
    return lambda p, y, m: below_power(p, y, m) ** (1 / gamma)


def log_cosh_dice(smooth: float):
    return OfTheBatch(
        dice(smooth), lambda losses, *_: math.log(math.cosh(sum(losses) / len(losses))) if losses else 0.0
    )


def unified_focal(mix: float, delta: float, gamma: float, smooth: float, *, symmetric: bool, background=(0,)):
    def finish(tverskys, p, y, m, classes):
        regions = [
            loss ** (1 - gamma) if symmetric or k not in background else loss
            for k, loss in zip(classes, tverskys, strict=True)
        ]
        pixels = 0.0
        for q, true, w in zip(p, y, m, strict=True):
            common = true in background
            exponent = gamma if symmetric or common else 0.0
            pixels += w * (1 - delta if common else delta) * (1 - q[true]) ** exponent * -math.log(q[true])
        by_pixel = pixels / sum(m) if sum(m) else 0.0
        by_region = sum(regions) / len(regions) if regions else 0.0
        return mix * by_pixel + (1 - mix) * by_region

    return OfTheBatch(tversky(1 - delta, delta, smooth), finish)


def mcc(smooth: float):
    def form(p, y, m):
        tp = smooth + sum(w * q for q, t, w in zip(p, y, m, strict=True) if t)
        fp = sum(w * q for q, t, w in zip(p, y, m, strict=True) if not t)
        fn = sum(w * (1 - q) for q, t, w in zip(p, y, m, strict=True) if t)
        tn = smooth + sum(w * (1 - q) for q, t, w in zip(p, y, m, strict=True) if not t)
        below = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        if not below:
            return 1.0 if fp + fn else 0.0
        return 1 - (tp * tn - fp * fn) / below

    return form


def lovasz(p, y, m) -> float:
    """sum_i e_i (J(first i pixels wrong) - J(first i - 1 wrong)), J = 1 - IoU counted from the sets themselves."""
    errors = [abs(t - q) for q, t in zip(p, y, strict=True)]
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    total, before = 0.0, 0.0
    for i in range(len(order)):
        now = one_minus_iou(set(order[: i + 1]), y, m)
        total += errors[order[i]] * (now - before)
        before = now
    return total


def one_minus_iou(wrong: set[int], y, m) -> float:
    """1 - IoU of a prediction that is wrong on these pixels and right on all others."""
    true = {i for i, t in enumerate(y) if t}
    predicted = true ^ wrong
    union = sum(m[i] for i in true | predicted)
    return 1 - sum(m[i] for i in true & predicted) / union if union else 0.0
