"""The compiled soft skeletons as an operation with a gradient; see `loops.skeleton`."""

from typing import Any

import torch
from torch import Tensor

from segkit.losses.kernels.cpu.call import CPU, Call
from segkit.losses.kernels.cpu.compiled import skeleton_kernels
from segkit.losses.kernels.cpu.loops.skeleton import Slot, backward_buffer, forward_buffer

#: Rows of a task, at least; and at least so many times the rows around it that are computed again.
BAND = 64
LARGER = 4
#: A number costs about as much here as so many logits in the kernels.
LOGITS_PER_NUMBER = 16


def fused_skeleton(region: Tensor, inside: Tensor, iterations: int) -> Tensor:
    """`common.skeleton.soft_skeleton` of fp32 images (N, C, H, W) on a CPU, to the bit. Differentiable once; only the
    region is kept for it."""
    return _Skeleton.apply(region, inside, iterations)


class _Skeleton(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, region: Tensor, inside: Tensor, iterations: int) -> Tensor:
        region, inside = region.detach().contiguous(), inside.contiguous()
        ctx.iterations = iterations
        ctx.save_for_backward(region, inside)
        call = _make_call(region, inside, iterations)
        skeleton = torch.empty(region.shape, dtype=torch.float32, device=CPU)
        call.set(SKELETON=skeleton.data_ptr())
        rows, columns = region.shape[2:]
        buffer = forward_buffer(rows, columns, choose_band(iterations), iterations)
        call.run(skeleton_kernels().forward, buffer=buffer)
        return skeleton

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("cldice has no second derivative")
        region, inside = ctx.saved_tensors
        call = _make_call(region, inside, ctx.iterations)
        slope = gradients[0].contiguous()
        result = torch.empty(region.shape, dtype=torch.float32, device=CPU)
        call.set(SLOPE=slope.data_ptr(), GRADIENT=result.data_ptr())
        rows, columns = region.shape[2:]
        buffer = backward_buffer(rows, columns, choose_band(ctx.iterations), ctx.iterations)
        call.run(skeleton_kernels().backward, buffer=buffer)
        return result, None, None


def _make_call(region: Tensor, inside: Tensor, iterations: int) -> Call:
    images, classes, rows, columns = region.shape
    call = Call(Slot, LOGITS_PER_NUMBER * region.numel(), IMAGES=images, CLASSES=classes, ROWS=rows)
    call.set(COLUMNS=columns, BAND=choose_band(iterations), ITERATIONS=iterations)
    call.set(REGION=region.data_ptr(), INSIDE=inside.data_ptr())
    return call


def choose_band(iterations: int) -> int:
    """Rows of a task."""
    return max(BAND, LARGER * (iterations + 2))
