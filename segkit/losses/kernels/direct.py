"""Backend `direct`: resize, then softmax, with the gradient in closed form; plain PyTorch, on any device.

The gradient of a pixel's cross-entropy is softmax - onehot, so that nothing but the probabilities has to be kept for
it, and one tensor of their size is all that backward makes: autograd keeps and makes several.
"""

from typing import Any

import torch
from torch import Tensor

from segkit.losses.kernels.labels import Labels
from segkit.losses.kernels.reference import resize

#: From so many classes on, torch's softmax on a CPU takes longer than its log_softmax and exp together.
MANY_CLASSES = 32

#: Below this a probability is not what to take the logarithm of: fp32 has denormal numbers, then 0.
SMALLEST_P = 1e-30


def direct_cross_entropy(logits: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """Cross-entropy (N, *spatial) and wrongly classified pixels (N, *spatial) of logits (N, C, *any).

    See `upsampled_cross_entropy`. Differentiable once.
    """
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    size = labels.label.shape[1:]
    if logits.shape[2:] != size:
        logits = resize(logits.to(dtype), size)  # (N, C, *spatial)
    return _Direct.apply(logits, *labels, dtype)


class _Direct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, valid: Tensor, label: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        p, ce, wrong, ctx.may_be_nan = _compare(logits, label.unsqueeze(1), dtype)
        ce, wrong = ce.squeeze(1).masked_fill_(~valid, 0.0), wrong.squeeze(1) & valid
        ctx.dtype = logits.dtype
        ctx.save_for_backward(p, valid, label, ce)
        ctx.mark_non_differentiable(wrong)
        return ce, wrong

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("the direct cross-entropy has no second derivative -> backend: reference")
        p, *pixels = ctx.saved_tensors
        valid, label, ce = (pixel.unsqueeze(1) for pixel in pixels)  # (N, 1, *spatial)
        slope = gradients[0].unsqueeze(1).masked_fill(~valid, 0.0)
        true = torch.expm1(-ce).mul_(slope)  # p - 1, without the cancellation
        result = (p * slope).scatter_(1, label, true)
        if ctx.may_be_nan:
            result.masked_fill_(~valid, 0.0)  # 0 x NaN
        return result.to(ctx.dtype), None, None, None


def _compare(logits: Tensor, label: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, bool]:
    """p (N, C, *spatial), then ce of `label` and whether another class is more probable (N, 1, *spatial); and whether
    something in p may be NaN, which clearing takes a pass over the classes: a GPU is not made to wait for the answer.
    """
    on_cpu = logits.device.type == "cpu"
    if on_cpu and logits.shape[1] < MANY_CLASSES:
        return _compare_few_classes(logits, label, dtype)
    log_p = torch.log_softmax(logits, dim=1, dtype=dtype)
    true, largest = log_p.gather(1, label), log_p.amax(dim=1, keepdim=True)
    # None is above 0, so that a sum of them is NaN only if one of them is.
    may_be_nan = not on_cpu or bool(largest.sum().isnan())
    return log_p.exp_(), true.neg(), largest > true, may_be_nan


def _compare_few_classes(
    logits: Tensor, label: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, bool]:
    p = torch.softmax(logits, dim=1, dtype=dtype)
    true = p.gather(1, label)
    wrong = p.amax(dim=1, keepdim=True) > true
    rare = ~(true > SMALLEST_P)  # NaN too
    ce = true.log_().neg_()
    any_rare = bool(rare.any())
    if any_rare:  # only these anew, so that no pixel's cross-entropy depends on another pixel
        here = rare.squeeze(1)
        log_p = torch.log_softmax(logits.movedim(1, -1)[here], dim=1, dtype=dtype)  # (pixels, C)
        ce[rare] = -log_p.gather(1, label[rare].unsqueeze(1)).squeeze(1)
    return p, ce, wrong, any_rare
