"""The compiled sums over soft regions as an operation with a gradient; see `loops.soft_counts`."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from segkit.losses.kernels.cpu.call import CPU, Call
from segkit.losses.kernels.cpu.compiled import soft_count_kernels
from segkit.losses.kernels.cpu.cross_entropy import CACHES, LOGITS_KINDS, choose_width
from segkit.losses.kernels.cpu.loops.same_size import PADDING
from segkit.losses.kernels.cpu.loops.soft_counts import COUNTED, LINES, Slot

#: Blocks of a task.
BATCH = 16


class FusedCounts(NamedTuple):
    """`counts` (4, C) fp64: sum_V m p y, sum_V m p (1 - y), sum_V m (1 - p) y and sum_V m y. `ce`, `wrong`
    and `valid` have the target's shape. `n_broken`: how many valid pixels have a label that is no class."""

    counts: Tensor
    ce: Tensor
    wrong: Tensor
    valid: Tensor
    n_broken: int


def fused_counts(logits: Tensor, target: Tensor, mass: Tensor | None, *, ignore_index: int) -> FusedCounts:
    """Of logits (N, C, *spatial), fp32, bf16 or fp16, a target (N, *spatial) of class ids, and masses m like it or 1.

    p = softmax(logits), y one-hot. Gradient to the logits from the first three counts and from `ce`, once
    differentiable. A label that is no class counts as ignored here.
    """
    broken: list[int] = []
    if (
        logits.ndim == 2
    ):  # each an image of one pixel: taken for one image with the pixels' channels side by side
        logits, ids = logits.t().unsqueeze(0), target.unsqueeze(0)
    else:
        logits, ids = logits.flatten(2), target.flatten(1)
    mass = None if mass is None else mass.reshape(ids.shape)
    counts, *parts = _SoftCounts.apply(logits, ids, mass, ignore_index, broken)
    ce, wrong, valid = (part.view(target.shape) for part in parts)
    return FusedCounts(counts, ce, wrong, valid, broken[0])


class _SoftCounts(torch.autograd.Function):
    """Logits (N, C, P), class ids (N, P) and masses (N, P)."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, mass: Tensor | None, ignore_index: int, broken: list[int]
    ) -> tuple[Tensor, ...]:
        logits, target = logits.detach(), target.contiguous()
        mass = None if mass is None else mass.detach().float().contiguous()
        if logits.stride(2) != 1 and logits.stride(1) != 1:
            logits = logits.contiguous()
        images, classes, pixels = logits.shape
        width = choose_width(2 * classes, pixels)
        blocks = images * -(-pixels // width)
        tasks = -(-blocks // BATCH)
        call = Call(Slot, target.numel() * classes, CLASSES=classes, WIDTH=width, BLOCKS=blocks, BATCH=BATCH)
        call.set_target(target, ignore_index)
        image_step, class_step, pixel_step = (step * logits.itemsize for step in logits.stride())
        call.set(
            PIXELS=pixels, IMAGE_STEP=image_step, CLASS_STEP=class_step, PIXEL_STEP=pixel_step,
            KIND=LOGITS_KINDS[logits.dtype], CHANNELS_LAST=logits.stride(2) != 1, LOGITS=logits.data_ptr(),
            MASS=0 if mass is None else mass.data_ptr(),
        )  # fmt: skip
        ce, log_sum = (torch.empty(target.shape, dtype=torch.float32, device=CPU) for _ in range(2))
        wrong, valid = (torch.empty(target.shape, dtype=torch.bool, device=CPU) for _ in range(2))
        n_broken = torch.empty(tasks, dtype=torch.int64, device=CPU)
        counts = torch.zeros(tasks, COUNTED, classes, dtype=torch.float64, device=CPU)
        call.set(CE=ce.data_ptr(), LOG_SUM=log_sum.data_ptr(), WRONG=wrong.data_ptr(), VALID=valid.data_ptr())
        call.set(N_BROKEN=n_broken.data_ptr(), COUNTS=counts.data_ptr())
        ctx.buffer = 4 * LINES * width, 4 * classes * (width + PADDING)
        call.run(soft_count_kernels().forward, buffer=sum(ctx.buffer))
        broken.append(int(n_broken.sum()))
        ctx.call = call
        ctx.save_for_backward(logits, target, mass, log_sum)
        ctx.mark_non_differentiable(wrong, valid)
        ctx.set_materialize_grads(False)
        return counts.sum(dim=0), ce, wrong, valid

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("region losses by numba have no second derivative")
        logits, target, mass, log_sum = ctx.saved_tensors
        call: Call = ctx.call
        images, classes, pixels = logits.shape
        of_counts, of_ce = gradients[:2]
        if of_counts is None:
            slopes = torch.zeros(COUNTED - 1, classes, dtype=torch.float32, device=CPU)
        else:
            slopes = of_counts[: COUNTED - 1].float().contiguous()
        of_ce = None if of_ce is None else of_ce.contiguous()
        if logits.stride(2) != 1:
            result = torch.empty(images, pixels, classes, dtype=logits.dtype, device=CPU).transpose(1, 2)
        else:
            result = torch.empty(images, classes, pixels, dtype=logits.dtype, device=CPU)
        image_step, class_step, pixel_step = (step * result.itemsize for step in result.stride())
        call.set(
            GRADIENT_IMAGE_STEP=image_step, GRADIENT_CLASS_STEP=class_step, GRADIENT_PIXEL_STEP=pixel_step,
            LOGITS=logits.data_ptr(), TARGET=target.data_ptr(), LOG_SUM=log_sum.data_ptr(),
            MASS=0 if mass is None else mass.data_ptr(), SLOPES=slopes.data_ptr(), GRADIENT=result.data_ptr(),
            CE_SLOPE=0 if of_ce is None else of_ce.data_ptr(), PAST_CACHES=result.nbytes > CACHES,
        )  # fmt: skip
        rows, block = ctx.buffer
        call.run(soft_count_kernels().backward, buffer=rows + 3 * block)
        return result, None, None, None, None
