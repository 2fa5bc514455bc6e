"""Reduction: one number from the selected pixels, and by which denominator.

Each is a pure function of (values, selected, weight). `weight` is a map (N, *spatial) >= 0 that multiplies
the values after the selection was made. A denominator of 0 (no valid pixel, or only zero weights) gives a
loss of exactly 0 that stays connected to the logits. `scope` says which pixels are averaged together.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from segkit.losses.criteria import PixelValues
from segkit.losses.criteria.values import Fused
from segkit.losses.scope import BATCH, Scope
from segkit.losses.selections import Selected


def valid_mean(
    values: PixelValues, selected: Selected, weight: Tensor | None = None, *, scope: Scope = BATCH
) -> Tensor:
    """sum(share x weight x value) / |V|: by the number of valid pixels, whatever they weigh."""
    factor = pixel_factor(values, selected, weight)
    return mean_over(values, factor, scope.sum(values.valid), scope)


def selected_mean(
    values: PixelValues, selected: Selected, weight: Tensor | None = None, *, scope: Scope = BATCH
) -> Tensor:
    """sum(share x weight x value) / sum(share): by the number of selected pixels, whatever they weigh."""
    factor = pixel_factor(values, selected, weight)
    return mean_over(values, factor, selected.count, scope)


def weighted_mean(
    values: PixelValues, selected: Selected, weight: Tensor | None = None, *, scope: Scope = BATCH
) -> Tensor:
    """sum(share x weight x value) / sum(share x weight x class weight): by what the pixels weigh."""
    factor = pixel_factor(values, selected, weight)
    # At ignored pixels the factor is 0 as well.
    unweighted = values.fused is not None and values.fused.unweighted
    mass = factor if unweighted else factor * values.class_weight
    return mean_over(values, factor, scope.sum(mass), scope)


def recall_mean(
    values: PixelValues, selected: Selected, weight: Tensor | None = None, *, scope: Scope = BATCH
) -> Tensor:
    """sum(share x weight x (1 - recall of the class) x value) / sum(share): by the number of selected pixels.

    The recall of a class is the share of its valid pixels, selected or not, of which no other class is more probable:
    counted without gradient and in integers, over all pixels that the scope averages. After Tian et al. 2022 (Striking
    the right balance: recall loss for semantic segmentation).
    """
    factor = pixel_factor(values, selected, weight) * miss_rates(values, scope)
    return mean_over(values, factor, selected.count, scope)


@torch.no_grad()
def miss_rates(values: PixelValues, scope: Scope) -> Tensor:
    """1 - recall of each pixel's class (N, *spatial), among the pixels of its group; 0 at ignored pixels."""
    if values.fused is not None and values.fused.backend == "numba":
        return _miss_rates_compiled(values, values.fused, scope)
    label, classes = values.label, values.num_classes
    groups = scope.rows(label)  # (G, P)
    # Twice the classes: right ones, then wrong ones.
    kind = (label + classes * values.wrong).reshape(len(groups), -1, label.shape[-1] if label.ndim > 1 else 1)
    counted = values.valid.reshape(kind.shape).long()  # (G, lines, W)
    # By column, because pixels side by side are of one class mostly, and additions to one place wait for each other.
    counts = torch.zeros(len(kind), 2 * classes, kind.shape[2], dtype=torch.int64, device=kind.device)
    rates = _share_of_wrong(counts.scatter_add_(1, kind, counted).sum(dim=2), values, scope)
    return rates.gather(1, groups).view(label.shape) * values.valid


def _share_of_wrong(counts: Tensor, values: PixelValues, scope: Scope) -> Tensor:
    """Of each class (G, C), of how many pixels of this process are right and then wrong (G, 2 C)."""
    right, wrong = scope.across(counts).to(values.ce.dtype).chunk(2, dim=1)
    return wrong / (right + wrong).clamp_min(1)  # a class without a pixel is asked for by none


def _miss_rates_compiled(values: PixelValues, fused: Fused, scope: Scope) -> Tensor:
    """The same in two passes over the pixels."""
    from segkit.losses.kernels.cpu import pixel_sums  # imports numba

    target, ignored = scope.rows(fused.target), fused.ignore_index
    counts = pixel_sums.count_classes(
        scope.rows(values.wrong), target, ignore_index=ignored, num_classes=values.num_classes
    )
    rates = _share_of_wrong(counts, values, scope)
    return pixel_sums.place_rates(rates, target, ignore_index=ignored).view(values.ce.shape)


#: Names of reductions in a configuration.
REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "valid": valid_mean,
    "selected": selected_mean,
    "weights": weighted_mean,
    "recall": recall_mean,
}


def choose_reduction(name: str) -> Callable[..., Tensor]:
    """The reduction of that name. Raises ValueError for any other word."""
    if name not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {name!r}")
    return REDUCTIONS[name]


def mean_over(values: PixelValues, factor: Tensor, denominator: Tensor, scope: Scope) -> Tensor:
    """sum(factor x value) / denominator (G, 1, ..., 1) in the scope."""
    if values.fused is None or values.fused.backend != "numba":
        return scope.mean(factor * values.value, denominator, values.valid)
    from segkit.losses.kernels.cpu.pixel_sums import sum_products  # imports numba

    total = sum_products(scope.rows(values.value), scope.rows(factor))
    return scope.mean_of_sums(total, denominator, values.valid)


def pixel_factor(values: PixelValues, selected: Selected, weight: Tensor | None) -> Tensor:
    """share x weight (N, *spatial). Raises ValueError for a map of another shape, or (on the CPU) below 0."""
    if weight is None:
        return selected.share
    return selected.share * read_weight(weight, values.valid, selected.share.dtype)


def read_weight(weight: Tensor, valid: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight map (N, *spatial), 0 at ignored pixels. Raises ValueError for a map of another shape than
    `valid`, or (on the CPU) with a valid pixel below 0."""
    if weight.shape != valid.shape:
        raise ValueError(
            f"the weight map has shape {tuple(weight.shape)} but the target has {tuple(valid.shape)}"
        )
    weight = torch.where(valid, weight.to(dtype), 0.0)
    if weight.device.type == "cpu" and not torch.compiler.is_compiling() and _has_negative(weight):
        raise ValueError(f"a weight map must be >= 0, got {weight.min().item():g}")
    return weight


def _has_negative(weight: Tensor) -> bool:
    if weight.numel() == 0:
        return False
    lowest = weight.amin()  # many times faster than to compare them all; NaN if one is
    return bool(lowest < 0) or (bool(lowest.isnan()) and bool((weight < 0).any()))
