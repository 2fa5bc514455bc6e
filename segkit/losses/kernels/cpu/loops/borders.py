"""How much neighbouring pixels differ, and which pixels lie near a predicted border: what the active boundary loss asks
of all pixels. What it asks of these few is in `directions`.

A task is a band of rows of an image, of which the row below is looked at too; a pixel is computed by itself, in one
order of its classes, so that nothing depends on which thread took it. Called with the address of their numbers
(`Slot`), as the kernels are.
"""

from enum import IntEnum, auto

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    INFINITE,
    ONE,
    ZERO,
    bytes_,
    exponential,
    floats,
    int32s,
    int64s,
    logarithm,
    take_ticket,
)  # fmt: skip
from segkit.losses.kernels.cpu.loops.blocks import find_largest, load_block, pick_true, read_labels
from segkit.losses.kernels.cpu.loops.same_size import PADDING, finish
from segkit.losses.kernels.cpu.loops.transpose import FLOAT32


class Slot(IntEnum):
    """Places in the int64 numbers of a call; addresses and steps are in bytes."""

    TASK = 0  # the counters of tasks and of threads, each in a cache line of its own
    THREAD = 8
    SCRATCH = 16  # address of the threads' buffers
    SCRATCH_BYTES = auto()  # of each thread
    WIDTH = auto()  # columns that are worked on at once
    BAND = auto()  # rows of a task
    IMAGES = auto()
    CLASSES = auto()
    ROWS = auto()
    COLUMNS = auto()
    KIND = auto()  # dtype of the logits
    CHANNELS_LAST = auto()
    LOGITS = auto()
    IMAGE_STEP = auto()
    CLASS_STEP = auto()
    PIXEL_STEP = auto()
    TARGET = auto()
    TARGET_KIND = auto()
    TARGET_BYTES = auto()
    IGNORE_INDEX = auto()
    CE = auto()
    LARGEST = auto()  # fp32 (N, H, W): the largest logit
    LOG_SUM = auto()
    WRONG = auto()
    VALID = auto()
    N_BROKEN = auto()  # int64 for each task: above 0 if a label is no class
    DIVERGENCE = auto()  # fp32 (N, H, W), see `compare`
    THRESHOLD = auto()  # fp32 (N,): a pixel is a predicted border if its divergence is above
    DISTANCE = auto()  # fp32 (N, H, W)
    MARK = auto()  # bytes (N, H, W), see `mark`
    VALUE = auto()  # fp32 (N, H, W)
    PLACES = auto()  # int64 (M,): the marked pixels
    COUNT = auto()  # M
    NUMBERS = auto()  # fp32: the largest distance that counts, and the label smoothing
    SLOPES = auto()  # fp32 (chunks, C, CHUNK), see `directions`
    SLOPE = auto()  # fp32 (N, H, W): that at the value
    GRADIENT = auto()  # of the layout of the logits
    GRADIENT_IMAGE_STEP = auto()
    GRADIENT_CLASS_STEP = auto()
    GRADIENT_PIXEL_STEP = auto()
    END = auto()


(
    TASK, THREAD, SCRATCH, SCRATCH_BYTES, WIDTH, BAND, IMAGES, CLASSES, ROWS, COLUMNS, KIND, CHANNELS_LAST, LOGITS,
    IMAGE_STEP, CLASS_STEP, PIXEL_STEP, TARGET, TARGET_KIND, TARGET_BYTES, IGNORE_INDEX, CE, LARGEST, LOG_SUM,
    WRONG, VALID, N_BROKEN, DIVERGENCE, THRESHOLD, DISTANCE, MARK, VALUE, PLACES, COUNT, NUMBERS, SLOPES, SLOPE,
    GRADIENT, GRADIENT_IMAGE_STEP, GRADIENT_CLASS_STEP, GRADIENT_PIXEL_STEP, END,
) = (int(slot) for slot in Slot)  # fmt: skip

#: Of each of two rows: label, 1 / sum of exponentials, and its logarithm. Then what is needed of one row at a time.
LINES_OF_A_ROW = 3
LINES = 2 * LINES_OF_A_ROW + 5
#: Of each of two rows: the logits less the largest, and their exponentials.
MATRICES = 4
#: Marks of pixels that count, and of those whose cross-entropy is no number, which nothing may hide.
COUNTED, BROKEN = np.uint8(1), np.uint8(2)


@njit(**FLAGS)
def compare(address, version):
    """Cross-entropy of each pixel, and the sum of its divergences KL(p_i || p_j) from the pixels j below and to the
    right, where both are valid; at least 0."""
    p = int64s(address, END)
    width, classes, rows, columns = p[WIDTH], p[CLASSES], p[ROWS], p[COLUMNS]
    line = 4 * (width + PADDING)
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    here, below = scratch, scratch + LINES_OF_A_ROW * line
    lines = scratch + 2 * LINES_OF_A_ROW * line
    block = scratch + LINES * line
    block_below = block + 2 * classes * line
    bands = (rows + p[BAND] - 1) // p[BAND]
    broken = int64s(p[N_BROKEN], bands * p[IMAGES])
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= bands * p[IMAGES]:
            return
        image, first_row = task // bands, task % bands * p[BAND]
        last_row = min(first_row + p[BAND], rows)
        broken[task] = 0
        for start in range(0, columns, width):
            size, wide = min(width, columns - start), min(width + 1, columns - start)
            some, n_broken = _read_row(p, image, first_row, start, size, wide, True, here, lines, block)
            broken[task] += n_broken
            for y in range(first_row, last_row):
                some_below = 0
                if y + 1 < rows:
                    own = y + 1 < last_row
                    some_below, n_broken = _read_row(
                        p, image, y + 1, start, size, wide, own, below, lines, block_below
                    )
                    broken[task] += n_broken
                divergence = floats(p[DIVERGENCE] + 4 * ((image * rows + y) * columns + start), size)
                for i in range(size):
                    divergence[i] = ZERO
                if some:
                    # Those to the right are the same a number further on.
                    _add_divergences(
                        classes, wide - 1, here, block, here + 4, block + 4, line, lines, divergence
                    )
                    if some_below:
                        _add_divergences(
                            classes, size, here, block, below, block_below, line, lines, divergence
                        )
                    for i in range(size):
                        divergence[i] = ZERO if divergence[i] < 0 else divergence[i]
                here, below, block, block_below, some = below, here, block_below, block, some_below


@njit(**FLAGS)
def _read_row(p, image, y, start, size, wide, own, row, lines, block):
    """A part of a row, one pixel more than `size` if there is one: how many are valid, and how many labels are no
    class. Of an `own` row writes what the loss reports of it."""
    classes, line = p[CLASSES], 4 * (p[WIDTH] + PADDING)
    label, inverse, log_sum = int32s(row, wide), floats(row + line, wide), floats(row + 2 * line, wide)
    largest, total, true = floats(lines, wide), floats(lines + line, wide), floats(lines + 2 * line, wide)
    in_image = y * p[COLUMNS] + start
    first = image * p[ROWS] * p[COLUMNS] + in_image
    target = p[TARGET] + first * p[TARGET_BYTES]
    n_valid, n_broken = read_labels(target, p[TARGET_KIND], p[IGNORE_INDEX], classes, wide, label)
    if n_valid == 0:
        if own:
            _clear_pixels(p, first, size)
        return 0, n_broken
    x, step = p[LOGITS] + image * p[IMAGE_STEP] + in_image * p[PIXEL_STEP], p[CLASS_STEP]
    if p[KIND] != FLOAT32 or p[CHANNELS_LAST]:
        load_block(x, p[KIND], p[CHANNELS_LAST], step, p[PIXEL_STEP], classes, wide, block, line)
        x, step = block, line
    find_largest(x, step, classes, wide, largest)
    pick_true(x, step, label, wide, true)
    _exponentials(x, step, classes, wide, largest, block, block + classes * line, line, total)
    for i in range(wide):
        inverse[i] = ONE / total[i]
    if own:
        wrong, valid = bytes_(p[WRONG] + first, size), bytes_(p[VALID] + first, size)
        finish(label, largest, total, true, size, floats(p[CE] + 4 * first, size), log_sum, wrong, valid)
        _copy(log_sum, size, floats(p[LOG_SUM] + 4 * first, size))
        _copy(largest, size, floats(p[LARGEST] + 4 * first, size))
    for i in range(size if own else 0, wide):
        log_sum[i] = logarithm(total[i])
    return n_valid, n_broken


@njit(**FLAGS)
def _clear_pixels(p, first, size):
    ce, log_sum = floats(p[CE] + 4 * first, size), floats(p[LOG_SUM] + 4 * first, size)
    largest = floats(p[LARGEST] + 4 * first, size)
    wrong, valid = bytes_(p[WRONG] + first, size), bytes_(p[VALID] + first, size)
    for i in range(size):
        ce[i] = log_sum[i] = largest[i] = ZERO
    for i in range(size):
        wrong[i] = valid[i] = 0


@njit(**FLAGS)
def _copy(row, size, result):
    for i in range(size):
        result[i] = row[i]


@njit(**FLAGS)
def _exponentials(x, step, classes, size, largest, less, powers, line, total):
    """The logits less the largest, and the exponentials of these, (classes, size) each; `less` may be x. And their
    sum."""
    for i in range(size):
        total[i] = ZERO
    for c in range(classes):
        row, result, power = (
            floats(x + c * step, size),
            floats(less + c * line, size),
            floats(powers + c * line, size),
        )
        for i in range(size):
            result[i] = row[i] - largest[i]
        for i in range(size):
            power[i] = exponential(result[i])
        for i in range(size):
            total[i] += power[i]


@njit(**FLAGS)
def _add_divergences(classes, size, row, block, other_row, other_block, line, lines, divergence):
    """Adds those of `size` pixels of a row from as many others."""
    label, inverse, log_sum = int32s(row, size), floats(row + line, size), floats(row + 2 * line, size)
    other_label, other_log_sum = int32s(other_row, size), floats(other_row + 2 * line, size)
    summed = floats(lines + 3 * line, size)
    for i in range(size):
        summed[i] = ZERO
    for c in range(classes):
        less, power = floats(block + c * line, size), floats(block + (classes + c) * line, size)
        other_less = floats(other_block + c * line, size)
        for i in range(size):
            summed[i] += power[i] * (less[i] - other_less[i])
    for i in range(size):
        found = summed[i] * inverse[i] - (log_sum[i] - other_log_sum[i])
        divergence[i] += found if (label[i] >= 0) & (other_label[i] >= 0) else ZERO


@njit(**FLAGS)
def mark(address, version):
    """Marks valid pixels within one pixel of a predicted border, of which a valid neighbour is nearer to a true one.
    And writes the value of all others."""
    p = int64s(address, END)
    rows, columns = p[ROWS], p[COLUMNS]
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    highest = floats(scratch, columns + 2)  # with a column more at each side
    bands = (rows + p[BAND] - 1) // p[BAND]
    threshold = floats(p[THRESHOLD], p[IMAGES])
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= bands * p[IMAGES]:
            return
        image, first_row = task // bands, task % bands * p[BAND]
        for y in range(first_row, min(first_row + p[BAND], rows)):
            first = (image * rows + y) * columns
            _find_highest(p, first, y, highest)
            marked, valid = bytes_(p[MARK] + first, columns), bytes_(p[VALID] + first, columns)
            value, ce = floats(p[VALUE] + 4 * first, columns), floats(p[CE] + 4 * first, columns)
            for i in range(columns):
                value[i] = ZERO * ce[i]
            for i in range(columns):
                a, b, c = highest[i], highest[i + 1], highest[i + 2]
                near = (a > threshold[image]) | (b > threshold[image]) | (c > threshold[image])
                marked[i] = valid[i] & near
            for i in range(columns):
                if marked[i] != 0:
                    marked[i] = COUNTED if _may_move(p, first, y, i) else 0
                if value[i] != 0:  # NaN
                    marked[i] |= BROKEN


@njit(**FLAGS)
def _find_highest(p, first, y, highest):
    """The largest divergence of a pixel and of those above and below."""
    columns = p[COLUMNS]
    highest[0] = highest[columns + 1] = -ONE
    for i in range(columns):
        highest[i + 1] = -ONE
    for row in range(max(y - 1, 0), min(y + 2, p[ROWS])):
        divergence = floats(p[DIVERGENCE] + 4 * (first + (row - y) * columns), columns)
        for i in range(columns):
            highest[i + 1] = divergence[i] if divergence[i] > highest[i + 1] else highest[i + 1]


@njit(**FLAGS)
def _may_move(p, first, y, x):
    columns = p[COLUMNS]
    own = floats(p[DISTANCE] + 4 * (first + x), 1)[0]
    nearest = INFINITE
    for row in range(max(y - 1, 0), min(y + 2, p[ROWS])):
        there = first + (row - y) * columns
        distance, valid = floats(p[DISTANCE] + 4 * there, columns), bytes_(p[VALID] + there, columns)
        for column in range(max(x - 1, 0), min(x + 2, columns)):
            if valid[column] != 0 and distance[column] < nearest and (row != y or column != x):
                nearest = distance[column]
    return nearest < own
