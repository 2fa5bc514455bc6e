"""Soft skeletons: the ridges of a soft region, found by eroding it step by step, as one differentiable operation.

E_0 is the region; E_(j+1) the smallest value of E_j at a pixel and beside it (above, below, left, right); O_j the
largest value of E_(j+1) in the square of 3x3 around a pixel; D_j = max(0, E_j - O_j) what opening E_j takes away. The
skeleton is S = 1 - prod_j (1 - D_j), j = 0 ... iterations: where a step finds a ridge, what the others found counts for
the rest. (Shit et al. 2021, clDice, write the same as a sum that is updated: S + max(0, D_j - S D_j).)

Pixels that are not `inside` are as the outside of the image: the smallest and the largest value are taken over the
others alone, so that nothing erodes from there and nothing grows from there.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from segkit.losses.kernels.choice import numba_compiles

#: From so many numbers on compiled loops are taken; see `WORTH_COMPILING` of the losses.
WORTH_COMPILING = 2**16


def soft_skeleton(region: Tensor, inside: Tensor, iterations: int) -> Tensor:
    """The skeleton (N, C, *spatial) of soft regions (N, C, *spatial) in [0, 1]; `inside` (N, 1, *spatial) is bool. It
    is 0 at pixels that are not inside, whose values have neither influence nor gradient.

    `iterations` erosions reach the middle of what is up to 2 x iterations + 1 pixels wide. Where neighbours tie for the
    smallest value they share its gradient equally, and so they do for the largest, first along one direction and then
    along the other: no order of pixels matters. Kept for the way back are two maps per iteration; with the compiled
    loops for fp32 images on a CPU, whose numbers are the same to the bit, the region alone.
    """
    enough = region.ndim == 4 and region.numel() >= WORTH_COMPILING
    if enough and numba_compiles(region, "skeleton_kernels", "soft skeletons"):
        from segkit.losses.kernels.cpu.skeleton import fused_skeleton  # imports numba

        return fused_skeleton(region, inside, iterations)
    return _SoftSkeleton.apply(region, inside, iterations)


class _SoftSkeleton(torch.autograd.Function):
    """Keeps E_j and the products of 1 - D_i before them; O_j is found again on the way back."""

    @staticmethod
    def forward(ctx: Any, region: Tensor, inside: Tensor, iterations: int) -> Tensor:
        outside = ~inside
        eroded, rest = [region.masked_fill(outside, torch.inf)], []
        for j in range(iterations + 1):
            eroded.append(erode(eroded[-1]).masked_fill_(outside, torch.inf))
            left = 1 - _ridge(eroded[-2], eroded[-1], outside)
            rest.append(left * rest[-1] if j else left)  # the product of 1 - D_i, i <= j
            if not ctx.needs_input_grad[0]:
                del eroded[:-1], rest[:-1]
        skeleton = 1 - rest.pop()
        ctx.save_for_backward(outside, *eroded, *rest)
        return skeleton

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("cldice has no second derivative")
        outside, *maps = ctx.saved_tensors
        eroded, rest = maps[: len(maps) // 2 + 1], maps[len(maps) // 2 + 1 :]  # E has two more
        onward = gradients[0].masked_fill(outside, 0)  # times the products of 1 - D_i, i > j
        smaller = torch.zeros_like(onward)  # the gradient at E_(j+1)
        for j in reversed(range(len(eroded) - 1)):
            taken = _ridge(eroded[j], eroded[j + 1], outside)
            others = onward * rest[j - 1] if j else onward
            slope = others.masked_fill(taken == 0, 0)  # at D_j, and so at E_j
            onward = onward * (1 - taken)
            smaller -= _dilate_backward(slope, eroded[j + 1].masked_fill(outside, -torch.inf))
            smaller = slope + _erode_backward(smaller, eroded[j], eroded[j + 1])
        return smaller.masked_fill_(outside, 0), None, None


def _ridge(eroded: Tensor, smaller: Tensor, outside: Tensor) -> Tensor:
    """D_j from E_j and E_(j+1)."""
    opened = dilate(smaller.masked_fill(outside, -torch.inf))
    return (eroded - opened).masked_fill_(outside, 0).clamp_min_(0)


def erode(values: Tensor) -> Tensor:
    """The smallest value of each pixel and those beside it, of (N, C, *spatial)."""
    smallest = values.clone()
    for here, there in _steps(values.ndim):
        smallest[here] = torch.minimum(smallest[here], values[there])
    return smallest


def dilate(values: Tensor) -> Tensor:
    """The largest value of the 3x3 pixels around each, of (N, C, *spatial)."""
    for dim in range(2, values.ndim):
        values = _largest_along(values, dim)
    return values


def _largest_along(values: Tensor, dim: int) -> Tensor:
    largest = values.clone()
    for here, there in _steps_along(dim):
        largest[here] = torch.maximum(largest[here], values[there])
    return largest


def _erode_backward(gradient: Tensor, values: Tensor, smallest: Tensor) -> Tensor:
    """The gradient at `values`, from that at their `smallest` ones."""
    return _share(gradient, values, smallest, list(_steps(values.ndim)))


def _dilate_backward(gradient: Tensor, values: Tensor) -> Tensor:
    """The gradient at `values`, from that at the result of `dilate`."""
    stages = [values]
    for dim in range(2, values.ndim):
        stages.append(_largest_along(stages[-1], dim))
    for dim in reversed(range(2, values.ndim)):
        largest = stages.pop()
        gradient = _share(gradient, stages[-1], largest, list(_steps_along(dim)))
    return gradient


def _share(gradient: Tensor, values: Tensor, chosen: Tensor, steps: list) -> Tensor:
    """Hand the gradient at `chosen` to the pixels that have that value, those of a pixel and its steps, equally."""
    ties = (values == chosen).to(gradient.dtype)
    for here, there in steps:
        ties[here] += values[there] == chosen[here]
    part = gradient / ties
    handed = torch.where(values == chosen, part, 0)
    for here, there in steps:
        handed[there] += torch.where(values[there] == chosen[here], part[here], 0)
    return handed


def _steps(ndim: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """For each neighbour beside a pixel: where the pixels are that have it, and where it is."""
    for dim in range(2, ndim):
        yield from _steps_along(dim)


def _steps_along(dim: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    before = (*[slice(None)] * dim, slice(None, -1))
    after = (*[slice(None)] * dim, slice(1, None))
    yield after, before
    yield before, after
