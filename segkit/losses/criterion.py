"""Criterion: the value of every pixel, before any is selected or averaged.

All arithmetic is in fp32 whatever the dtype of the logits (in fp64 for fp64 logits, so that gradcheck works):
the logits are converted first, and no operation used here is one that autocast lowers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LABEL_DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class PixelValues:
    """What a criterion says of each pixel. All are (N, *spatial), and 0 (False) at ignored pixels.

    `value` is the criterion with its class weights and carries the gradient. `class_weight` is the weight
    already in `value`, for reductions that divide by it. `ce` is plain -log(probability of the true class),
    detached: what selections rank by, and what losses of different kinds are compared by.
    """

    value: Tensor
    class_weight: Tensor
    ce: Tensor
    valid: Tensor


class CrossEntropy(nn.Module):
    """Cross-entropy per pixel, with class weights and label smoothing; see `pixel_cross_entropy`.

    `class_weights`: one number >= 0 per class. `label_smoothing` in [0, 1). Raises ValueError otherwise.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        ignore_index: int = 255,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ):
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.num_classes, self.ignore_index, self.label_smoothing = num_classes, ignore_index, label_smoothing
        weights = None if class_weights is None else _check_class_weights(class_weights, num_classes)
        # A buffer, to follow the module to its device; not saved, because the weights are configuration.
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> PixelValues:
        """Logits (N, C, *any), target (N, *spatial) or (N, C, *spatial) -> values (N, *spatial)."""
        if logits.ndim > 1 and logits.shape[1] != self.num_classes:
            raise ValueError(f"logits {_shape(logits)} must have {self.num_classes} classes in dimension 1")
        return pixel_cross_entropy(
            logits,
            target,
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
        )

    def describe(self) -> str:
        """The options that differ from plain cross-entropy, for one line on the console."""
        parts = []
        if self.class_weights is not None:
            parts.append(f"class_weights [{', '.join(f'{w:g}' for w in self.class_weights.tolist())}]")
        if self.label_smoothing:
            parts.append(f"label_smoothing {self.label_smoothing:g}")
        return "  ".join(parts)


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
    _check_inputs(logits, target)
    soft = target.is_floating_point()
    logits = logits.float() if logits.dtype != torch.float64 else logits
    logits = resize(logits, target.shape[2:] if soft else target.shape[1:])  # (N, C, *spatial)
    num_classes = logits.shape[1]
    weights = None
    if class_weights is not None:
        if class_weights.shape != (num_classes,):
            raise ValueError(
                f"class_weights has shape {_shape(class_weights)} but the logits have {num_classes} classes"
            )
        weights = class_weights.to(device=logits.device, dtype=logits.dtype)  # (C,)

    if soft:
        valid = (target != 0).any(dim=1)  # (N, C, *spatial) -> (N, *spatial)
        log_p = F.log_softmax(_StopAtIgnored.apply(logits, valid), dim=1)
        ce, value, class_weight = _soft_values(log_p, target.to(logits.dtype), weights)
    else:
        target = target.long()
        valid = target != ignore_index
        _check_labels(target, valid, num_classes, ignore_index)
        log_p = F.log_softmax(_StopAtIgnored.apply(logits, valid), dim=1)
        ce, value, class_weight = _hard_values(log_p, target, valid, weights, ignore_index)

    if label_smoothing:
        uniform = -(log_p if weights is None else log_p * _per_class(weights, log_p)).mean(dim=1)
        value = (1 - label_smoothing) * value + label_smoothing * torch.where(valid, uniform, 0.0)
    return PixelValues(value=value, class_weight=class_weight, ce=ce.detach(), valid=valid)


def resize(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits (N, C, h, w) at the target's size (N, C, H, W). Raises ValueError if it is not in two dimensions."""
    if logits.shape[2:] == tuple(size):
        return logits
    if logits.ndim != 4:
        raise ValueError(
            f"logits {_shape(logits)} and a target of spatial size {tuple(size)} differ: "
            "only two spatial dimensions are resized"
        )
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)


def _hard_values(
    log_p: Tensor, target: Tensor, valid: Tensor, weights: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor, Tensor]:
    ce = F.nll_loss(log_p, target, reduction="none", ignore_index=ignore_index)  # (N, *spatial)
    if weights is None:
        return ce, ce, valid.to(ce.dtype)
    class_weight = weights[torch.where(valid, target, 0)] * valid  # an ignore_index is never used as an index
    return ce, ce * class_weight, class_weight


def _soft_values(log_p: Tensor, soft: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    terms = torch.where(soft != 0, -soft * log_p, 0.0)  # 0 x log 0 is 0; (N, C, *spatial)
    ce = terms.sum(dim=1)  # (N, *spatial)
    if weights is None:
        return ce, ce, soft.sum(dim=1)
    per_class = _per_class(weights, log_p)
    return ce, (terms * per_class).sum(dim=1), (soft * per_class).sum(dim=1)


def _per_class(weights: Tensor, like: Tensor) -> Tensor:
    return weights.view(-1, *[1] * (like.ndim - 2))  # (C,) -> (C, 1, ..., 1)


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


def _check_inputs(logits: Tensor, target: Tensor) -> None:
    if not logits.is_floating_point() or logits.ndim < 2:
        raise ValueError(f"logits must be floating point (N, C, ...), got {logits.dtype} {_shape(logits)}")
    if target.is_floating_point():
        if target.ndim != logits.ndim or target.shape[:2] != logits.shape[:2]:
            raise ValueError(
                f"a floating-point target means soft labels (N, C, ...), but it has shape {_shape(target)} and "
                f"the logits {_shape(logits)}; class ids must be integers: target.long()"
            )
    elif target.dtype not in LABEL_DTYPES:
        raise ValueError(
            f"target must be integer class ids or floating-point soft labels, got {target.dtype}"
        )
    elif target.ndim == logits.ndim and target.shape[1] == 1:
        raise ValueError(
            f"target has a channel dimension: {_shape(target)}; class ids are (N, ...): target.squeeze(1)"
        )
    elif target.ndim != logits.ndim - 1 or target.shape[0] != logits.shape[0]:
        raise ValueError(
            f"target has shape {_shape(target)} but logits {_shape(logits)} need class ids of shape "
            f"({logits.shape[0]}{', ...' * (logits.ndim > 2)}) with {logits.ndim - 1} dimensions"
        )
    if logits.numel() == 0 or target.numel() == 0:
        raise ValueError(f"nothing to compute: logits {_shape(logits)}, target {_shape(target)}")


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


def _check_class_weights(class_weights: Sequence[float], num_classes: int) -> Tensor:
    if isinstance(class_weights, str):
        raise ValueError(
            f"class_weights must be a list of {num_classes} numbers, one per class, got {class_weights!r}"
        )
    if len(class_weights) != num_classes:
        raise ValueError(f"class_weights has {len(class_weights)} values but there are {num_classes} classes")
    weights = torch.tensor([float(weight) for weight in class_weights])
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError(f"class_weights must be finite numbers >= 0, got {list(class_weights)}")
    return weights


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
