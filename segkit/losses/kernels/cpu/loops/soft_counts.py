"""How much of each class was found, missed, and seen where it is not, of soft regions; and the gradient of that.

Forward reads the logits once and leaves three sums for each class, beside what cross-entropy leaves of each pixel.
Backward reads them once and writes the gradient: that of a sum is the same number at all pixels of a class. A task is
so many blocks of pixels, cut by the sizes alone, and has sums of its own, so that nothing depends on which thread took
it. Called with the address of their numbers (`Slot`), as the kernels of cross-entropy are.
"""

from enum import IntEnum, auto

from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ONE,
    REORDERED,
    ZERO,
    bytes_,
    doubles,
    exponential,
    floats,
    int32s,
    int64s,
    take_ticket,
)
from segkit.losses.kernels.cpu.loops.blocks import (
    clear_bytes,
    find_largest,
    load_block,
    pick_true,
    read_labels,
    write_block,
)
from segkit.losses.kernels.cpu.loops.same_size import PADDING, finish
from segkit.losses.kernels.cpu.loops.transpose import FLOAT32


class Slot(IntEnum):
    """Places in the int64 numbers of a call; addresses and steps are in bytes."""

    TASK = 0  # the counters of tasks and of threads, each in a cache line of its own
    THREAD = 8
    SCRATCH = 16  # address of the threads' buffers
    SCRATCH_BYTES = auto()  # of each thread
    WIDTH = auto()  # pixels of a block
    BLOCKS = auto()  # in all
    BATCH = auto()  # blocks of a task
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
    MASS = auto()  # fp32 (N, P), or 0: every valid pixel has 1
    CE = auto()
    LOG_SUM = auto()
    WRONG = auto()
    VALID = auto()
    N_BROKEN = auto()  # int64 for each task: the valid pixels whose label is no class
    COUNTS = auto()  # float64 (tasks, 4, classes): found, seen elsewhere, missed, there
    SLOPES = auto()  # fp32 (3, classes): the gradient at the first three
    CE_SLOPE = auto()  # fp32 (N, P): that at each pixel's cross-entropy, or 0
    GRADIENT = auto()
    GRADIENT_IMAGE_STEP = auto()
    GRADIENT_CLASS_STEP = auto()
    GRADIENT_PIXEL_STEP = auto()
    PAST_CACHES = auto()  # whether the gradient is larger than the caches
    END = auto()


(
    TASK, THREAD, SCRATCH, SCRATCH_BYTES, WIDTH, BLOCKS, BATCH, CLASSES, PIXELS, KIND, CHANNELS_LAST, LOGITS,
    IMAGE_STEP, CLASS_STEP, PIXEL_STEP, TARGET, TARGET_KIND, TARGET_BYTES, IGNORE_INDEX, MASS, CE, LOG_SUM, WRONG,
    VALID, N_BROKEN, COUNTS, SLOPES, CE_SLOPE, GRADIENT, GRADIENT_IMAGE_STEP, GRADIENT_CLASS_STEP, GRADIENT_PIXEL_STEP,
    PAST_CACHES, END,
) = (int(slot) for slot in Slot)  # fmt: skip

#: Rows of one number per pixel in a thread's buffer, beside the matrices of classes x pixels.
LINES = 6
#: Sums of each class.
COUNTED = 4


@njit(**FLAGS)
def forward(address, version):
    p = int64s(address, END)
    width, classes, pixels = p[WIDTH], p[CLASSES], p[PIXELS]
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    label = int32s(scratch, width)
    largest, total = floats(scratch + 4 * width, width), floats(scratch + 8 * width, width)
    true, share = floats(scratch + 12 * width, width), floats(scratch + 16 * width, width)
    missed = floats(scratch + 20 * width, width)
    block, step = scratch + 4 * LINES * width, 4 * (width + PADDING)
    broken = int64s(p[N_BROKEN], (p[BLOCKS] + p[BATCH] - 1) // p[BATCH])
    while True:
        task = take_ticket(address + 8 * TASK)
        if task * p[BATCH] >= p[BLOCKS]:
            return
        broken[task] = 0
        counts = doubles(p[COUNTS] + 8 * COUNTED * classes * task, COUNTED * classes)
        for here in range(task * p[BATCH], min((task + 1) * p[BATCH], p[BLOCKS])):
            image, start, size = place(p, here)
            first = image * pixels + start
            target = p[TARGET] + first * p[TARGET_BYTES]
            n_valid, n_broken = read_labels(target, p[TARGET_KIND], p[IGNORE_INDEX], classes, size, label)
            broken[task] += n_broken
            ce, log_sum = floats(p[CE] + 4 * first, size), floats(p[LOG_SUM] + 4 * first, size)
            wrong, valid = bytes_(p[WRONG] + first, size), bytes_(p[VALID] + first, size)
            if n_valid == 0:
                for i in range(size):
                    ce[i] = log_sum[i] = ZERO
                for i in range(size):
                    wrong[i] = valid[i] = 0
                continue
            x, x_step = read_logits(p, image, start, size, block, step)
            find_largest(x, x_step, classes, size, largest)
            pick_true(x, x_step, label, size, true)
            keep_exponentials(x, x_step, classes, size, largest, total, block, step)
            finish(label, largest, total, true, size, ce, log_sum, wrong, valid)
            read_mass(p[MASS], first, label, size, share)
            for i in range(size):
                # What is missed is the rest of the exponentials: 1 - p would keep no more digits.
                e = exponential(true[i] - largest[i])
                missed[i] = (total[i] - e) / total[i] * share[i] if label[i] >= 0 else ZERO
                true[i] = e / total[i] * share[i] if label[i] >= 0 else ZERO
            count_labels(label, share, size, classes, counts)
            count_true(label, true, missed, size, classes, counts)
            for i in range(size):
                share[i] = share[i] / total[i]
            for c in range(classes):
                counts[classes + c] += sum_elsewhere(floats(block + c * step, size), share, label, c, size)


@njit(**FLAGS)
def place(p, block):
    """The image of a block, its first pixel in this, and how many it has."""
    per_image = (p[PIXELS] + p[WIDTH] - 1) // p[WIDTH]
    start = block % per_image * p[WIDTH]
    return block // per_image, start, min(p[WIDTH], p[PIXELS] - start)


@njit(**FLAGS)
def read_logits(p, image, start, size, block, step):
    """Where the logits of a block are as fp32 planes, and the step from class to class: where they lie, or `block`."""
    x = p[LOGITS] + image * p[IMAGE_STEP] + start * p[PIXEL_STEP]
    if p[KIND] == FLOAT32 and not p[CHANNELS_LAST]:
        return x, p[CLASS_STEP]
    load_block(x, p[KIND], p[CHANNELS_LAST], p[CLASS_STEP], p[PIXEL_STEP], p[CLASSES], size, block, step)
    return block, step


@njit(**FLAGS)
def keep_exponentials(x, x_step, classes, size, largest, total, block, step):
    """exp(x - largest) into `block`, which may be x, and their sum over the classes."""
    for c in range(classes):
        row, result = floats(x + c * x_step, size), floats(block + c * step, size)
        if c == 0:
            for i in range(size):
                result[i] = total[i] = exponential(row[i] - largest[i])
        else:
            for i in range(size):
                e = exponential(row[i] - largest[i])
                result[i] = e
                total[i] += e


@njit(**FLAGS)
def read_mass(address, first, label, size, mass):
    """What each pixel weighs: its mass, or 1, and 0 if it is ignored."""
    if address == 0:
        for i in range(size):
            mass[i] = ONE if label[i] >= 0 else ZERO
    else:
        given = floats(address + 4 * first, size)
        for i in range(size):
            mass[i] = given[i] if label[i] >= 0 else ZERO


@njit(**FLAGS)
def count_labels(label, mass, size, classes, counts):
    """Adds the mass of each class that is there."""
    i = 0
    while i < size:
        here = label[i]
        added = 0.0
        while i < size and label[i] == here:  # neighbours are of one class mostly
            added += mass[i]
            i += 1
        if here >= 0:
            counts[3 * classes + here] += added


@njit(**FLAGS)
def count_true(label, found, missed, size, classes, counts):
    """Adds the mass of each class that was found, and that was missed."""
    i = 0
    while i < size:
        here = label[i]
        of_found = of_missed = 0.0
        while i < size and label[i] == here:
            of_found += found[i]
            of_missed += missed[i]
            i += 1
        if here >= 0:
            counts[here] += of_found
            counts[2 * classes + here] += of_missed


@njit(**REORDERED)
def sum_elsewhere(row, share, label, c, size):
    """The mass of a class at valid pixels of other ones. In fp32: a block has few pixels."""
    total = ZERO
    for i in range(size):
        total += row[i] * share[i] if (label[i] >= 0) & (label[i] != c) else ZERO
    return total


@njit(**FLAGS)
def backward(address, version):
    p = int64s(address, END)
    width, classes, pixels = p[WIDTH], p[CLASSES], p[PIXELS]
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    label = int32s(scratch, width)
    largest, mean = floats(scratch + 4 * width, width), floats(scratch + 8 * width, width)
    true, mass = floats(scratch + 12 * width, width), floats(scratch + 16 * width, width)
    of_true = floats(scratch + 20 * width, width)
    step = 4 * (width + PADDING)
    block = scratch + 4 * LINES * width
    out_block, staged = block + classes * step, block + 2 * classes * step
    planes = p[KIND] == FLOAT32 and not p[CHANNELS_LAST]
    slopes = floats(p[SLOPES], 3 * classes)
    while True:
        task = take_ticket(address + 8 * TASK)
        if task * p[BATCH] >= p[BLOCKS]:
            return
        for here in range(task * p[BATCH], min((task + 1) * p[BATCH], p[BLOCKS])):
            image, start, size = place(p, here)
            first = image * pixels + start
            target = p[TARGET] + first * p[TARGET_BYTES]
            n_valid, _ = read_labels(target, p[TARGET_KIND], p[IGNORE_INDEX], classes, size, label)
            result = p[GRADIENT] + image * p[GRADIENT_IMAGE_STEP] + start * p[GRADIENT_PIXEL_STEP]
            out, out_step = out_block, step
            if planes and not p[PAST_CACHES]:
                out, out_step = result, p[GRADIENT_CLASS_STEP]
            if n_valid == 0:
                for c in range(classes):
                    clear_bytes(out + c * out_step, 4 * size)
            else:
                x, x_step = read_logits(p, image, start, size, block, step)
                find_largest(x, x_step, classes, size, largest)
                pick_true(x, x_step, label, size, true)
                log_sum = floats(p[LOG_SUM] + 4 * first, size)
                read_mass(p[MASS], first, label, size, mass)
                weigh_probabilities(x, x_step, classes, size, largest, log_sum, slopes, mean, out, out_step)
                weigh_true(label, largest, log_sum, slopes, classes, size, mass, true, mean, of_true)
                if p[CE_SLOPE] != 0:
                    add_ce(floats(p[CE_SLOPE] + 4 * first, size), label, size, mean, of_true)
                write_gradient(label, classes, size, slopes, mass, mean, out, out_step)
                for i in range(size):
                    if label[i] >= 0:
                        floats(out + label[i] * out_step + 4 * i, 1)[0] += of_true[i]
            if out != result:
                write_block(
                    result,
                    p[KIND],
                    p[CHANNELS_LAST],
                    p[GRADIENT_CLASS_STEP],
                    p[GRADIENT_PIXEL_STEP],
                    classes,
                    size,
                    out,
                    out_step,
                    staged,
                    p[PAST_CACHES],
                )


@njit(**FLAGS)
def weigh_probabilities(x, x_step, classes, size, largest, log_sum, slopes, mean, out, out_step):
    """p of each class into `out`, and the mean by p of the slopes at what is seen elsewhere."""
    for c in range(classes):
        row, result, slope = (
            floats(x + c * x_step, size),
            floats(out + c * out_step, size),
            slopes[classes + c],
        )
        if c == 0:
            for i in range(size):
                p = exponential(row[i] - largest[i] - log_sum[i])
                result[i] = p
                mean[i] = p * slope
        else:
            for i in range(size):
                p = exponential(row[i] - largest[i] - log_sum[i])
                result[i] = p
                mean[i] += p * slope


@njit(**FLAGS)
def weigh_true(label, largest, log_sum, slopes, classes, size, mass, true, mean, of_true):
    """The true class has slopes of its own: what it gets more than as another class, p x `of_true`, and the mean with
    it, both times the mass. `mean` becomes what all classes get less."""
    for i in range(size):
        c = max(label[i], 0)
        of_true[i] = slopes[c] - slopes[2 * classes + c] - slopes[classes + c]
    for i in range(size):
        p = exponential(true[i] - largest[i] - log_sum[i])
        of_true[i] = p * of_true[i] * mass[i]
        mean[i] = -(mean[i] * mass[i] + of_true[i])


@njit(**FLAGS)
def add_ce(slope, label, size, mean, of_true):
    """The gradient of each pixel's cross-entropy, slope x (p - y)."""
    for i in range(size):
        given = slope[i] if label[i] >= 0 else ZERO
        mean[i] += given
        of_true[i] -= given


@njit(**FLAGS)
def write_gradient(label, classes, size, slopes, mass, mean, out, out_step):
    """p (mass x slope + mean) for p in `out`; exactly 0 at ignored pixels, whatever the logits are."""
    for c in range(classes):
        row, slope = floats(out + c * out_step, size), slopes[classes + c]
        for i in range(size):
            row[i] = row[i] * (mass[i] * slope + mean[i]) if label[i] >= 0 else ZERO
