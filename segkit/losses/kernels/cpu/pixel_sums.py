"""The compiled sums over pixels as operations on tensors; see `sums`."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from segkit.losses.kernels.cpu.call import CPU, Call
from segkit.losses.kernels.cpu.compiled import sum_kernels
from segkit.losses.kernels.cpu.loops.sums import TABLES, Slot, Sum

#: Pixels of a block, whose sum is one of fp64.
WIDTH = 4096
#: Pixels in these sums cost about as much as so many logits in the kernels.
LOGITS_PER_PIXEL = 4


class PixelSums(NamedTuple):
    """Over all pixels, in fp64 and without gradient: how many are valid, the sums of their value, of the factor and
    of the factor of wrong ones, and per class (C,); and the smallest value of which the factor is not 0."""

    valid: Tensor
    value: Tensor
    factor: Tensor
    wrong: Tensor
    per_class: Tensor
    smallest: Tensor


def sum_pixels(
    value: Tensor,
    factor: Tensor,
    wrong: Tensor,
    target: Tensor,
    *,
    ignore_index: int,
    num_classes: int,
    unit: int,
) -> PixelSums:
    """`value` and `factor` fp32, `wrong` bool and `target` class ids, all of one shape; per class the factors are
    rounded to whole parts of 1 / `unit` and summed as integers, in which they are given."""
    pixels = target.numel()
    blocks = -(-pixels // WIDTH)
    tensors = [tensor.contiguous() for tensor in (value, factor, wrong, target)]
    call = Call(Slot, LOGITS_PER_PIXEL * pixels, WIDTH=WIDTH, GROUPS=1, PIXELS=pixels, CLASSES=num_classes)
    call.set_target(tensors[3], ignore_index)
    sums = torch.empty(blocks, Sum.END, dtype=torch.float64, device=CPU)
    units = torch.zeros(call.threads * TABLES, num_classes, dtype=torch.int64, device=CPU)
    call.set(
        **dict(zip(("VALUE", "FACTOR", "WRONG"), (tensor.data_ptr() for tensor in tensors), strict=False))
    )
    call.set(SUMS=sums.data_ptr(), CLASS_UNITS=units.data_ptr(), UNIT=unit)
    call.run(sum_kernels().measure, buffer=8 * WIDTH)
    valid, summed, factors, wrongs = sums[:, : Sum.SMALLEST].sum(dim=0)
    return PixelSums(valid, summed, factors, wrongs, units.sum(dim=0), sums[:, Sum.SMALLEST].amin())


def count_classes(wrong: Tensor, target: Tensor, *, ignore_index: int, num_classes: int) -> Tensor:
    """How many valid pixels of each group have each class: int64 (G, 2 C), first those that are right and then those
    that are `wrong` (G, P) bool; `target` (G, P) class ids."""
    return torch.stack(
        [_count_group(*rows, ignore_index, num_classes) for rows in zip(wrong, target, strict=True)]
    )


def _count_group(wrong: Tensor, target: Tensor, ignore_index: int, num_classes: int) -> Tensor:
    wrong, target = wrong.contiguous(), target.contiguous()
    call = Call(Slot, LOGITS_PER_PIXEL * target.numel(), WIDTH=WIDTH, GROUPS=1, PIXELS=target.numel())
    call.set_target(target, ignore_index)
    counts = torch.zeros(call.threads * TABLES, 2 * num_classes, dtype=torch.int64, device=CPU)
    call.set(CLASSES=num_classes)
    call.place(WRONG=wrong, CLASS_UNITS=counts)
    call.run(sum_kernels().count_classes, buffer=8 * WIDTH)
    return counts.sum(dim=0)


def place_rates(rates: Tensor, target: Tensor, *, ignore_index: int) -> Tensor:
    """That of each pixel's class (G, P), 0 at ignored pixels: `rates` fp32 (G, C), `target` (G, P) class ids."""
    rates, target = rates.contiguous(), target.contiguous()
    groups, pixels = target.shape
    call = Call(Slot, LOGITS_PER_PIXEL * target.numel(), WIDTH=WIDTH, GROUPS=groups, PIXELS=pixels)
    call.set_target(target, ignore_index)
    placed = torch.empty(target.shape, dtype=torch.float32, device=CPU)
    call.set(CLASSES=rates.shape[1])
    call.place(RATES=rates, FACTOR=placed)
    call.run(sum_kernels().write_rates, buffer=4 * WIDTH)
    return placed


def sum_products(value: Tensor, factor: Tensor) -> Tensor:
    """The sum of value x factor, both fp32 (G, P), of each group (G,), with gradient to both."""
    return _SumProducts.apply(value, factor)


class _SumProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: Tensor) -> Tensor:
        value, factor = value.contiguous(), factor.contiguous()
        groups, pixels = value.shape
        blocks = -(-pixels // WIDTH)
        call = Call(Slot, LOGITS_PER_PIXEL * value.numel(), WIDTH=WIDTH, GROUPS=groups, PIXELS=pixels)
        sums = torch.empty(groups, blocks, dtype=torch.float64, device=CPU)
        call.set(VALUE=value.data_ptr(), FACTOR=factor.data_ptr(), SUMS=sums.data_ptr())
        call.run(sum_kernels().multiply)
        ctx.save_for_backward(factor, value if ctx.needs_input_grad[1] else None)
        return sums.sum(dim=1).to(value.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        factor, value = ctx.saved_tensors
        gradient = gradients[0].unsqueeze(1)  # (G,) -> (G, 1)
        return gradient * factor, None if value is None else gradient * value
