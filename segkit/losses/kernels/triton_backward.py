"""The gradient of the pixels' cross-entropy to logits at the model's stride, in Triton: the kernels and their launch.

In gather form: a program owns cells of the gradient (classes x columns of a few rows), visits the pixels that read them
and computes exp(logit - lse) anew. Nobody else writes its cells, so there are no atomics and two runs are bitwise
equal. It goes from one row of logits to the next: the pixels between two rows are visited once for both, and what they
add to the lower one is carried on. Only those above the first and below the last row are visited by two programs.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from segkit.losses.kernels.triton_geometry import first_position, load_resized_row, load_row, locate

# Fixed, not autotuned, and chosen by time on an H200: see triton_forward.py.
CLASSES = 8  # classes of one program
ROWS = 8  # rows of cells of one program
CELLS = 15  # columns of cells of one program, at most: pixels of 16 intervals read them
INTERVALS = 8  # between cells, that a block of pixels spans where it is not too large or too small for that
LARGEST_BLOCK = 256  # columns of pixels at a time, at most, and at least ...
SMALLEST_BLOCK = 64
SAME_SIZE_CLASSES = 4
SAME_SIZE_BLOCK = 128

#: See triton_forward.py.
SIZES = ("ignore_index", "C", "h", "w", "H", "W", "class_blocks", "cell_blocks", "row_blocks", "cells")
SAME_SIZES = ("ignore_index", "C", "H", "W", "column_blocks")


@triton.jit
def load_gradient(grad_ce, target, pixel, inside, ignore_index):
    """The gradient of the pixels' ce, exactly 0 where they are ignored, and their labels."""
    label = tl.load(target + pixel, mask=inside, other=0)
    gradient = tl.load(grad_ce + pixel, mask=inside, other=0.0)
    return tl.where(inside & (label != ignore_index), gradient, 0.0), label.to(tl.int32)


@triton.jit
def softmax_gradient(logit, c, label, lse, gradient):
    """gradient x (p - onehot), (columns, classes). Selected, not multiplied, so that 0 x NaN is 0."""
    p = tl.exp(logit - lse[:, None])
    onehot = tl.where(label[:, None] == c[None, :], 1.0, 0.0)
    return tl.where(gradient[:, None] != 0, gradient[:, None] * (p - onehot), 0.0)


@triton.jit(do_not_specialize=SIZES)
def backward_kernel(
    grad_logits,  # (N, C, h, w)
    grad_ce,  # (N, H, W) contiguous
    logits,  # (N, C, h, w)
    target,
    lse,  # (N, H, W) contiguous
    ignore_index,
    C,
    h,
    w,
    H,
    W,
    stride_n,
    stride_c,
    stride_h,
    stride_w,
    grad_stride_n,
    grad_stride_c,
    grad_stride_h,
    grad_stride_w,
    class_blocks,
    cell_blocks,
    row_blocks,
    cells,  # columns of cells of one program, at most BLOCK_CELLS
    BLOCK_C: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_CELLS: tl.constexpr,
    BLOCK_X: tl.constexpr,
):
    program = tl.program_id(0)
    c = program % class_blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    first_cell = program // class_blocks % cell_blocks * cells
    first_row = program // class_blocks // cell_blocks % row_blocks * BLOCK_ROWS
    n = (program // class_blocks // cell_blocks // row_blocks).to(tl.int64)
    end_cell = tl.minimum(first_cell + cells, w)
    end_row = tl.minimum(first_row + BLOCK_ROWS, h)
    cell = first_cell + tl.arange(0, BLOCK_CELLS)
    channels = logits + n * stride_n + c.to(tl.int64) * stride_c  # where each class's plane begins
    channels_out = grad_logits + n * grad_stride_n + c.to(tl.int64) * grad_stride_c
    columns_out = cell.to(tl.int64) * grad_stride_w
    mine = (cell < end_cell)[:, None] & (c < C)[None, :]

    carried = tl.zeros([BLOCK_CELLS, BLOCK_C], tl.float32)  # what the pixels above a row add to it
    x_end = first_position(end_cell, w, W)
    for upper in range(first_row - 1, end_row):  # the pixels that read this row and the next
        y_start, y_end = first_position(upper, h, H), first_position(upper + 1, h, H)
        lower = tl.minimum(upper + 1, h - 1)
        upper_row = channels + tl.maximum(upper, 0).to(tl.int64) * stride_h
        lower_row = channels + lower.to(tl.int64) * stride_h
        to_upper = tl.zeros([BLOCK_CELLS, BLOCK_C], tl.float32)
        to_lower = tl.zeros([BLOCK_CELLS, BLOCK_C], tl.float32)
        # Columns first, classes second: Triton 3.6 then gives a thread a column of pixels and all the classes, as it
        # loads the pixels' labels, sums and gradients. The other way round they pass through shared memory (in 3.9,
        # this way).
        for x_start in range(first_position(first_cell - 1, w, W), x_end, BLOCK_X):
            x = x_start + tl.arange(0, BLOCK_X)
            left, x_fraction = locate(x, w, W)
            right = tl.minimum(left + 1, w - 1)
            inside = (x < x_end)[:, None] & (c < C)[None, :]
            above = load_resized_row(upper_row, left, x_fraction, w, stride_w, inside)
            below = load_resized_row(lower_row, left, x_fraction, w, stride_w, inside)
            # The gradient to both rows of logits as if they had been resized in the horizontal already.
            wide_upper = tl.zeros([BLOCK_X, BLOCK_C], tl.float32)
            wide_lower = tl.zeros([BLOCK_X, BLOCK_C], tl.float32)
            for y in range(y_start, y_end):
                pixel = (n * H + y) * W + x
                gradient, label = load_gradient(grad_ce, target, pixel, x < x_end, ignore_index)
                # Hard pixels cluster: many rows have none.
                if tl.sum((gradient != 0).to(tl.int32), axis=0) > 0:
                    source = tl.maximum((2 * y + 1) * h - H, 0) - upper * (2 * H)
                    fraction = source.to(tl.float32) / (2 * H)
                    logit = above * (1 - fraction) + below * fraction
                    sums = tl.load(lse + pixel, mask=x < x_end, other=0.0)
                    slope = softmax_gradient(logit, c, label, sums, gradient)
                    wide_upper += (1 - fraction) * slope
                    wide_lower += fraction * slope
            narrow = tl.where(cell[:, None] == left[None, :], (1 - x_fraction)[None, :], 0.0)
            narrow += tl.where(cell[:, None] == right[None, :], x_fraction[None, :], 0.0)
            # ieee: the tensor cores' tf32 would leave three digits. (cells, columns) x (columns, classes)
            to_upper += tl.dot(narrow, wide_upper, input_precision="ieee")
            to_lower += tl.dot(narrow, wide_lower, input_precision="ieee")
        # Below the last row there is none: its pixels read it twice.
        result = carried + to_upper + tl.where(lower == upper, to_lower, 0.0)
        row_out = channels_out + tl.maximum(upper, 0).to(tl.int64) * grad_stride_h
        tl.store(columns_out[:, None] + row_out[None, :], result, mask=mine & (upper >= first_row))
        carried = to_lower


@triton.jit(do_not_specialize=SAME_SIZES)
def same_size_backward_kernel(
    grad_logits,  # (N, C, H, W)
    grad_ce,  # (N, H, W) contiguous
    logits,  # (N, C, H, W)
    target,
    lse,  # (N, H, W) contiguous
    ignore_index,
    C,
    H,
    W,
    stride_n,
    stride_c,
    stride_h,
    stride_w,
    grad_stride_n,
    grad_stride_c,
    grad_stride_h,
    grad_stride_w,
    column_blocks,
    BLOCK_C: tl.constexpr,
    BLOCK_X: tl.constexpr,
):
    program = tl.program_id(0)
    x = program % column_blocks * BLOCK_X + tl.arange(0, BLOCK_X)
    y = program // column_blocks % H
    n = (program // column_blocks // H).to(tl.int64)
    pixel = (n * H + y) * W + x
    gradient, label = load_gradient(grad_ce, target, pixel, x < W, ignore_index)
    sums = tl.load(lse + pixel, mask=x < W, other=0.0)
    some = tl.sum((gradient != 0).to(tl.int32), axis=0) > 0
    row = logits + n * stride_n + y.to(tl.int64) * stride_h
    row_out = grad_logits + n * grad_stride_n + y.to(tl.int64) * grad_stride_h
    for c_start in range(0, C, BLOCK_C):
        c = c_start + tl.arange(0, BLOCK_C)
        inside = (x < W)[:, None] & (c < C)[None, :]
        result = tl.zeros([BLOCK_X, BLOCK_C], tl.float32)
        if some:  # else zeros are written, without the logits being read
            logit = load_row(row + c.to(tl.int64) * stride_c, x, stride_w, inside)
            result = softmax_gradient(logit, c, label, sums, gradient)
        channels_out = row_out + c.to(tl.int64) * grad_stride_c
        tl.store((x.to(tl.int64) * grad_stride_w)[:, None] + channels_out[None, :], result, mask=inside)


def launch_backward(
    grad_ce: Tensor, logits: Tensor, target: Tensor, lse: Tensor, ignore_index: int
) -> Tensor:
    """The gradient to the logits, in their shape and dtype; all but them are (N, H, W) and contiguous."""
    grad_logits = torch.empty_like(logits)
    n, classes, h, w = logits.shape
    height, width = target.shape[1:]
    tensors = (grad_logits, grad_ce, logits, target, lse, ignore_index)
    strides = (*logits.stride(), *grad_logits.stride())
    if (h, w) == (height, width):
        options = choose_same_size_options(classes)
        column_blocks = triton.cdiv(width, options["BLOCK_X"])
        same_size_backward_kernel[(column_blocks * h * n,)](
            *tensors, *(classes, h, w), *strides, column_blocks, **options
        )
        return grad_logits
    options = choose_backward_options(classes, w, width)
    cells = count_cells(w, width, options["BLOCK_X"])
    class_blocks, cell_blocks = triton.cdiv(classes, options["BLOCK_C"]), triton.cdiv(w, cells)
    row_blocks = triton.cdiv(h, options["BLOCK_ROWS"])
    # One dimension, because the others end at 65535. Blocks of classes are neighbours in it: they share the pixels'
    # gradients, labels and sums in the cache.
    backward_kernel[(class_blocks * cell_blocks * row_blocks * n,)](
        *(*tensors, classes, h, w, height, width, *strides, class_blocks, cell_blocks, row_blocks, cells),
        **options,
    )
    return grad_logits


def choose_same_size_options(classes: int) -> dict[str, int]:
    """The compile-time options of `same_size_backward_kernel`."""
    return {
        "BLOCK_C": min(SAME_SIZE_CLASSES, triton.next_power_of_2(classes)),
        "BLOCK_X": SAME_SIZE_BLOCK,
        "num_warps": 4,
        "enable_fp_fusion": True,
    }


def choose_backward_options(classes: int, w: int, width: int) -> dict[str, int]:
    """The compile-time options of `backward_kernel`: enough columns of pixels for `INTERVALS`, where allowed."""
    wanted = triton.next_power_of_2(triton.cdiv(INTERVALS * width, w))
    block_x = min(LARGEST_BLOCK, max(SMALLEST_BLOCK, wanted))
    return {
        "BLOCK_C": min(CLASSES, triton.next_power_of_2(classes)),
        "BLOCK_ROWS": ROWS,
        "BLOCK_CELLS": CELLS + 1,  # a power of two
        "BLOCK_X": block_x,
        "num_warps": block_x // 64,
        "enable_fp_fusion": True,
    }


def count_cells(w: int, width: int, block_x: int) -> int:
    """Columns of cells of one program: as many as one block of pixels reaches.

    c cells are read by (c + 1) width / w pixels: at stride 8 exactly 64 for 7 cells, where 8 would need a second block
    for 8 pixels.
    """
    return max(1, min(CELLS, block_x * w // width - 1))
