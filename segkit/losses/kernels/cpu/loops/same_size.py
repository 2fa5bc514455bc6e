"""Cross-entropy of logits of the target's size, and its gradient, a block of pixels at a time.

Forward reads the logits once and leaves two numbers for each pixel; backward reads them once and writes the gradient,
without reading where no pixel of a block has any. A pixel is computed by itself, in one order of its classes, so that
nothing depends on which thread took its block. Both are called with the address of their numbers (`Slot`).
"""

from enum import IntEnum, auto

from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ZERO,
    bytes_,
    exponential,
    floats,
    int32s,
    int64s,
    logarithm,
    take_ticket,
)
from segkit.losses.kernels.cpu.loops.blocks import (
    clear_bytes,
    find_largest,
    load_block,
    pick_true,
    prefetch_bytes,
    read_labels,
    weigh_probabilities,
    write_block,
)
from segkit.losses.kernels.cpu.loops.criteria.near import take
from segkit.losses.kernels.cpu.loops.criteria.of_a_block import write_criterion_gradient, write_value
from segkit.losses.kernels.cpu.loops.criteria.slots import NEAR
from segkit.losses.kernels.cpu.loops.criteria.sums import sum_for, sums_more
from segkit.losses.kernels.cpu.loops.transpose import FLOAT32


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
    N_BROKEN = auto()  # int64 for each block: the valid pixels whose label is no class
    SLOPE = auto()
    GRADIENT = auto()
    GRADIENT_IMAGE_STEP = auto()
    GRADIENT_CLASS_STEP = auto()
    GRADIENT_PIXEL_STEP = auto()
    PAST_CACHES = auto()  # whether the gradient is larger than the caches
    BATCH = auto()  # blocks that a thread takes at once
    CRITERION = auto()  # address of the numbers of a criterion, see `criteria`, or 0: cross-entropy
    NEXT_STEP = (
        auto()
    )  # what is brought near of the logits of the next block: the step from class to class, 0 if their
    NEXT_BYTES = auto()  # channels are side by side, and the bytes of a class for each pixel
    END = auto()


(
    BLOCK, THREAD, SCRATCH, SCRATCH_BYTES, WIDTH, BLOCKS, IMAGES, CLASSES, PIXELS, KIND, CHANNELS_LAST, LOGITS,
    IMAGE_STEP, CLASS_STEP, PIXEL_STEP, TARGET, TARGET_KIND, TARGET_BYTES, IGNORE_INDEX, CE, LOG_SUM, WRONG, VALID,
    N_BROKEN, SLOPE, GRADIENT, GRADIENT_IMAGE_STEP, GRADIENT_CLASS_STEP, GRADIENT_PIXEL_STEP, PAST_CACHES, BATCH,
    CRITERION, NEXT_STEP, NEXT_BYTES, END,
) = (int(slot) for slot in Slot)  # fmt: skip

#: Rows of one number per pixel in a thread's buffer, beside the block of logits and that of gradients.
ROWS = 6
#: More numbers in a row of a buffer than pixels: rows a power of two apart would share a place in the cache.
PADDING = 16


@njit(**FLAGS)
def forward(address, version):
    p = int64s(address, END)
    width, classes, pixels, kind = p[WIDTH], p[CLASSES], p[PIXELS], p[KIND]
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    label = int32s(scratch, width)
    largest, total = floats(scratch + 4 * width, width), floats(scratch + 8 * width, width)
    true = floats(scratch + 12 * width, width)
    lines, near = scratch + 16 * width, scratch + p[SCRATCH_BYTES] - NEAR
    broken = int64s(p[N_BROKEN], p[BLOCKS])
    while True:
        start_block = take_ticket(address + 8 * BLOCK) * p[BATCH]
        if start_block >= p[BLOCKS]:
            return
        stop_block = min(start_block + p[BATCH], p[BLOCKS])
        for here in range(start_block, stop_block):
            image, start, size = place(p, here)
            first = image * pixels + start
            target = p[TARGET] + first * p[TARGET_BYTES]
            n_valid, broken[here] = read_labels(target, p[TARGET_KIND], p[IGNORE_INDEX], classes, size, label)
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
            following, row_bytes = find_next(p, here + 1, stop_block)
            more = following, p[NEXT_STEP], row_bytes
            if p[CRITERION] == 0 or not sums_more(p[CRITERION]):
                sum_exponentials(x, step, classes, size, largest, total, *more)
            else:
                sum_for(p[CRITERION], x, step, classes, size, largest, total, lines, *more)
            pick_true(x, step, label, size, true)
            finish(label, largest, total, true, size, ce, log_sum, wrong, valid)
            if p[CRITERION] != 0:
                write_value(
                    p[CRITERION],
                    x,
                    step,
                    label,
                    first,
                    classes,
                    size,
                    largest,
                    log_sum,
                    ce,
                    lines,
                    near,
                )


@njit(**FLAGS)
def place(p, block):
    """The image of a block, its first pixel in this, and how many it has."""
    per_image = (p[PIXELS] + p[WIDTH] - 1) // p[WIDTH]
    start = block % per_image * p[WIDTH]
    return block // per_image, start, min(p[WIDTH], p[PIXELS] - start)


@njit(**FLAGS)
def find_next(p, block, stop_block):
    """Where the logits of the block begin that the thread takes next, and how many bytes of each class, or 0 if it
    takes none: they are brought near while it computes this one."""
    if block >= stop_block:
        return 0, 0
    image, start, size = place(p, block)
    return p[LOGITS] + image * p[IMAGE_STEP] + start * p[PIXEL_STEP], size * p[NEXT_BYTES]


@njit(**FLAGS)
def sum_exponentials(x, step, classes, size, largest, total, following, next_step, next_bytes):
    """The sum over the classes of exp(x - largest)."""
    row = floats(x, size)
    prefetch_bytes(following, next_bytes)
    for i in range(size):
        total[i] = exponential(row[i] - largest[i])
    c = 1
    while c + 2 <= classes:
        row, next_row = floats(x + c * step, size), floats(x + (c + 1) * step, size)
        prefetch_bytes(following + c * next_step, next_bytes)
        for i in range(size):
            total[i] += exponential(row[i] - largest[i]) + exponential(next_row[i] - largest[i])
        prefetch_bytes(following + (c + 1) * next_step, next_bytes)
        c += 2
    if c < classes:
        row = floats(x + c * step, size)
        prefetch_bytes(following + c * next_step, next_bytes)
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
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    label = int32s(scratch, width)
    largest, slope = floats(scratch + 4 * width, width), floats(scratch + 8 * width, width)
    lines, near = scratch + 12 * width, scratch + p[SCRATCH_BYTES] - NEAR
    block_step = 4 * (width + PADDING)
    block = scratch + 4 * ROWS * width
    out_block, staged = block + classes * block_step, block + 2 * classes * block_step
    planes = kind == FLOAT32 and not p[CHANNELS_LAST]
    while True:
        start_block = take_ticket(address + 8 * BLOCK) * p[BATCH]
        if start_block >= p[BLOCKS]:
            return
        stop_block = min(start_block + p[BATCH], p[BLOCKS])
        for here in range(start_block, stop_block):
            image, start, size = place(p, here)
            first = image * pixels + start
            target = p[TARGET] + first * p[TARGET_BYTES]
            read_labels(target, p[TARGET_KIND], p[IGNORE_INDEX], classes, size, label)
            n_kept = read_slope(floats(p[SLOPE] + 4 * first, size), label, size, slope)
            result = p[GRADIENT] + image * p[GRADIENT_IMAGE_STEP] + start * p[GRADIENT_PIXEL_STEP]
            if n_kept == 0:
                if p[PAST_CACHES]:
                    clear_bytes(out_block, classes * block_step)
                    write_out(p, out_block, block_step, result, size, staged, True)
                else:
                    clear(p, result, size)
                continue
            x, step = p[LOGITS] + image * p[IMAGE_STEP] + start * p[PIXEL_STEP], p[CLASS_STEP]
            if not planes:
                load_block(x, kind, p[CHANNELS_LAST], step, p[PIXEL_STEP], classes, size, block, block_step)
                x, step = block, block_step
            out, out_step = out_block, block_step
            if planes and not p[PAST_CACHES]:
                out, out_step = result, p[GRADIENT_CLASS_STEP]
            log_sum = floats(p[LOG_SUM] + 4 * first, size)
            find_largest(x, step, classes, size, largest)
            following, row_bytes = find_next(p, here + 1, stop_block)
            more = following, p[NEXT_STEP], row_bytes
            if p[CRITERION] != 0:
                write_criterion_gradient(
                    p[CRITERION],
                    x,
                    step,
                    label,
                    first,
                    classes,
                    size,
                    largest,
                    log_sum,
                    slope,
                    out,
                    out_step,
                    lines,
                    4 * width,
                    near,
                    *more,
                )
            else:
                weigh_probabilities(x, step, classes, size, largest, log_sum, slope, out, out_step, *more)
                take(label, slope, slope, size, out, out_step)
            if not planes or p[PAST_CACHES]:
                write_out(p, out, out_step, result, size, staged, p[PAST_CACHES])


@njit(**FLAGS)
def clear(p, result, size):
    """Zeros where the gradient of a block lies."""
    itemsize = 4 if p[KIND] == FLOAT32 else 2
    if p[CHANNELS_LAST]:
        clear_bytes(result, size * p[GRADIENT_PIXEL_STEP])
    else:
        for c in range(p[CLASSES]):
            clear_bytes(result + c * p[GRADIENT_CLASS_STEP], size * itemsize)


@njit(**FLAGS)
def write_out(p, block, block_step, result, size, staged, past_caches):
    """A block of the gradient in fp32 to where it lies."""
    write_block(
        result,
        p[KIND],
        p[CHANNELS_LAST],
        p[GRADIENT_CLASS_STEP],
        p[GRADIENT_PIXEL_STEP],
        p[CLASSES],
        size,
        block,
        block_step,
        staged,
        past_caches,
    )


@njit(**FLAGS)
def read_slope(given, label, size, slope):
    """The gradient of each pixel's cross-entropy, 0 where it is not valid: how many are not 0."""
    n_kept = 0
    for i in range(size):
        slope[i] = given[i] if label[i] >= 0 else ZERO
        n_kept += slope[i] != 0
    return n_kept
