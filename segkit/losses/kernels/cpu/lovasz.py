"""The compiled Lovasz extension as an operation with a gradient; see `loops.lovasz`."""

from typing import Any

import torch
from torch import Tensor

from segkit.losses.kernels.cpu.call import CPU, Call
from segkit.losses.kernels.cpu.compiled import lovasz_kernel
from segkit.losses.kernels.cpu.loops.lovasz import BYTES_PER_PIXEL, COUNT_BYTES, Slot

#: A pixel of a class costs about as much here as so many logits in the kernels.
LOGITS_PER_PIXEL = 16


def lovasz_of_classes(p: Tensor, y: Tensor, mass: Tensor) -> Tensor:
    """The Lovasz extension (C,) of 1 - IoU at |y - p|, with gradient to the probabilities p (N, C, *spatial), fp32.

    `y` are labels of 0 and 1 like p, and `mass` (N, *spatial) int64 what the pixels weigh.
    """
    return _Lovasz.apply(p, y, mass)


class _Lovasz(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor, y: Tensor, mass: Tensor) -> Tensor:
        p, y, mass = p.detach().contiguous(), y.contiguous(), mass.contiguous()
        images, classes = p.shape[:2]
        slope = torch.empty_like(p)
        loss = torch.empty(classes, dtype=torch.float64, device=CPU)
        call = Call(
            Slot, LOGITS_PER_PIXEL * p.numel(), IMAGES=images, CLASSES=classes, PIXELS=p[0, 0].numel()
        )
        call.set(PREDICTED=p.data_ptr(), TRUE=y.data_ptr(), MASS=mass.data_ptr())
        call.set(LOSS=loss.data_ptr(), SLOPE=slope.data_ptr())
        call.threads = min(call.threads, classes)  # each has a buffer of the size of all pixels
        call.run(lovasz_kernel(), buffer=BYTES_PER_PIXEL * mass.numel() + COUNT_BYTES)
        ctx.save_for_backward(slope)
        return loss.to(p.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("lovasz by numba has no second derivative")
        (slope,) = ctx.saved_tensors
        return slope * gradients[0].view(-1, *[1] * (slope.ndim - 2)), None, None
