"""Cross-entropy of logits of the target's size, and its gradient, a block of pixels at a time.

Forward reads the logits once and leaves two numbers for each pixel; backward reads them once and writes the gradient,
without reading where no pixel of a block has any. A pixel is computed by itself, in one order of its classes, so that
nothing depends on which thread took its block. Both are called with the address of their numbers (`Slot`).
"""

from enum import IntEnum, auto

from numba import njit

from segkit.losses.kernels.cpu.arithmetic import (
    FLAGS,
    ZERO,
    bytes_,
    exponential,
    exponential_minus_one,
    floats,
    int32s,
    int64s,
    logarithm,
    take_ticket,
)
from segkit.losses.kernels.cpu.blocks import (
    clear_block,
    find_largest,
    load_block,
    pick_true,
    read_labels,
    store_block,
)
from segkit.losses.kernels.cpu.transpose import FLOAT32


class Slot(IntEnum):
    """Places in the int64 numbers of a call; addresses and steps are in bytes."""

    BLOCK = 0  # the counters of blocks and of threads, each in a cache line of its own
    THREAD = 8
    SCRATCH = 16  # address of the threads' buffers
    SCRATCH_BYTES = auto()  # of each thread
    WIDTH = auto()  # pixels of a block
    BLOCKS = auto()  # in all
    IMAGES = auto()
    CLASSES = auto()
    PIXELS = auto()  # of an image
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
    LOG_SUM = auto()
    WRONG = auto()
    VALID = auto()
    FACTS = auto()  # two int64 for each block: valid pixels, and those whose label is no class
    SLOPE = auto()
    GRADIENT = auto()
    GRADIENT_IMAGE_STEP = auto()
    GRADIENT_CLASS_STEP = auto()
    GRADIENT_PIXEL_STEP = auto()
    END = auto()


(
    BLOCK, THREAD, SCRATCH, SCRATCH_BYTES, WIDTH, BLOCKS, IMAGES, CLASSES, PIXELS, KIND, CHANNELS_LAST, LOGITS, IMAGE_STEP,
    CLASS_STEP, PIXEL_STEP, TARGET, TARGET_KIND, TARGET_BYTES, IGNORE_INDEX, CE, LOG_SUM, WRONG, VALID, FACTS, SLOPE,
    GRADIENT, GRADIENT_IMAGE_STEP, GRADIENT_CLASS_STEP, GRADIENT_PIXEL_STEP, END,
) = (int(slot) for slot in Slot)  # fmt: skip

#: Rows of one number per pixel in a thread's buffer, beside the block of logits and that of gradients.
ROWS = 4
#: More numbers in a row of a buffer than there are pixels: rows that are a power of two apart share a place in the cache.
PADDING = 16


@njit(**FLAGS)
def forward(address, version):
    p = int64s(address, END)
    width, classes, pixels, kind = p[WIDTH], p[CLASSES], p[PIXELS], p[KIND]
    per_image = (pixels + width - 1) // width
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    label = int32s(scratch, width)
    largest, total = floats(scratch + 4 * width, width), floats(scratch + 8 * width, width)
    true = floats(scratch + 12 * width, width)
    facts = int64s(p[FACTS], 2 * p[BLOCKS])
    while True:
        here = take_ticket(address + 8 * BLOCK)
        if here >= p[BLOCKS]:
            return
        image, start = here // per_image, here % per_image * width
        size = min(width, pixels - start)
        first = image * pixels + start
        n_valid, n_wrong = read_labels(
            p[TARGET] + first * p[TARGET_BYTES], p[TARGET_KIND], p[IGNORE_INDEX], classes, size, label
        )
        facts[2 * here], facts[2 * here + 1] = n_valid, n_wrong
        ce, log_sum = floats(p[CE] + 4 * first, size), floats(p[LOG_SUM] + 4 * first, size)
        wrong, valid = bytes_(p[WRONG] + first, size), bytes_(p[VALID] + first, size)
        if n_valid == 0:
            for i in range(size):
                ce[i] = log_sum[i] = ZERO
            for i in range(size):
                wrong[i] = valid[i] = 0
            continue
        x, step = p[LOGITS] + image * p[IMAGE_STEP] + start * p[PIXEL_STEP], p[CLASS_STEP]
        if kind != FLOAT32 or p[CHANNELS_LAST]:
            block, block_step = scratch + 4 * ROWS * width, 4 * (width + PADDING)
            load_block(x, kind, p[CHANNELS_LAST], step, p[PIXEL_STEP], classes, size, block, block_step)
            x, step = block, block_step
        find_largest(x, step, classes, size, largest)
        sum_exponentials(x, step, classes, size, largest, total)
        pick_true(x, step, label, size, true)
        finish(label, largest, total, true, size, ce, log_sum, wrong, valid)


@njit(**FLAGS)
def sum_exponentials(x, step, classes, size, largest, total):
    """The sum over the classes of exp(x - largest)."""
    row = floats(x, size)
    for i in range(size):
        total[i] = exponential(row[i] - largest[i])
    c = 1
    while c + 2 <= classes:
        row, next_row = floats(x + c * step, size), floats(x + (c + 1) * step, size)
        for i in range(size):
            total[i] += exponential(row[i] - largest[i]) + exponential(next_row[i] - largest[i])
        c += 2
    if c < classes:
        row = floats(x + c * step, size)
        for i in range(size):
            total[i] += exponential(row[i] - largest[i])


@njit(**FLAGS)
def finish(label, largest, total, true, size, ce, log_sum, wrong, valid):
    """What is left of each pixel: its cross-entropy, the logarithm of its sum, and what it is."""
    for i in range(size):
        log_sum[i] = logarithm(total[i])
        ce[i] = log_sum[i] + (largest[i] - true[i]) if label[i] >= 0 else ZERO
    for i in range(size):
        is_valid = label[i] >= 0
        wrong[i] = is_valid & (largest[i] > true[i]) & (total[i] == total[i])
        valid[i] = is_valid


@njit(**FLAGS)
def backward(address, version):
    p = int64s(address, END)
    width, classes, pixels, kind = p[WIDTH], p[CLASSES], p[PIXELS], p[KIND]
    per_image = (pixels + width - 1) // width
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    label = int32s(scratch, width)
    largest, slope = floats(scratch + 4 * width, width), floats(scratch + 8 * width, width)
    true = floats(scratch + 12 * width, width)
    block, block_step = scratch + 4 * ROWS * width, 4 * (width + PADDING)
    result_block = block + classes * block_step
    direct = kind == FLOAT32 and not p[CHANNELS_LAST]
    class_step, pixel_step = p[GRADIENT_CLASS_STEP], p[GRADIENT_PIXEL_STEP]
    while True:
        here = take_ticket(address + 8 * BLOCK)
        if here >= p[BLOCKS]:
            return
        image, start = here // per_image, here % per_image * width
        size = min(width, pixels - start)
        first = image * pixels + start
        read_labels(
            p[TARGET] + first * p[TARGET_BYTES], p[TARGET_KIND], p[IGNORE_INDEX], classes, size, label
        )
        n_kept = read_slope(floats(p[SLOPE] + 4 * first, size), label, size, slope)
        result = p[GRADIENT] + image * p[GRADIENT_IMAGE_STEP] + start * pixel_step
        if n_kept == 0:
            clear_block(result, kind, p[CHANNELS_LAST], class_step, pixel_step, classes, size)
            continue
        x, step = p[LOGITS] + image * p[IMAGE_STEP] + start * p[PIXEL_STEP], p[CLASS_STEP]
        out, out_step = result, class_step
        if not direct:
            load_block(x, kind, p[CHANNELS_LAST], step, p[PIXEL_STEP], classes, size, block, block_step)
            x, step, out, out_step = block, block_step, result_block, block_step
        log_sum = floats(p[LOG_SUM] + 4 * first, size)
        find_largest(x, step, classes, size, largest)
        pick_true(x, step, label, size, true)
        write_gradient(x, step, classes, size, largest, log_sum, slope, out, out_step)
        write_true(label, largest, log_sum, slope, true, size, out, out_step)
        if not direct:
            store_block(result, kind, p[CHANNELS_LAST], class_step, pixel_step, classes, size, out, out_step)


@njit(**FLAGS)
def read_slope(given, label, size, slope):
    """The gradient of each pixel's cross-entropy, 0 where it is not valid: how many are not 0."""
    n_kept = 0
    for i in range(size):
        slope[i] = given[i] if label[i] >= 0 else ZERO
        n_kept += slope[i] != 0
    return n_kept


@njit(**FLAGS)
def write_gradient(x, step, classes, size, largest, log_sum, slope, out, out_step):
    """slope x p of each class; exactly 0 where the slope is, whatever the logits are."""
    for c in range(classes):
        row, result = floats(x + c * step, size), floats(out + c * out_step, size)
        for i in range(size):
            p = exponential(row[i] - largest[i] - log_sum[i])
            result[i] = slope[i] * p if slope[i] != 0 else ZERO


@njit(**FLAGS)
def write_true(label, largest, log_sum, slope, true, size, out, out_step):
    """slope x (p - 1) of the true class, without the cancellation."""
    for i in range(size):
        true[i] = slope[i] * exponential_minus_one(true[i] - largest[i] - log_sum[i])
    for i in range(size):
        if slope[i] != 0:
            floats(out + label[i] * out_step + 4 * i, 1)[0] = true[i]
