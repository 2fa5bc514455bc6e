"""The compiled active boundary loss as an operation with a gradient; see `loops.borders` and `loops.directions`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segkit.losses.kernels.cpu.call import CPU, Call
from segkit.losses.kernels.cpu.compiled import border_kernels
from segkit.losses.kernels.cpu.cross_entropy import LOGITS_KINDS, choose_width
from segkit.losses.kernels.cpu.loops import directions
from segkit.losses.kernels.cpu.loops.borders import COUNTED, LINES, MATRICES, Slot
from segkit.losses.kernels.cpu.loops.directions import AROUND, CHUNK
from segkit.losses.kernels.cpu.loops.same_size import PADDING

#: Rows of a task, of which the one below is computed twice.
BAND = 16
#: A pixel costs about as much as so many logits where its neighbours are only looked at.
LOGITS_PER_PIXEL = 4

#: What is above the result (N,) is a predicted border: of the divergences (N, P) and valid pixels (N, P) of images.
FindThreshold = Callable[[Tensor, Tensor], Tensor]


class FusedBorders(NamedTuple):
    """`value`, with gradient to the logits, `ce`, `wrong`, `valid` and `counted` (bool), all (N, H, W); how many valid
    pixels have a label that is no class, some of them counted twice."""

    value: Tensor
    ce: Tensor
    wrong: Tensor
    valid: Tensor
    counted: Tensor
    n_broken: int


def fused_borders(
    logits: Tensor,
    target: Tensor,
    distance: Tensor,
    find_threshold: FindThreshold,
    *,
    label_smoothing: float,
    max_distance: float,
    ignore_index: int,
) -> FusedBorders:
    """`pixel_active_boundary` of logits (N, C, H, W), fp32, bf16 or fp16, class ids and distances (N, H, W).

    A label that is no class counts as ignored here. Differentiable once.
    """
    broken: list[int] = []
    options = find_threshold, label_smoothing, max_distance, ignore_index, broken
    value, ce, wrong, valid, counted = _ActiveBoundary.apply(logits, target, distance, *options)
    return FusedBorders(value, ce, wrong, valid, counted, broken[0])


class _ActiveBoundary(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        distance: Tensor,
        find_threshold: FindThreshold,
        label_smoothing: float,
        max_distance: float,
        ignore_index: int,
        broken: list[int],
    ) -> tuple[Tensor, ...]:
        given = logits.detach()
        target, distance = target.contiguous(), distance.float().contiguous()
        _, classes, rows, columns = given.shape
        logits = _flatten(given)
        call, tasks = _make_call(logits, target, ignore_index, rows, columns)
        shape = target.shape
        ce, log_sum, largest, divergence, value = (
            torch.empty(shape, dtype=torch.float32, device=CPU) for _ in range(5)
        )
        wrong, valid = (torch.empty(shape, dtype=torch.bool, device=CPU) for _ in range(2))
        marked = torch.empty(shape, dtype=torch.uint8, device=CPU)
        n_broken = torch.empty(tasks, dtype=torch.int64, device=CPU)
        call.place(CE=ce, LOG_SUM=log_sum, LARGEST=largest, DIVERGENCE=divergence, WRONG=wrong, VALID=valid)
        line = 4 * (call.numbers[Slot.WIDTH] + PADDING)
        call.place(N_BROKEN=n_broken)
        call.run(border_kernels().compare, buffer=int(line) * (LINES + MATRICES * classes))
        broken.append(int(n_broken.sum()))
        threshold = find_threshold(divergence.flatten(1), valid.flatten(1)).contiguous()
        call.place(THRESHOLD=threshold, DISTANCE=distance, MARK=marked, VALUE=value)
        call.run(border_kernels().mark, buffer=4 * (columns + 2))
        places = marked.view(-1).nonzero().squeeze(1)
        numbers = torch.tensor([max_distance, label_smoothing], dtype=torch.float32, device=CPU)
        chunks = -(-len(places) // CHUNK)
        slopes = torch.empty(chunks, classes, CHUNK, dtype=torch.float32, device=CPU)
        call.place(PLACES=places, NUMBERS=numbers, SLOPES=slopes)
        call.set(COUNT=len(places))
        if len(places):
            buffer = directions.ROW * (directions.LINES + AROUND * classes)
            call.run(border_kernels().direct, logits, buffer=buffer)
        counted = marked == int(COUNTED)
        ctx.call, ctx.kind = call, (given.shape, logits.stride(2) != 1, given.dtype)
        ctx.save_for_backward(places, slopes)
        ctx.mark_non_differentiable(ce, wrong, valid, counted)
        return value, ce, wrong, valid, counted

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("active_boundary by numba has no second derivative")
        places, slopes = ctx.saved_tensors
        call: Call = ctx.call
        size, channels_last, dtype = ctx.kind
        images, classes, rows, columns = size
        if channels_last:
            flat = torch.zeros(images, rows * columns, classes, dtype=dtype, device=CPU).transpose(1, 2)
        else:
            flat = torch.zeros(images, classes, rows * columns, dtype=dtype, device=CPU)
        image_step, class_step, pixel_step = (step * flat.itemsize for step in flat.stride())
        call.set(GRADIENT_IMAGE_STEP=image_step, GRADIENT_CLASS_STEP=class_step)
        call.set(GRADIENT_PIXEL_STEP=pixel_step)
        slope = gradients[0].contiguous()
        call.place(PLACES=places, SLOPES=slopes, SLOPE=slope, GRADIENT=flat)
        if len(places):
            call.run(border_kernels().write_back)
        return flat.view(size), *[None] * 7


def _flatten(logits: Tensor) -> Tensor:
    """(N, C, P), with the pixels of a class or the channels of a pixel side by side."""
    flat = logits.flatten(2)
    return flat if 1 in flat.stride()[1:] else flat.contiguous()


def _make_call(
    logits: Tensor, target: Tensor, ignore_index: int, rows: int, columns: int
) -> tuple[Call, int]:
    """And how many bands of rows there are."""
    images, classes = logits.shape[:2]
    width = choose_width(MATRICES * classes, columns)
    call = Call(Slot, logits.numel(), IMAGES=images, CLASSES=classes, ROWS=rows, COLUMNS=columns)
    call.set_target(target, ignore_index)
    image_step, class_step, pixel_step = (step * logits.itemsize for step in logits.stride())
    call.set(IMAGE_STEP=image_step, CLASS_STEP=class_step, PIXEL_STEP=pixel_step, WIDTH=width, BAND=BAND)
    call.set(KIND=LOGITS_KINDS[logits.dtype], CHANNELS_LAST=logits.stride(2) != 1)
    call.place(LOGITS=logits)
    return call, images * -(-rows // BAND)
