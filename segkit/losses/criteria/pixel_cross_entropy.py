"""Cross-entropy of every pixel as a pure function, which the criteria `ce` and `bce` share."""

import torch
from torch import Tensor

from segkit.losses.criteria.comparison import compare
from segkit.losses.criteria.inputs import Inputs, read_inputs
from segkit.losses.criteria.values import (
    PixelValues,
    class_weight_of,
    per_class,
    place_class_weights,
)
from segkit.losses.kernels import check_backend
from segkit.losses.kernels.reference import true_cross_entropy, wrong_pixels


def pixel_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    backend: str = "auto",
) -> PixelValues:
    """Cross-entropy of every pixel: sum_c a_c y_c (-log softmax(logits)_c).

    `logits` (N, C, *any) floating point. `target` is either class ids (N, *spatial), where `ignore_index`
    marks ignored pixels, or soft labels (N, C, *spatial), where a pixel whose labels are all 0 is ignored. With
    two spatial dimensions the logits may have another size: they are resized bilinearly (align_corners=False).
    With `label_smoothing` e, y becomes (1 - e) y + e / C, as in `F.cross_entropy`.

    All arithmetic is in fp32 whatever the dtype of the logits (in fp64 for fp64 logits). Ignored pixels get exactly
    zero gradient, even where their logits are NaN. `backend` (see `kernels.choose_backend`) says how it is computed;
    soft labels and label smoothing need all log-probabilities, and so the reference. Raises ValueError for shapes and
    dtypes that do not fit, for a backend that cannot, and on the CPU for labels outside [0, C): on other devices
    looking would make the host wait, and the data pipeline has looked already.
    """
    if target.is_floating_point() or label_smoothing:
        require_reference(backend, "soft labels" if target.is_floating_point() else "label_smoothing")
        inputs = read_inputs(logits, target, ignore_index=ignore_index)
        return values_of(inputs, ignore_index, class_weights=class_weights, label_smoothing=label_smoothing)
    compared = compare(
        logits, target, ignore_index=ignore_index, class_weights=class_weights, backend=backend
    )
    return compared.values(compared.ce)


def values_of(
    inputs: Inputs,
    ignore_index: int,
    *,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> PixelValues:
    """The same from log-probabilities, for what needs them anyway."""
    log_p, target, labels = inputs.log_p, inputs.target, inputs.labels
    weights = place_class_weights(class_weights, log_p)
    class_weight = class_weight_of(target, labels, weights, log_p.dtype)
    if inputs.soft:
        ce, value = _soft_values(inputs, weights)
    else:
        ce = true_cross_entropy(log_p, target, ignore_index)
        value = ce if weights is None else ce * class_weight  # (N, *spatial)
    if label_smoothing:
        value = _smooth(value, inputs, weights, label_smoothing)
    wrong = wrong_pixels(log_p, labels.label, labels.valid)
    return PixelValues(value, class_weight, ce.detach(), *labels, wrong, log_p.shape[1])


def require_reference(backend: str, what: str) -> None:
    """Raises ValueError unless `backend` leaves the choice, or is the reference."""
    if check_backend(backend) not in ("auto", "reference"):
        raise ValueError(f"backend: {backend}, but it takes no {what} -> backend: auto")


def _soft_values(inputs: Inputs, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    terms = torch.where(inputs.target != 0, -inputs.target * inputs.log_p, 0.0)  # 0 x log 0 is 0
    ce = terms.sum(dim=1)  # (N, C, *spatial) -> (N, *spatial)
    return ce, ce if weights is None else (terms * per_class(weights, terms)).sum(dim=1)


def _smooth(value: Tensor, inputs: Inputs, weights: Tensor | None, label_smoothing: float) -> Tensor:
    log_p = inputs.log_p if weights is None else inputs.log_p * per_class(weights, inputs.log_p)
    uniform = -log_p.mean(dim=1)  # (N, C, *spatial) -> (N, *spatial)
    return (1 - label_smoothing) * value + label_smoothing * torch.where(inputs.valid, uniform, 0.0)
