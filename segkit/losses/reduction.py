"""Reduction: one number from the selected pixels, and by which denominator.

Each is a pure function of (values, selected, weight). `weight` is a map (N, *spatial) >= 0 that multiplies
the values after the selection was made. A denominator of 0 (no valid pixel, or only zero weights) gives a
loss of exactly 0 that stays connected to the logits.
"""

import torch
from torch import Tensor

from segkit.losses.criterion import PixelValues
from segkit.losses.selection import Selected


def valid_mean(values: PixelValues, selected: Selected, weight: Tensor | None = None) -> Tensor:
    """sum(share x weight x value) / |V|: by the number of valid pixels, whatever they weigh."""
    factor = pixel_factor(values, selected, weight)
    return _divide((factor * values.value).sum(), values.valid.sum())


def selected_mean(values: PixelValues, selected: Selected, weight: Tensor | None = None) -> Tensor:
    """sum(share x weight x value) / sum(share): by the number of selected pixels, whatever they weigh."""
    factor = pixel_factor(values, selected, weight)
    return _divide((factor * values.value).sum(), selected.count)


def weighted_mean(values: PixelValues, selected: Selected, weight: Tensor | None = None) -> Tensor:
    """sum(share x weight x value) / sum(share x weight x class weight): by what the pixels weigh."""
    factor = pixel_factor(values, selected, weight)
    return _divide((factor * values.value).sum(), (factor * values.class_weight).sum())


def pixel_factor(values: PixelValues, selected: Selected, weight: Tensor | None) -> Tensor:
    """share x weight (N, *spatial). Raises ValueError for a map of another shape, or (on the CPU) below 0."""
    if weight is None:
        return selected.share
    if weight.shape != values.valid.shape:
        raise ValueError(
            f"the weight map has shape {tuple(weight.shape)} but the target has {tuple(values.valid.shape)}"
        )
    weight = torch.where(values.valid, weight.to(selected.share.dtype), 0.0)
    if weight.device.type == "cpu" and not torch.compiler.is_compiling() and bool((weight < 0).any()):
        raise ValueError(f"a weight map must be >= 0, got {weight.min().item():g}")
    return selected.share * weight


def _divide(total: Tensor, count: Tensor) -> Tensor:
    return total / torch.where(count == 0, 1, count)
