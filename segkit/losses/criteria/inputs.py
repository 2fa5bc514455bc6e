"""What every criterion begins with: inputs that fit together, at one size, as log-probabilities in fp32.

All arithmetic is in fp32 whatever the dtype of the logits (in fp64 for fp64 logits, so that gradcheck works):
the logits are converted first, and no operation used here is one that autocast lowers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LABEL_DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class Inputs:
    """Log-probabilities (N, C, *spatial) with gradient, and the target, both at the target's size.

    `target` is int64 class ids (N, *spatial), or soft labels (N, C, *spatial) in the dtype of `log_p`. `valid` is
    (N, *spatial) bool. Ignored pixels get exactly zero gradient, even where their logits are NaN.
    """

    log_p: Tensor
    target: Tensor
    valid: Tensor

    @property
    def soft(self) -> bool:
        return self.target.is_floating_point()


def read_inputs(logits: Tensor, target: Tensor, *, ignore_index: int) -> Inputs:
    """Check, resize and normalise what a loss is given; see `pixel_cross_entropy` for what that may be.

    Raises ValueError for shapes and dtypes that do not fit, and on the CPU for labels outside [0, C): on other
    devices looking would make the host wait, and the data pipeline has looked already.
    """
    _check_shapes(logits, target)
    soft = target.is_floating_point()
    logits = logits.float() if logits.dtype != torch.float64 else logits
    logits = resize(logits, target.shape[2:] if soft else target.shape[1:])  # (N, C, *spatial)
    valid = valid_pixels(target, ignore_index)
    if soft:
        target = target.to(logits.dtype)
    else:
        target = target.long()
        _check_labels(target, valid, logits.shape[1], ignore_index)
    log_p = F.log_softmax(_StopAtIgnored.apply(logits, valid), dim=1)
    return Inputs(log_p, target, valid)


def valid_pixels(target: Tensor, ignore_index: int) -> Tensor:
    """(N, *spatial) bool: class ids other than `ignore_index`; of soft labels (N, C, *spatial), those not all 0."""
    if target.is_floating_point():
        return (target != 0).any(dim=1)  # (N, C, *spatial) -> (N, *spatial)
    # In int64, because an ignore_index that the target's dtype cannot hold would wrap around to a class.
    return target.long() != ignore_index


def resize(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits (N, C, h, w) at the target's size (N, C, H, W). Raises ValueError if it is not in two dimensions."""
    if logits.shape[2:] == tuple(size):
        return logits
    if logits.ndim != 4:
        raise ValueError(
            f"logits {show_shape(logits)} and a target of spatial size {tuple(size)} differ: "
            "only two spatial dimensions are resized"
        )
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)


def show_shape(tensor: Tensor) -> str:
    """The shape as it stands in messages: (2, 3, 4)."""
    return str(tuple(tensor.shape))


class _StopAtIgnored(torch.autograd.Function):
    """The logits unchanged; on the way back, zero at ignored pixels.

    Without it a NaN in the logits of an ignored pixel would give a finite loss and a NaN gradient, because
    the backward of log_softmax multiplies its output with the zero that comes in.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, valid: Tensor) -> Tensor:
        ctx.save_for_backward(valid)
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (valid,) = ctx.saved_tensors
        return gradient.masked_fill(~valid.unsqueeze(1), 0.0), None  # (N, *spatial) -> (N, 1, *spatial)


def _check_shapes(logits: Tensor, target: Tensor) -> None:
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


def _check_labels(target: Tensor, valid: Tensor, num_classes: int, ignore_index: int) -> None:
    if target.device.type != "cpu" or torch.compiler.is_compiling():
        return
    lowest, highest = torch.where(valid, target, 0).aminmax()
    if lowest < 0 or highest >= num_classes:
        wrong = target[valid & ((target < 0) | (target >= num_classes))].unique()
        ids = ", ".join(str(label) for label in wrong.tolist())
        raise ValueError(
            f"label out of range: the target has ids {ids} but the logits have {num_classes} classes "
            f"(0-{num_classes - 1}), ignore_index {ignore_index}"
        )
