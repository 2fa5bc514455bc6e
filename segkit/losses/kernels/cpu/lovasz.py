"""The compiled Lovasz extension as an operation with a gradient; see `loops.lovasz`."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from segkit.losses.kernels.cpu.call import CPU, Call
from segkit.losses.kernels.cpu.compiled import lovasz_kernels
from segkit.losses.kernels.cpu.cross_entropy import CACHES, LOGITS_KINDS, choose_width
from segkit.losses.kernels.cpu.loops.lovasz.order import BYTES_PER_PIXEL, MORE_BYTES
from segkit.losses.kernels.cpu.loops.lovasz.pixels import LINES
from segkit.losses.kernels.cpu.loops.lovasz.slots import Slot
from segkit.losses.kernels.cpu.loops.same_size import PADDING

#: Blocks of a task.
BATCH = 16
#: A pixel of a class costs about as much here as so many logits in the kernels.
LOGITS_PER_PIXEL = 8


class FusedLovasz(NamedTuple):
    """`losses` (C,) fp32 with gradient, and whether the classes are `present` (C,). `ce`, `wrong` and `valid` have the
    target's shape. `n_broken`: how many valid pixels have a label that is no class."""

    losses: Tensor
    present: Tensor
    ce: Tensor
    wrong: Tensor
    valid: Tensor
    n_broken: int


def fused_lovasz(
    logits: Tensor, target: Tensor, mass: Tensor | None, *, ignore_index: int, absent: bool
) -> FusedLovasz:
    """The Lovasz extension of 1 - IoU at |y - p| of logits (N, C, *spatial), fp32, bf16 or fp16, for a target
    (N, *spatial) of class ids and whole masses like it, int64 and 0 at ignored pixels, or 1.

    p = softmax(logits), y one-hot. Classes whose true pixels have no mass have a loss of 0 unless they are asked for
    by `absent`. Once differentiable. A label that is no class counts as ignored here.
    """
    if logits.ndim == 2:  # each an image of one pixel: taken for one image
        logits, ids = logits.t().unsqueeze(0), target.unsqueeze(0)
    else:
        logits, ids = logits.flatten(2), target.flatten(1)
    mass = None if mass is None else mass.reshape(ids.shape).contiguous()
    broken: list[int] = []
    losses, present, *parts = _Lovasz.apply(logits, ids.contiguous(), mass, ignore_index, absent, broken)
    ce, wrong, valid = (part.view(target.shape) for part in parts)
    return FusedLovasz(losses, present, ce, wrong, valid, broken[0])


class _Lovasz(torch.autograd.Function):
    """Logits (N, C, P), class ids (N, P) and masses (N, P)."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        mass: Tensor | None,
        ignore_index: int,
        absent: bool,
        broken: list[int],
    ) -> tuple[Tensor, ...]:
        ctx.dtype, ctx.channels_last = logits.dtype, logits.stride(2) != 1 and logits.stride(1) == 1
        logits = logits.detach().float().contiguous()
        images, classes, pixels = logits.shape
        width = choose_width(2 * classes, pixels)
        blocks = images * -(-pixels // width)
        tasks = -(-blocks // BATCH)
        call = Call(
            Slot, logits.numel(), IMAGES=images, CLASSES=classes, PIXELS=pixels, WIDTH=width, BLOCKS=blocks,
            BATCH=BATCH, ABSENT=absent,
        )  # fmt: skip
        call.set_target(target, ignore_index)
        label = torch.empty(target.shape, dtype=torch.int32, device=CPU)
        largest, log_sum, ce = (torch.empty(target.shape, dtype=torch.float32, device=CPU) for _ in range(3))
        wrong, valid = (torch.empty(target.shape, dtype=torch.bool, device=CPU) for _ in range(2))
        n_broken = torch.empty(tasks, dtype=torch.int64, device=CPU)
        whole = torch.empty(tasks, classes, dtype=torch.int64, device=CPU)
        least = torch.empty(tasks, classes, dtype=torch.int32, device=CPU)
        call.place(
            LOGITS=logits, LABEL=label, LARGEST=largest, LOG_SUM=log_sum, CE=ce, WRONG=wrong, VALID=valid
        )
        call.place(N_BROKEN=n_broken, WHOLE=whole, LEAST=least)
        call.set(MASS=0 if mass is None else mass.data_ptr())
        call.run(lovasz_kernels().read, buffer=4 * LINES * width)
        broken.append(int(n_broken.sum()))

        whole, least = whole.sum(dim=0), least.amin(dim=0)
        loss = torch.empty(classes, dtype=torch.float64, device=CPU)
        slope = torch.empty(classes, images, pixels, dtype=torch.float32, device=CPU)
        call.place(WHOLE=whole, LEAST=least, LOSS=loss, SLOPE=slope)
        call.work = LOGITS_PER_PIXEL * logits.numel()
        threads = call.threads
        call.threads = min(threads, classes)  # each has a buffer of the size of all pixels
        call.run(lovasz_kernels().walk, buffer=BYTES_PER_PIXEL * target.numel() + 64 + MORE_BYTES)
        call.threads = threads
        if ce.sum().isnan():
            loss.fill_(torch.nan)
        ctx.call = call
        ctx.save_for_backward(logits, label, largest, log_sum, slope, whole)
        present = whole > 0
        ctx.mark_non_differentiable(present, ce, wrong, valid)
        ctx.set_materialize_grads(False)
        return loss.float(), present, ce, wrong, valid

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("lovasz by numba has no second derivative")
        logits, label, largest, log_sum, slope, whole = ctx.saved_tensors
        call: Call = ctx.call
        given = gradients[0]
        if given is None:
            return (None,) * 6
        given = given.float()
        if not call.numbers[Slot.ABSENT]:  # which have no slopes
            given = torch.where(whole > 0, given, 0)
        given = given.contiguous()
        images, classes, pixels = logits.shape
        sizes = (images, pixels, classes) if ctx.channels_last else (images, classes, pixels)
        result = torch.empty(sizes, dtype=ctx.dtype, device=CPU)
        result = result.transpose(1, 2) if ctx.channels_last else result
        image_step, class_step, pixel_step = (step * result.itemsize for step in result.stride())
        call.place(LOGITS=logits, LABEL=label, LARGEST=largest, LOG_SUM=log_sum, SLOPE=slope, GIVEN=given)
        call.set(
            GRADIENT=result.data_ptr(), IMAGE_STEP=image_step, CLASS_STEP=class_step, PIXEL_STEP=pixel_step,
            KIND=LOGITS_KINDS[ctx.dtype], CHANNELS_LAST=ctx.channels_last, PAST_CACHES=result.nbytes > CACHES,
        )  # fmt: skip
        call.work = logits.numel()
        width = int(call.numbers[Slot.WIDTH])
        block = 4 * classes * (width + PADDING)
        call.run(lovasz_kernels().write_back, given, buffer=4 * LINES * width + 2 * block)
        return result, *[None] * 5
