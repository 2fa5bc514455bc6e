"""The compiled sums over cells and windows as operations with a gradient; see `loops.cells` and `loops.windows`."""

from typing import Any

import torch
from torch import Tensor

from segkit.losses.kernels.cpu.call import CPU, Call
from segkit.losses.kernels.cpu.compiled import window_kernels
from segkit.losses.kernels.cpu.loops.cells import Slot as CellSlot
from segkit.losses.kernels.cpu.loops.windows import Slot, buffer_of_windows

#: Windows that are laid out together, at least, where so many are in the image.
LAID_OUT = 256
#: A window costs about as much for each of its cells as so many logits in the kernels.
LOGITS_PER_CELL = 8


def fused_pool_labels(labels: Tensor, mass: Tensor, num_classes: int, pool: int) -> Tensor:
    """Sums over cells per pool^2 (N, C, h, w) of the masses (N, H, W) fp32 of each class, of class ids int64."""
    labels, mass = labels.contiguous(), mass.contiguous()
    size = (len(mass), num_classes, *mass.shape[1:])
    call, pooled = _make_call(size, pool, mass, work=labels.numel())
    call.set(LABELS=labels.data_ptr(), POOLED=pooled.data_ptr())
    call.run(window_kernels().pool_labels)
    return pooled


def fused_pool_exp(log_p: Tensor, mass: Tensor, pool: int) -> Tensor:
    """Sums over cells per pool^2 (N, C, h, w) of mass x exp(log_p), fp32 (N, H, W) and (N, C, H, W), log_p <= 0."""
    return _PooledExp.apply(log_p, mass, pool)


def fused_products(x: Tensor, y: Tensor, weight: Tensor, radius: int) -> Tensor:
    """Sums over windows of weight x (z - mean)(z - mean)^T, z the cells of y and then those of x: fp64
    (N, C, 2d, 2d), of fp32 (N, C, h, w) and (N, h', w'). Gradient to x alone."""
    return _WindowProducts.apply(x, y, weight, radius)


class _PooledExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, log_p: Tensor, mass: Tensor, pool: int) -> Tensor:
        log_p, mass = log_p.detach().contiguous(), mass.contiguous()
        ctx.save_for_backward(log_p, mass)
        ctx.pool = pool
        call, pooled = _make_call(log_p.shape, pool, mass, work=log_p.numel())
        call.set(LOG_P=log_p.data_ptr(), POOLED=pooled.data_ptr())
        call.run(window_kernels().pool_exp, buffer=4 * log_p.shape[3])
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        _refuse_second()
        log_p, mass = ctx.saved_tensors
        slope, result = (gradients[0] / ctx.pool**2).contiguous(), torch.empty_like(log_p)
        call, _ = _make_call(log_p.shape, ctx.pool, mass, work=log_p.numel())
        call.set(LOG_P=log_p.data_ptr(), SLOPE=slope.data_ptr(), GRADIENT=result.data_ptr())
        call.run(window_kernels().pool_exp_backward, buffer=4 * log_p.shape[3])
        return result, None, None


class _WindowProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weight: Tensor, radius: int) -> Tensor:
        x, y, weight = (each.detach().contiguous() for each in (x, y, weight))
        ctx.save_for_backward(x, y, weight)
        ctx.radius = radius
        cells = 2 * radius**2
        products = torch.empty(*x.shape[:2], cells, cells, dtype=torch.float64, device=CPU)
        call, buffer = _call_of_windows(x, y, weight, radius)
        call.set(PRODUCTS=products.data_ptr())
        call.run(window_kernels().multiply, buffer=buffer)
        return products

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        _refuse_second()
        x, y, weight = ctx.saved_tensors
        both = (gradients[0] + gradients[0].transpose(-2, -1))[..., ctx.radius**2 :, :].contiguous()
        result = torch.empty_like(x)
        call, buffer = _call_of_windows(x, y, weight, ctx.radius)
        call.set(FACTORS=both.data_ptr(), GRADIENT=result.data_ptr())
        call.run(window_kernels().multiply_backward, buffer=buffer)
        return result, None, None, None


def _make_call(size: tuple[int, ...], pool: int, mass: Tensor, *, work: int) -> tuple[Call, Tensor]:
    """Of pixels (N, C, H, W), and what is to hold the sums of their cells."""
    images, classes, rows, columns = size
    pooled = torch.empty(
        images, classes, -(-rows // pool), -(-columns // pool), device=CPU, dtype=torch.float32
    )
    call = Call(CellSlot, work, IMAGES=images, CLASSES=classes, ROWS=rows, COLUMNS=columns, POOL=pool)
    call.set(CELL_ROWS=pooled.shape[2], CELL_COLUMNS=pooled.shape[3], MASS=mass.data_ptr())
    return call, pooled


def _call_of_windows(x: Tensor, y: Tensor, weight: Tensor, radius: int) -> tuple[Call, int]:
    """And the bytes that each thread needs."""
    images, classes, rows, columns = x.shape
    lines = min(weight.shape[1], -(-LAID_OUT // weight.shape[2]))
    call = Call(Slot, LOGITS_PER_CELL * radius**2 * x.numel(), IMAGES=images, CLASSES=classes, RADIUS=radius)
    call.set(CELL_ROWS=rows, CELL_COLUMNS=columns, LINES=lines)
    call.set(X=x.data_ptr(), Y=y.data_ptr(), WEIGHT=weight.data_ptr())
    return call, buffer_of_windows(radius, rows, columns, lines)


def _refuse_second() -> None:
    if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
        raise RuntimeError("rmi has no second derivative")
