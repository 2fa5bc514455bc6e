"""Backend `reference`: resize, then log_softmax, at the target's size; what the other backends must equal."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.losses.kernels.labels import valid_pixels


def reference_cross_entropy(logits: Tensor, target: Tensor, *, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Cross-entropy (N, *spatial) and wrongly classified pixels (N, *spatial), in plain PyTorch.

    `logits` (N, C, *any), `target` class ids (N, *spatial); see `upsampled_cross_entropy`.
    """
    valid = valid_pixels(target, ignore_index)
    log_p = log_probabilities(logits, valid)
    return true_cross_entropy(log_p, target, ignore_index), wrong_pixels(log_p, target, valid)


def log_probabilities(logits: Tensor, valid: Tensor) -> Tensor:
    """log softmax of the logits (N, C, *any) at the size of `valid` (N, *spatial), in fp32 (fp64 of fp64 logits).

    The logits are converted first, and no operation used here is one that autocast lowers. Pixels that are not valid
    get exactly zero gradient, even where their logits are NaN.
    """
    logits = logits.float() if logits.dtype != torch.float64 else logits
    logits = resize(logits, valid.shape[1:])  # (N, C, *spatial)
    return F.log_softmax(_StopAtIgnored.apply(logits, valid), dim=1)


def true_cross_entropy(log_p: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """-log p of the true class (N, *spatial), 0 at ignored pixels."""
    return F.nll_loss(log_p, target.long(), reduction="none", ignore_index=ignore_index)


@torch.no_grad()
def wrong_pixels(log_p: Tensor, label: Tensor, valid: Tensor) -> Tensor:
    """(N, *spatial) bool: valid pixels of which another class is more probable than `label`."""
    label = torch.where(valid, label.long(), 0).unsqueeze(1)  # (N, *spatial) -> (N, 1, *spatial)
    return (log_p.amax(dim=1) > log_p.gather(1, label).squeeze(1)) & valid


def resize(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits (N, C, h, w) at the target's size (N, C, H, W). Raises ValueError if it is not in two dimensions."""
    if logits.shape[2:] == tuple(size):
        return logits
    if logits.ndim != 4:
        raise ValueError(
            f"logits {tuple(logits.shape)} and a target of spatial size {tuple(size)} differ: "
            "only two spatial dimensions are resized"
        )
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)


class _StopAtIgnored(torch.autograd.Function):
    """The logits unchanged; on the way back, zero at ignored pixels.

    Without it a NaN in the logits of an ignored pixel would give a finite loss and a NaN gradient, because
    the backward of log_softmax multiplies its output with the zero that comes in.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, valid: Tensor) -> Tensor:
        ctx.save_for_backward(valid)
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (valid,) = ctx.saved_tensors
        return gradients[0].masked_fill(~valid.unsqueeze(1), 0.0), None  # (N, *spatial) -> (N, 1, *spatial)
