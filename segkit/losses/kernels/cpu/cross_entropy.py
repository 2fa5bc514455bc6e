"""The compiled kernels as an operation with a gradient."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from segkit.losses.kernels.cpu.compiled import resized_kernels, same_size_kernels
from segkit.losses.kernels.cpu.geometry import find_geometry
from segkit.losses.kernels.cpu.resized import LINES
from segkit.losses.kernels.cpu.resized import Slot as ResizedSlot
from segkit.losses.kernels.cpu.same_size import PADDING, ROWS, Slot
from segkit.losses.kernels.cpu.threads import choose_threads, run_threads
from segkit.losses.kernels.cpu.transpose import BFLOAT16, FLOAT16, FLOAT32

#: Codes of dtypes in the kernels.
LOGITS_KINDS = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16, torch.float16: FLOAT16}
TARGET_KINDS = {torch.uint8: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3, torch.int64: 4}

#: Bytes of a thread's block of fp32 logits, which should stay in a cache of its own, and the pixels that it has at most.
BLOCK_BYTES = 256 * 2**10
LARGEST_BLOCK = 1024
SMALLEST_BLOCK = 64

#: No label: for an ignore_index that the target's dtype cannot hold.
NO_LABEL = -(2**62)


class FusedCrossEntropy(NamedTuple):
    """`ce`, `wrong` and `valid`, each of the target's shape, and how many valid pixels have a label that is no class."""

    ce: Tensor
    wrong: Tensor
    valid: Tensor
    n_broken: int


def fused_cross_entropy(logits: Tensor, target: Tensor, *, ignore_index: int) -> FusedCrossEntropy:
    """Cross-entropy of logits (N, C, *any), fp32, bf16 or fp16, resized to the target (N, *spatial) of class ids.

    See `upsampled_cross_entropy`. A label that is no class counts as ignored here. Differentiable once.
    """
    limits = torch.iinfo(target.dtype)
    ignored = ignore_index if limits.min <= ignore_index <= limits.max else NO_LABEL
    facts: list[int] = []
    if logits.shape[2:] != target.shape[1:]:
        ce, wrong, valid = _Resized.apply(logits, target, ignored, facts)
    elif (
        logits.ndim == 2
    ):  # each an image of one pixel: taken for one image with the pixels' channels side by side
        parts = _SameSize.apply(logits.t().unsqueeze(0), target.unsqueeze(0), ignored, facts)
        ce, wrong, valid = (part.view(target.shape) for part in parts)
    else:
        parts = _SameSize.apply(logits.flatten(2), target.flatten(1), ignored, facts)
        ce, wrong, valid = (part.view(target.shape) for part in parts)
    return FusedCrossEntropy(ce, wrong, valid, facts[0])


class _SameSize(torch.autograd.Function):
    """Logits (N, C, P) and class ids (N, P)."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, ignored: int, facts: list[int]
    ) -> tuple[Tensor, ...]:
        logits, target = logits.detach(), target.contiguous()
        if logits.stride(2) != 1 and logits.stride(1) != 1:
            logits = logits.contiguous()
        call = _Call(Slot, logits, target, ignored, choose_width(logits.shape[1], target.shape[1]))
        images, pixels = target.shape
        blocks = images * -(-pixels // call.width)
        image_step, class_step, pixel_step = (step * logits.itemsize for step in logits.stride())
        call.set(BLOCKS=blocks, PIXELS=pixels, KIND=LOGITS_KINDS[logits.dtype], LOGITS=logits.data_ptr())
        call.set(IMAGE_STEP=image_step, CLASS_STEP=class_step, PIXEL_STEP=pixel_step)
        call.set(CHANNELS_LAST=logits.stride(2) != 1)
        per_class = 4 * (call.width + PADDING)
        call.give_scratch(4 * ROWS * call.width + logits.shape[1] * per_class)
        ce, log_sum, wrong, valid = call.make_results(target, blocks)
        call.run(same_size_kernels().forward)
        return call.finish(ctx, ce, log_sum, wrong, valid, facts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        call, logits, target, log_sum = _restore(ctx)
        images, classes, pixels = logits.shape
        if logits.stride(2) != 1:
            result = torch.empty(images, pixels, classes, dtype=logits.dtype).transpose(1, 2)
        else:
            result = torch.empty(images, classes, pixels, dtype=logits.dtype)
        call.set(LOGITS=logits.data_ptr())
        slope = gradients[0].contiguous()
        names = ("GRADIENT_IMAGE_STEP", "GRADIENT_CLASS_STEP", "GRADIENT_PIXEL_STEP")
        steps = (step * result.itemsize for step in result.stride())
        call.set(GRADIENT=result.data_ptr(), SLOPE=slope.data_ptr(), **dict(zip(names, steps, strict=True)))
        call.give_scratch(4 * ROWS * call.width + 2 * classes * 4 * (call.width + PADDING))
        call.run(same_size_kernels().backward)
        return result, None, None, None


class _Resized(torch.autograd.Function):
    """Logits (N, C, h, w) and class ids (N, H, W)."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, ignored: int, facts: list[int]
    ) -> tuple[Tensor, ...]:
        logits, target = logits.detach(), target.contiguous()
        images, classes = logits.shape[:2]
        geometry = find_geometry(images, logits.shape[2:], target.shape[1:])
        call = _Call(ResizedSlot, logits, target, ignored, choose_width(3 * classes, target.shape[2]))
        call.set(ROWS=target.shape[1], COLUMNS=target.shape[2], **geometry.slots())
        call.give_scratch(4 * LINES * call.width + 3 * classes * 4 * (call.width + PADDING))
        ce, log_sum, wrong, valid = call.make_results(target, images * geometry.bands)
        rows = _place_rows(call, logits)
        call.run(resized_kernels().forward, rows)
        ctx.geometry = geometry
        return call.finish(ctx, ce, log_sum, wrong, valid, facts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        call, logits, target, log_sum = _restore(ctx)
        images, classes, old_rows, old_columns = logits.shape
        slope = gradients[0].contiguous()
        sums = torch.zeros(images, old_rows, classes, old_columns)
        shared = torch.zeros(images, ctx.geometry.bands, classes, old_columns)
        call.set(GRADIENT=sums.data_ptr(), SHARED=shared.data_ptr(), SLOPE=slope.data_ptr())
        call.set(OLD_ROWS=old_rows, OLD_COLUMNS=old_columns)
        call.give_scratch(4 * LINES * call.width + 5 * classes * 4 * (call.width + PADDING))
        rows = _place_rows(call, logits)
        call.run(resized_kernels().backward, rows)
        sums.index_add_(1, ctx.geometry.first_rows, shared)  # no two bands have the same first row
        result = torch.empty_like(logits, memory_format=torch.preserve_format)
        return result.copy_(sums.transpose(1, 2)), None, None, None


def _place_rows(call: "_Call", logits: Tensor) -> Tensor:
    """The logits (N, C, h, w) with the columns side by side and in fp32, which are few beside those that they become."""
    rows = logits.float().contiguous()
    image_step, class_step, row_step, _ = rows.stride()
    call.set(
        LOGITS=rows.data_ptr(), IMAGE_STEP=4 * image_step, CLASS_STEP=4 * class_step, ROW_STEP=4 * row_step
    )
    return rows


class _Call:
    """The numbers of one call of a kernel, and what they point to."""

    def __init__(
        self, slots: type[Slot] | type[ResizedSlot], logits: Tensor, target: Tensor, ignored: int, width: int
    ):
        self.slots, self.width = slots, width
        self.numbers = np.zeros(slots.END, dtype=np.int64)
        self.threads = choose_threads(target.numel() * logits.shape[1])
        self.scratch = torch.empty(0)
        self.set(
            WIDTH=width,
            IMAGES=logits.shape[0],
            CLASSES=logits.shape[1],
            TARGET=target.data_ptr(),
            TARGET_KIND=TARGET_KINDS[target.dtype],
            TARGET_BYTES=target.itemsize,
            IGNORE_INDEX=ignored,
        )
        self.inputs = logits, target

    def set(self, **values: int) -> None:
        for name, value in values.items():
            self.numbers[self.slots[name]] = value

    def give_scratch(self, size: int) -> None:
        """Buffers of so many bytes for each thread."""
        size = -(-size // 64) * 64 + 64
        self.scratch = torch.empty(self.threads * size, dtype=torch.uint8)
        self.set(SCRATCH=self.scratch.data_ptr(), SCRATCH_BYTES=size)

    def make_results(self, target: Tensor, tasks: int) -> tuple[Tensor, ...]:
        ce, log_sum = torch.empty(target.shape), torch.empty(target.shape)
        wrong, valid = (torch.empty(target.shape, dtype=torch.bool) for _ in range(2))
        self.facts = torch.empty(tasks, 2, dtype=torch.int64)
        self.set(CE=ce.data_ptr(), LOG_SUM=log_sum.data_ptr(), FACTS=self.facts.data_ptr())
        self.set(WRONG=wrong.data_ptr(), VALID=valid.data_ptr())
        return ce, log_sum, wrong, valid

    def run(self, kernel: int, *held: Tensor) -> None:
        """Run a kernel; `held` are what it reads and nothing else keeps."""
        self.numbers[0] = self.numbers[8] = 0  # the counters
        run_threads(kernel, self.numbers.ctypes.data, self.threads)
        self.scratch = torch.empty(0)

    def finish(
        self, ctx: Any, ce: Tensor, log_sum: Tensor, wrong: Tensor, valid: Tensor, facts: list[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        facts.append(int(self.facts[:, 1].sum()))
        logits, target = self.inputs
        self.inputs = ()
        ctx.call = self
        ctx.save_for_backward(logits, target, log_sum)
        ctx.mark_non_differentiable(wrong, valid)
        return ce, wrong, valid


def _restore(ctx: Any) -> tuple[_Call, Tensor, Tensor, Tensor]:
    if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
        raise RuntimeError("the numba cross-entropy has no second derivative -> backend: reference")
    call, (logits, target, log_sum) = ctx.call, ctx.saved_tensors
    call.set(TARGET=target.data_ptr(), LOG_SUM=log_sum.data_ptr())
    call.threads = choose_threads(target.numel() * logits.shape[1])
    return call, logits, target, log_sum


def choose_width(classes: int, pixels: int) -> int:
    """Pixels of a block: a multiple of 16, as many as vectors have numbers."""
    width = min(LARGEST_BLOCK, max(SMALLEST_BLOCK, BLOCK_BYTES // (4 * classes)), pixels)
    return -(-width // 16) * 16
