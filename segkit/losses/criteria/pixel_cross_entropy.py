"""Cross-entropy of every pixel as a pure function, which the criteria `ce` and `bce` share."""

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.losses.criteria.inputs import Inputs, read_inputs
from segkit.losses.criteria.values import (
    PixelValues,
    class_weight_of,
    per_class,
    place_class_weights,
    true_labels,
)


def pixel_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> PixelValues:
    """Cross-entropy of every pixel: sum_c a_c y_c (-log softmax(logits)_c).

    `logits` (N, C, *any) floating point. `target` is either class ids (N, *spatial), where `ignore_index`
    marks ignored pixels, or soft labels (N, C, *spatial), where a pixel whose labels are all 0 is ignored. With
    two spatial dimensions the logits may have another size: they are resized bilinearly (align_corners=False).
    With `label_smoothing` e, y becomes (1 - e) y + e / C, as in `F.cross_entropy`.

    Ignored pixels get exactly zero gradient, even where their logits are NaN. Raises ValueError for shapes
    and dtypes that do not fit, and on the CPU for labels outside [0, C): on other devices looking would make
    the host wait, and the data pipeline has looked already.
    """
    inputs = read_inputs(logits, target, ignore_index=ignore_index)
    weights = place_class_weights(class_weights, inputs.log_p)
    class_weight = class_weight_of(inputs.target, inputs.valid, weights, inputs.log_p.dtype)
    if inputs.soft:
        ce, value = _soft_values(inputs, weights)
    else:
        ce = F.nll_loss(inputs.log_p, inputs.target, reduction="none", ignore_index=ignore_index)
        value = ce if weights is None else ce * class_weight  # (N, *spatial)
    if label_smoothing:
        value = _smooth(value, inputs, weights, label_smoothing)
    return PixelValues(value, class_weight, ce.detach(), inputs.valid, true_labels(inputs), inputs.log_p)


def _soft_values(inputs: Inputs, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    terms = torch.where(inputs.target != 0, -inputs.target * inputs.log_p, 0.0)  # 0 x log 0 is 0
    ce = terms.sum(dim=1)  # (N, C, *spatial) -> (N, *spatial)
    return ce, ce if weights is None else (terms * per_class(weights, terms)).sum(dim=1)


def _smooth(value: Tensor, inputs: Inputs, weights: Tensor | None, label_smoothing: float) -> Tensor:
    log_p = inputs.log_p if weights is None else inputs.log_p * per_class(weights, inputs.log_p)
    uniform = -log_p.mean(dim=1)  # (N, C, *spatial) -> (N, *spatial)
    return (1 - label_smoothing) * value + label_smoothing * torch.where(inputs.valid, uniform, 0.0)
