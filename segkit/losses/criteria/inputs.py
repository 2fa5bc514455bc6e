"""What every criterion begins with: inputs that fit together, and for those that need them log-probabilities."""

from dataclasses import dataclass

import torch
from torch import Tensor

from segkit.losses.kernels.labels import LabelError, Labels, read_labels
from segkit.losses.kernels.reference import log_probabilities

LABEL_DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class Inputs:
    """Log-probabilities (N, C, *spatial) with gradient, and the target, both at the target's size.

    `target` is int64 class ids (N, *spatial), or soft labels (N, C, *spatial) in the dtype of `log_p`. `labels` is what
    is read of it. Ignored pixels get exactly zero gradient, even where their logits are NaN.
    """

    log_p: Tensor
    target: Tensor
    labels: Labels

    @property
    def valid(self) -> Tensor:
        return self.labels.valid

    @property
    def soft(self) -> bool:
        return self.target.is_floating_point()


def read_inputs(logits: Tensor, target: Tensor, *, ignore_index: int) -> Inputs:
    """Check, resize and normalise what a loss is given; see `pixel_cross_entropy` for what that may be, and errors."""
    labels = check_inputs(logits, target, ignore_index=ignore_index)
    log_p = log_probabilities(logits, labels.valid)
    target = target.to(log_p.dtype) if target.is_floating_point() else target.long()
    return Inputs(log_p, target, labels)


def check_inputs(logits: Tensor, target: Tensor, *, ignore_index: int) -> Labels:
    """What is read of the target. Raises ValueError for shapes and dtypes that do not fit, and on the CPU for
    labels outside [0, C): on other devices looking would make the host wait, and the data pipeline has looked already.
    """
    check_shapes(logits, target)
    labels = read_labels(target, ignore_index)
    if not target.is_floating_point():
        _check_labels(labels, logits.shape[1], ignore_index)
    return labels


def show_shape(tensor: Tensor) -> str:
    """The shape as it stands in messages: (2, 3, 4)."""
    return str(tuple(tensor.shape))


def check_shapes(logits: Tensor, target: Tensor) -> None:
    """Raises ValueError for logits and a target whose shapes or dtypes do not fit together."""
    if not logits.is_floating_point() or logits.ndim < 2:
        raise ValueError(
            f"logits must be floating point (N, C, ...), got {logits.dtype} {show_shape(logits)}"
        )
    if target.is_floating_point():
        if target.ndim != logits.ndim or target.shape[:2] != logits.shape[:2]:
            raise ValueError(
                f"a floating-point target means soft labels (N, C, ...), but it has shape {show_shape(target)} and "
                f"the logits {show_shape(logits)}; class ids must be integers: target.long()"
            )
    elif target.dtype not in LABEL_DTYPES:
        raise ValueError(
            f"target must be integer class ids or floating-point soft labels, got {target.dtype}"
        )
    elif target.ndim == logits.ndim and target.shape[1] == 1:
        raise ValueError(
            f"target has a channel dimension: {show_shape(target)}; class ids are (N, ...): target.squeeze(1)"
        )
    elif target.ndim != logits.ndim - 1 or target.shape[0] != logits.shape[0]:
        raise ValueError(
            f"target has shape {show_shape(target)} but logits {show_shape(logits)} need class ids of shape "
            f"({logits.shape[0]}{', ...' * (logits.ndim > 2)}) with {logits.ndim - 1} dimensions"
        )
    if logits.numel() == 0 or target.numel() == 0:
        raise ValueError(f"nothing to compute: logits {show_shape(logits)}, target {show_shape(target)}")


def _check_labels(labels: Labels, num_classes: int, ignore_index: int) -> None:
    label = labels.label
    if label.device.type != "cpu" or torch.compiler.is_compiling():
        return
    lowest, highest = label.aminmax()
    if lowest < 0 or highest >= num_classes:
        raise LabelError(label, num_classes, ignore_index)
