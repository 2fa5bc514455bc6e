"""Windows of neighbouring cells: pooling that counts valid pixels alone, and how the cells of a window covary.

In fp32 on a CPU all of it is left to compiled loops where numba is installed; they agree with what is here up to
rounding.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.losses.kernels.choice import numba_compiles

#: From so many numbers on compiled loops are taken; see `WORTH_COMPILING` of the losses.
WORTH_COMPILING = 2**18
#: How many numbers of windows are held at a time, on a CPU, where they should stay in its cache, and elsewhere.
HELD = {"cpu": 2**19, "other": 2**25}


def pool_mass(mass: Tensor, pool: int) -> Tensor:
    """Masses of pixels (N, H, W) -> of cells of `pool` x `pool` pixels (N, h, w), as a share of `pool`^2.

    The cells start in the upper left corner; those at the other ends of the image may have fewer pixels, and what is
    outside the image weighs as little as an ignored pixel.
    """
    return _pool(mass.unsqueeze(1), pool).squeeze(1)


def pool_labels(target: Tensor, mass: Tensor, cells: Tensor, num_classes: int, pool: int) -> Tensor:
    """Mean label of each cell by mass (N, C, h, w), of ids (N, H, W) or soft labels (N, C, H, W); no gradient.

    `cells` are the masses of the cells; a cell without mass gets 0.
    """
    if not target.is_floating_point() and _take_compiled(mass, num_classes * mass.numel()):
        from segkit.losses.kernels.cpu.windows import fused_pool_labels  # imports numba

        return fused_pool_labels(target, mass, num_classes, pool) / _or_1(cells).unsqueeze(1)
    pooled = []
    for labels, weight in zip(target, mass, strict=True):  # one image at a time, for memory
        if labels.ndim == 2:
            ids = torch.arange(num_classes, device=labels.device).view(-1, 1, 1)
            labels = labels == ids  # (H, W) -> (C, H, W)
        pooled.append(_pool(_weigh(labels.to(mass.dtype), weight).unsqueeze(0), pool))
    return torch.cat(pooled) / _or_1(cells).unsqueeze(1)


def pool_probabilities(log_p: Tensor, mass: Tensor, cells: Tensor, pool: int) -> Tensor:
    """Mean of exp(log_p) of each cell by mass, (N, C, H, W) -> (N, C, h, w). What is at ignored pixels does not
    matter."""
    if _take_compiled(log_p, log_p.numel()):
        from segkit.losses.kernels.cpu.windows import fused_pool_exp  # imports numba

        pooled: Any = fused_pool_exp(log_p, mass, pool)
    else:
        pooled = _PooledExp.apply(log_p, mass, pool)
    return pooled / _or_1(cells).unsqueeze(1)


@torch.no_grad()
def weigh_windows(cells: Tensor, radius: int) -> Tensor:
    """Masses of cells (N, h, w) -> of windows of `radius` x `radius` cells (N, h - radius + 1, w - radius + 1): their
    mean, and 0 if one of the cells has no mass."""
    cells = cells.unsqueeze(1)
    complete = F.avg_pool2d((cells > 0).to(cells.dtype), radius, stride=1) > 1 - 0.5 / radius**2
    return torch.where(complete, F.avg_pool2d(cells, radius, stride=1), 0.0).squeeze(1)


def window_covariances(y: Tensor, x: Tensor, weight: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over the windows of weight x the products of what their cells deviate from the mean, in fp64.

    `y` and `x` (N, C, h, w), `weight` of the windows (N, h', w') -> of each image and class, with d = radius^2 cells in
    a window: y with y, y with x and x with x, (N, C, d, d) each. Only `x` has a gradient. Windows are laid out for a
    few classes at a time, forward and backward, so that the d-fold tensors never exist.
    """
    d = radius**2
    if _take_compiled(x, d * x.numel()):
        from segkit.losses.kernels.cpu.windows import fused_products  # imports numba

        products: Any = fused_products(x, y, weight, radius)
    else:
        products = _WindowProducts.apply(x, y, weight, radius)
    return products[..., :d, :d], products[..., :d, d:], products[..., d:, d:]


class _PooledExp(torch.autograd.Function):
    """Sums of mass x exp(log_p) over the pixels of each cell, per pool^2. It keeps nothing that others do not keep."""

    @staticmethod
    def forward(ctx: Any, log_p: Tensor, mass: Tensor, pool: int) -> Tensor:
        ctx.save_for_backward(log_p, mass)
        ctx.pool = pool
        images = zip(log_p, mass, strict=True)
        return torch.cat([_pool(_weigh(each.exp(), weight).unsqueeze(0), pool) for each, weight in images])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("rmi has no second derivative")
        log_p, mass = ctx.saved_tensors
        height, width = log_p.shape[2:]
        slope = torch.empty_like(log_p)
        for n, gradient in enumerate(gradients[0] / ctx.pool**2):
            wide = gradient.repeat_interleave(ctx.pool, dim=-1)[..., :width]
            whole = wide.repeat_interleave(ctx.pool, dim=-2)[..., :height, :]  # (C, h, w) -> (C, H, W)
            slope[n] = _weigh(log_p[n].exp(), mass[n]) * whole
        return slope, None, None


class _WindowProducts(torch.autograd.Function):
    """Sums over windows of weight x (z - mean)(z - mean)^T, z the cells of y and then those of x: (N, C, 2d, 2d)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weight: Tensor, radius: int) -> Tensor:
        ctx.save_for_backward(x, y, weight)
        ctx.radius = radius
        images = []
        for n in range(len(x)):
            parts = [
                (z * u) @ z.transpose(1, 2)
                for z, u in (_centred(y[n, c], x[n, c], weight[n], radius) for c in _chunks(x, radius))
            ]
            images.append(torch.cat(parts))
        return torch.stack(images)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("rmi has no second derivative")
        x, y, weight = ctx.saved_tensors
        radius, d = ctx.radius, ctx.radius**2
        height, width = weight.shape[1:]
        slope = torch.empty_like(x)
        # The mean moves too, but what deviates from it sums to 0.
        both = (gradients[0] + gradients[0].transpose(-2, -1))[..., d:, :]  # (N, C, d, 2d)
        for n in range(len(x)):
            for c in _chunks(x, radius):
                z, u = _centred(y[n, c], x[n, c], weight[n], radius)
                of_windows = ((both[n, c] @ z) * u).unflatten(2, (height, width))  # (K, d, h', w')
                of_cells = of_windows.new_zeros(x[n, c].shape)
                for (row, column), each in zip(_offsets(radius), of_windows.unbind(1), strict=True):
                    of_cells[:, row : row + height, column : column + width] += each
                slope[n, c] = of_cells
        return slope, None, None, None


def _take_compiled(values: Tensor, numbers: int) -> bool:
    """Whether so many numbers like `values` are left to compiled loops."""
    return numbers >= WORTH_COMPILING and numba_compiles(values, "window_kernels", "sums over windows")


def _centred(y: Tensor, x: Tensor, weight: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Windows (K, 2d, P) of y and x (K, h, w), less their mean by weight, and the weights (P,); in fp64."""
    # MPS has only fp32.
    double = torch.float32 if x.device.type == "mps" else torch.float64
    height, width = weight.shape
    cells = [
        each[:, row : row + height, column : column + width]
        for each in (y, x)
        for row, column in _offsets(radius)
    ]
    z = torch.stack(cells, dim=1).flatten(2).to(double)  # (K, h, w) -> (K, 2d, P)
    u = weight.flatten().to(double)
    return z.sub_(((z @ u) / _or_1(u.sum())).unsqueeze(2)), u


def _chunks(x: Tensor, radius: int) -> list[slice]:
    """Classes that are laid out together."""
    size = HELD["cpu" if x.device.type == "cpu" else "other"]
    step = max(1, size // (2 * radius**2 * x.shape[2] * x.shape[3]))
    return [slice(start, start + step) for start in range(0, x.shape[1], step)]


def _offsets(radius: int) -> list[tuple[int, int]]:
    return [(row, column) for row in range(radius) for column in range(radius)]


def _pool(pixels: Tensor, pool: int) -> Tensor:
    """Sums over cells per pool^2: (N, K, H, W) -> (N, K, h, w)."""
    if pool == 1:
        return pixels
    return F.avg_pool2d(pixels, pool, ceil_mode=True, divisor_override=pool**2)


def _weigh(values: Tensor, mass: Tensor) -> Tensor:
    """values x mass, and 0 where there is no mass, whatever the value."""
    return torch.where(mass > 0, values * mass, 0.0)


def _or_1(mass: Tensor) -> Tensor:
    return torch.where(mass == 0, 1, mass)
