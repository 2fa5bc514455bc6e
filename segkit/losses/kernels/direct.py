"""Backend `direct`: resize, then log_softmax, with the gradient in closed form; plain PyTorch, on any device.

The gradient of a pixel's cross-entropy is softmax - onehot, so that nothing but the log-probabilities has to be kept
for it, and one tensor of their size is all that backward makes: autograd keeps and makes several.
"""

import torch
from torch import Tensor

from segkit.losses.kernels.labels import valid_pixels
from segkit.losses.kernels.reference import resize


def direct_cross_entropy(logits: Tensor, target: Tensor, *, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Cross-entropy (N, *spatial) and wrongly classified pixels (N, *spatial) of logits (N, C, *any).

    `target` class ids (N, *spatial); see `upsampled_cross_entropy`. Differentiable once.
    """
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    if logits.shape[2:] != target.shape[1:]:
        logits = resize(logits.to(dtype), target.shape[1:])  # (N, C, *spatial)
    return _Direct.apply(logits, target, ignore_index, dtype)


class _Direct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, target: Tensor, ignore_index: int, dtype) -> tuple[Tensor, Tensor]:
        valid = valid_pixels(target, ignore_index).unsqueeze(1)  # (N, 1, *spatial)
        label = torch.where(valid, target.unsqueeze(1).long(), 0)
        log_p = torch.log_softmax(logits, dim=1, dtype=dtype)  # (N, C, *spatial)
        true, largest = log_p.gather(1, label), log_p.amax(dim=1, keepdim=True)  # (N, 1, *spatial)
        wrong = (largest > true) & valid
        ce = true.neg_().masked_fill_(~valid, 0.0)
        # Finding out costs a pass over the pixels, and clearing the gradient one over the classes too; on a GPU it
        # would make the host wait.
        ctx.may_be_nan = largest.device.type != "cpu" or bool(largest.isnan().any())
        ctx.dtype, ctx.ignore_index = logits.dtype, ignore_index
        ctx.save_for_backward(log_p, target)
        ctx.mark_non_differentiable(wrong.squeeze_(1))
        return ce.squeeze(1), wrong

    @staticmethod
    def backward(ctx, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("the direct cross-entropy has no second derivative -> backend: reference")
        log_p, target = ctx.saved_tensors
        valid = valid_pixels(target, ctx.ignore_index).unsqueeze(1)  # (N, 1, *spatial)
        label = torch.where(valid, target.unsqueeze(1).long(), 0)
        slope = gradient.unsqueeze(1).masked_fill(~valid, 0.0)
        true = log_p.gather(1, label).expm1_().mul_(slope)  # p - 1, without the cancellation
        result = log_p.exp().mul_(slope).scatter_(1, label, true)
        if ctx.may_be_nan:
            result.masked_fill_(~valid, 0.0)  # 0 x NaN
        return result.to(ctx.dtype), None, None, None
