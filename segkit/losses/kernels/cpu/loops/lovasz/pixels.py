"""Pixels a block at a time: what their probabilities are made of, and the gradient from their slopes."""

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ONE,
    ZERO,
    bytes_,
    exponential,
    floats,
    int32s,
    int64s,
    take_ticket,
)
from segkit.losses.kernels.cpu.loops.blocks import find_largest, pick_true, read_labels, write_block
from segkit.losses.kernels.cpu.loops.lovasz.slots import (
    BATCH,
    BLOCKS,
    CE,
    CHANNELS_LAST,
    CLASS_STEP,
    CLASSES,
    END,
    GIVEN,
    GRADIENT,
    IGNORE_INDEX,
    IMAGE_STEP,
    IMAGES,
    KIND,
    LABEL,
    LARGEST,
    LEAST,
    LOG_SUM,
    LOGITS,
    MASS,
    N_BROKEN,
    PAST_CACHES,
    PIXEL_STEP,
    PIXELS,
    SCRATCH,
    SCRATCH_BYTES,
    SLOPE,
    TARGET,
    TARGET_BYTES,
    TARGET_KIND,
    TASK,
    THREAD,
    VALID,
    WHOLE,
    WIDTH,
    WRONG,
)
from segkit.losses.kernels.cpu.loops.same_size import PADDING, finish, sum_exponentials
from segkit.losses.kernels.cpu.loops.transpose import FLOAT32

#: Rows of one number per pixel in a thread's buffer.
LINES = 2
#: Much more than what the errors of `read` and `walk` may differ by, which the compiler may round differently.
MARGIN = np.float32(4e-7)
#: Above the bits of all errors.
NO_ERROR = np.int32(2**30)


@njit(**FLAGS)
def place(p, block):
    """The image of a block, its first pixel in this, and how many it has."""
    per_image = (p[PIXELS] + p[WIDTH] - 1) // p[WIDTH]
    start = block % per_image * p[WIDTH]
    return block // per_image, start, min(p[WIDTH], p[PIXELS] - start)


@njit(**FLAGS)
def read(address, version):
    p = int64s(address, END)
    width, classes, pixels = p[WIDTH], p[CLASSES], p[PIXELS]
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    total, true = floats(scratch, width), floats(scratch + 4 * width, width)
    bits = int32s(scratch + 4 * width, width)
    tasks = (p[BLOCKS] + p[BATCH] - 1) // p[BATCH]
    broken = int64s(p[N_BROKEN], tasks)
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= tasks:
            return
        whole, least = (
            int64s(p[WHOLE] + 8 * classes * task, classes),
            int32s(p[LEAST] + 4 * classes * task, classes),
        )
        for c in range(classes):
            whole[c], least[c] = 0, NO_ERROR
        broken[task] = 0
        for here in range(task * p[BATCH], min((task + 1) * p[BATCH], p[BLOCKS])):
            image, start, size = place(p, here)
            first = image * pixels + start
            label = int32s(p[LABEL] + 4 * first, size)
            target = p[TARGET] + first * p[TARGET_BYTES]
            _, n_broken = read_labels(target, p[TARGET_KIND], p[IGNORE_INDEX], classes, size, label)
            broken[task] += n_broken
            largest, log_sum = floats(p[LARGEST] + 4 * first, size), floats(p[LOG_SUM] + 4 * first, size)
            ce = floats(p[CE] + 4 * first, size)
            wrong, valid = bytes_(p[WRONG] + first, size), bytes_(p[VALID] + first, size)
            x, step = p[LOGITS] + 4 * (image * classes * pixels + start), 4 * pixels
            find_largest(x, step, classes, size, largest)
            sum_exponentials(x, step, classes, size, largest, total, x, 0, 0)
            pick_true(x, step, label, size, true)
            finish(label, largest, total, true, size, ce, log_sum, wrong, valid)
            for i in range(size):
                error = ONE - exponential(true[i] - largest[i] - log_sum[i])
                true[i] = error - MARGIN if error > MARGIN else ZERO
            for i in range(size):
                c = label[i]
                if c >= 0:
                    least[c] = min(least[c], bits[i])
                    whole[c] += 1 if p[MASS] == 0 else int64s(p[MASS] + 8 * (first + i), 1)[0]


@njit(**FLAGS)
def write_back(address, version):
    p = int64s(address, END)
    width, classes, pixels = p[WIDTH], p[CLASSES], p[PIXELS]
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    mean, block, block_step = floats(scratch, width), scratch + 4 * LINES * width, 4 * (width + PADDING)
    step, slope_step = 4 * pixels, 4 * pixels * p[IMAGES]
    kind, channels_last, past_caches = p[KIND], p[CHANNELS_LAST], p[PAST_CACHES]
    in_place = kind == FLOAT32 and not channels_last and not past_caches
    given = floats(p[GIVEN], classes)
    while True:
        task = take_ticket(address + 8 * TASK)
        if task * p[BATCH] >= p[BLOCKS]:
            return
        for here in range(task * p[BATCH], min((task + 1) * p[BATCH], p[BLOCKS])):
            image, start, size = place(p, here)
            first, at = image * pixels + start, 4 * (image * classes * pixels + start)
            label = int32s(p[LABEL] + 4 * first, size)
            largest, log_sum = floats(p[LARGEST] + 4 * first, size), floats(p[LOG_SUM] + 4 * first, size)
            result = p[GRADIENT] + image * p[IMAGE_STEP] + start * p[PIXEL_STEP]
            out, out_step = (result, p[CLASS_STEP]) if in_place else (block, block_step)
            for i in range(size):
                mean[i] = ZERO
            for c in range(classes):
                x, q = floats(p[LOGITS] + at + c * step, size), floats(out + c * out_step, size)
                slope, factor = floats(p[SLOPE] + 4 * first + c * slope_step, size), given[c]
                if factor == 0:
                    for i in range(size):
                        q[i] = exponential(x[i] - largest[i] - log_sum[i])
                else:
                    for i in range(size):
                        q[i] = exponential(x[i] - largest[i] - log_sum[i])
                        mean[i] += q[i] * (factor * slope[i])
            for c in range(classes):
                q, factor = floats(out + c * out_step, size), given[c]
                slope = floats(p[SLOPE] + 4 * first + c * slope_step, size)
                if factor == 0:
                    for i in range(size):
                        q[i] = -(q[i] * mean[i]) if label[i] >= 0 else ZERO
                else:
                    for i in range(size):
                        q[i] = q[i] * (factor * slope[i] - mean[i]) if label[i] >= 0 else ZERO
            if not in_place:
                steps, staged = (p[CLASS_STEP], p[PIXEL_STEP]), block + classes * block_step
                write_block(
                    result, kind, channels_last, *steps, classes, size, out, out_step, staged, past_caches
                )
