"""The compiled kernels of cross-entropy as an operation with a gradient."""

from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segkit.losses.kernels.cpu.call import CPU, Call
from segkit.losses.kernels.cpu.compiled import resized_kernels, same_size_kernels
from segkit.losses.kernels.cpu.criteria import Criterion
from segkit.losses.kernels.cpu.geometry import find_geometry
from segkit.losses.kernels.cpu.loops.criteria.slots import NEAR, WIDEST
from segkit.losses.kernels.cpu.loops.resized import LINES
from segkit.losses.kernels.cpu.loops.resized import Slot as ResizedSlot
from segkit.losses.kernels.cpu.loops.same_size import PADDING, ROWS, Slot
from segkit.losses.kernels.cpu.loops.transpose import BFLOAT16, FLOAT16, FLOAT32

#: Codes of the dtypes of logits in the kernels.
LOGITS_KINDS = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16, torch.float16: FLOAT16}

#: Bytes of a thread's block of fp32 logits, which should stay in a cache of its own, and how many pixels it has.
BLOCK_BYTES = 256 * 2**10
LARGEST_BLOCK = WIDEST
SMALLEST_BLOCK = 64
#: Blocks that a thread takes at once, at most; it fetches the next while it computes one.
LARGEST_BATCH = 8
#: A gradient of more bytes is written past the caches, which the next operation would not find it in anyway.
CACHES = 32 * 2**20


class FusedCrossEntropy(NamedTuple):
    """`ce`, `wrong` and `valid`, each of the target's shape; how many valid pixels have a label that is no class."""

    ce: Tensor
    wrong: Tensor
    valid: Tensor
    n_broken: int


def fused_cross_entropy(logits: Tensor, target: Tensor, *, ignore_index: int) -> FusedCrossEntropy:
    """Cross-entropy of logits (N, C, *any), fp32, bf16 or fp16, resized to the target (N, *spatial) of class ids.

    See `upsampled_cross_entropy`. A label that is no class counts as ignored here. Differentiable once.
    """
    broken: list[int] = []
    ce, wrong, valid = _compute(logits, target, ignore_index, broken, None)
    return FusedCrossEntropy(ce, wrong, valid, broken[0])


def fused_criterion(
    logits: Tensor, target: Tensor, criterion: Criterion, *, ignore_index: int
) -> tuple[Tensor, FusedCrossEntropy]:
    """The value of each pixel by a criterion, and cross-entropy as above, but without a gradient."""
    broken: list[int] = []
    value, ce, wrong, valid = _compute(logits, target, ignore_index, broken, criterion)
    return value, FusedCrossEntropy(ce, wrong, valid, broken[0])


def _compute(
    logits: Tensor, target: Tensor, ignore_index: int, broken: list[int], criterion: Criterion | None
) -> list[Tensor]:
    more = ignore_index, broken, criterion
    if logits.shape[2:] != target.shape[1:]:
        parts = _Resized.apply(logits, target, *more)
    elif (
        logits.ndim == 2
    ):  # each an image of one pixel: taken for one image with the pixels' channels side by side
        parts = _SameSize.apply(logits.t().unsqueeze(0), target.unsqueeze(0), *more)
    else:
        parts = _SameSize.apply(logits.flatten(2), target.flatten(1), *more)
    return [part.view(target.shape) for part in parts]


class _SameSize(torch.autograd.Function):
    """Logits (N, C, P) and class ids (N, P)."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        ignore_index: int,
        broken: list[int],
        criterion: Criterion | None,
    ) -> tuple[Tensor, ...]:
        logits, target = logits.detach(), target.contiguous()
        if logits.stride(2) != 1 and logits.stride(1) != 1:
            logits = logits.contiguous()
        images, classes, pixels = logits.shape
        width = choose_width(classes, pixels)
        blocks = images * -(-pixels // width)
        call = _make_call(Slot, logits, target, ignore_index, WIDTH=width, BLOCKS=blocks, PIXELS=pixels)
        image_step, class_step, pixel_step = (step * logits.itemsize for step in logits.stride())
        call.set(
            IMAGE_STEP=image_step, CLASS_STEP=class_step, PIXEL_STEP=pixel_step, LOGITS=logits.data_ptr()
        )
        call.set(KIND=LOGITS_KINDS[logits.dtype], CHANNELS_LAST=logits.stride(2) != 1)
        planes = logits.stride(2) == 1
        call.set(NEXT_STEP=class_step if planes else 0, NEXT_BYTES=logits.itemsize if planes else 0)
        call.set(BATCH=max(1, min(LARGEST_BATCH, blocks // (8 * call.threads))))
        ctx.buffer = 4 * ROWS * width, 4 * classes * (width + PADDING)
        ctx.criterion = criterion
        return _run_forward(
            ctx, call, same_size_kernels().forward, (logits, target), blocks, sum(ctx.buffer), broken
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        call, logits, *_ = _restore(ctx)
        images, classes, pixels = logits.shape
        if logits.stride(2) != 1:
            result = torch.empty(images, pixels, classes, dtype=logits.dtype, device=CPU).transpose(1, 2)
        else:
            result = torch.empty(images, classes, pixels, dtype=logits.dtype, device=CPU)
        image_step, class_step, pixel_step = (step * result.itemsize for step in result.stride())
        call.set(
            GRADIENT_IMAGE_STEP=image_step, GRADIENT_CLASS_STEP=class_step, GRADIENT_PIXEL_STEP=pixel_step
        )
        slope = gradients[0].contiguous()
        call.set(LOGITS=logits.data_ptr(), GRADIENT=result.data_ptr(), SLOPE=slope.data_ptr())
        call.set(PAST_CACHES=result.nbytes > CACHES)
        rows, block = ctx.buffer
        call.run(same_size_kernels().backward, buffer=rows + 3 * block + NEAR)
        return result, None, None, None, None


class _Resized(torch.autograd.Function):
    """Logits (N, C, h, w) and class ids (N, H, W)."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        ignore_index: int,
        broken: list[int],
        criterion: Criterion | None,
    ) -> tuple[Tensor, ...]:
        logits, target = logits.detach(), target.contiguous()
        images, classes = logits.shape[:2]
        rows, columns = target.shape[1:]
        width = choose_width(3 * classes, columns)
        ctx.geometry = find_geometry(images, logits.shape[2:], target.shape[1:])
        call = _make_call(ResizedSlot, logits, target, ignore_index, WIDTH=width, ROWS=rows, COLUMNS=columns)
        call.set(**ctx.geometry.slots())
        held = _place_rows(call, logits)
        ctx.buffer = 4 * LINES * width, 4 * classes * (width + PADDING)
        buffer = ctx.buffer[0] + 3 * ctx.buffer[1]
        tasks = images * ctx.geometry.bands
        ctx.criterion = criterion
        result = _run_forward(
            ctx, call, resized_kernels().forward, (logits, target), tasks, buffer, broken, held
        )
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        call, logits, *_ = _restore(ctx)
        images, classes, old_rows, old_columns = logits.shape
        slope = gradients[0].contiguous()
        sums = torch.zeros(images, old_rows, classes, old_columns, dtype=torch.float32, device=CPU)
        bands = ctx.geometry.bands
        shared = torch.zeros(images, bands, classes, old_columns, dtype=torch.float32, device=CPU)
        call.set(GRADIENT=sums.data_ptr(), SHARED=shared.data_ptr(), SLOPE=slope.data_ptr())
        call.set(OLD_ROWS=old_rows, OLD_COLUMNS=old_columns)
        held = _place_rows(call, logits)
        rows, block = ctx.buffer
        call.run(resized_kernels().backward, held, buffer=rows + 6 * block + NEAR)
        sums.index_add_(1, ctx.geometry.first_rows, shared)  # no two bands have the same first row
        result = torch.empty_like(logits, memory_format=torch.preserve_format)
        return result.copy_(sums.transpose(1, 2)), None, None, None, None


def _place_rows(call: Call, logits: Tensor) -> Tensor:
    """The logits (N, C, h, w) in fp32 with the columns side by side; they are few beside the pixels."""
    rows = logits.float().contiguous()
    image_step, class_step, row_step, _ = (4 * step for step in rows.stride())
    call.set(LOGITS=rows.data_ptr(), IMAGE_STEP=image_step, CLASS_STEP=class_step, ROW_STEP=row_step)
    return rows


def _make_call(
    slots: type[IntEnum], logits: Tensor, target: Tensor, ignore_index: int, **values: int
) -> Call:
    images, classes = logits.shape[:2]
    call = Call(slots, target.numel() * classes, IMAGES=images, CLASSES=classes, **values)
    call.set_target(target, ignore_index)
    return call


def _run_forward(
    ctx: Any,
    call: Call,
    kernel: int,
    inputs: tuple[Tensor, Tensor],
    tasks: int,
    buffer: int,
    broken: list[int],
    *held: Tensor,
) -> tuple[Tensor, ...]:
    """ce, wrong and valid of a kernel that has so many tasks, before them the value of its criterion if it has one;
    `broken` gets the number of labels that are no class."""
    size = inputs[1].shape
    ce, log_sum = (torch.empty(size, dtype=torch.float32, device=CPU) for _ in range(2))
    wrong, valid = (torch.empty(size, dtype=torch.bool, device=CPU) for _ in range(2))
    n_broken = torch.empty(tasks, dtype=torch.int64, device=CPU)
    call.set(CE=ce.data_ptr(), LOG_SUM=log_sum.data_ptr(), N_BROKEN=n_broken.data_ptr())
    call.set(WRONG=wrong.data_ptr(), VALID=valid.data_ptr())
    criterion: Criterion | None = ctx.criterion
    values = []
    if criterion is not None:
        values = [torch.zeros(size, dtype=torch.float32, device=CPU)]
        criterion.complete(values[0], call)
        call.set(CRITERION=criterion.address)
    call.run(kernel, *held, buffer=buffer + NEAR)
    broken.append(int(n_broken.sum()))
    ctx.call = call
    ctx.save_for_backward(*inputs, log_sum, *values)
    ctx.mark_non_differentiable(wrong, valid, *([ce] if values else []))
    return *values, ce, wrong, valid


def _restore(ctx: Any) -> tuple[Call, Tensor, Tensor, Tensor]:
    if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
        raise RuntimeError("the numba cross-entropy has no second derivative -> backend: reference")
    logits, target, log_sum, *values = ctx.saved_tensors
    ctx.call.set(TARGET=target.data_ptr(), LOG_SUM=log_sum.data_ptr())
    if values:
        ctx.criterion.set(VALUE=values[0], TARGET=target)
    return ctx.call, logits, target, log_sum


def choose_width(classes: int, pixels: int) -> int:
    """Pixels of a block: a multiple of 16, as many as vectors have numbers."""
    width = min(LARGEST_BLOCK, max(SMALLEST_BLOCK, BLOCK_BYTES // (4 * classes)), pixels)
    return -(-width // 16) * 16
