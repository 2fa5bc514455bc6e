"""Cross-entropy of logits that are resized bilinearly to the target's size, and its gradient, a few rows at a time.

Two rows of logits are resized in the horizontal once, for all the new rows that lie between them (a run); each of these
is a mixture of the two, made in the cache and forgotten. Backward makes it again, adds up over the run what goes to
either row, and then over the columns. A task is a band of runs of one image, cut by the sizes alone, and what two bands
add to the same row is added in a fixed order: nothing depends on which thread took which.
"""

from enum import IntEnum, auto

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
from segkit.losses.kernels.cpu.loops.blocks import pick_true, read_labels
from segkit.losses.kernels.cpu.loops.criteria.of_a_block import write_criterion_gradient, write_value
from segkit.losses.kernels.cpu.loops.criteria.slots import NEAR
from segkit.losses.kernels.cpu.loops.criteria.sums import sum_for, sums_more
from segkit.losses.kernels.cpu.loops.same_size import PADDING, finish, read_slope, sum_exponentials


class Slot(IntEnum):
    """Places in the int64 numbers of a call; addresses and steps are in bytes."""

    TASK = 0  # the counters of tasks and of threads, each in a cache line of its own
    THREAD = 8
    SCRATCH = 16  # address of the threads' buffers
    SCRATCH_BYTES = auto()  # of each thread
    WIDTH = auto()  # columns that are worked on at once
    IMAGES = auto()
    CLASSES = auto()
    ROWS = auto()  # new ones
    COLUMNS = auto()
    LOGITS = auto()  # fp32, columns side by side
    IMAGE_STEP = auto()
    CLASS_STEP = auto()
    ROW_STEP = auto()
    TARGET = auto()
    TARGET_KIND = auto()
    TARGET_BYTES = auto()
    IGNORE_INDEX = auto()
    CE = auto()
    LOG_SUM = auto()
    WRONG = auto()
    VALID = auto()
    N_BROKEN = auto()  # int64 for each task: the valid pixels whose label is no class
    SLOPE = auto()
    GRADIENT = auto()  # fp32 (N, h, C, w)
    OLD_ROWS = auto()  # h
    OLD_COLUMNS = auto()  # w
    SHARED = auto()  # fp32 (N, bands, C, w): what the first run of a band adds to its first row
    BANDS = auto()  # how many
    FIRST_RUNS = auto()  # int32 (bands + 1,)
    RUNS = auto()  # int32 (runs, 4): first new row, the one after the last, the old rows low and high
    ROW_SHARES = auto()  # float32 (H,): what each new row takes of the high one
    LOWS = auto()  # int32 (W,)
    HIGHS = auto()
    SHARES = auto()
    COLUMN_RUNS = auto()  # int32 (column runs, 4)
    CRITERION = auto()  # address of the numbers of a criterion, see `criteria`, or 0: cross-entropy
    END = auto()


(
    TASK, THREAD, SCRATCH, SCRATCH_BYTES, WIDTH, IMAGES, CLASSES, ROWS, COLUMNS, LOGITS,
    IMAGE_STEP, CLASS_STEP, ROW_STEP, TARGET, TARGET_KIND, TARGET_BYTES, IGNORE_INDEX, CE, LOG_SUM, WRONG,
    VALID, N_BROKEN, SLOPE, GRADIENT, OLD_ROWS, OLD_COLUMNS,
    SHARED, BANDS, FIRST_RUNS, RUNS, ROW_SHARES, LOWS, HIGHS, SHARES, COLUMN_RUNS,
    CRITERION, END,
) = (int(slot) for slot in Slot)  # fmt: skip

#: Numbers of a thread for each column, beside the matrices of classes x columns.
LINES = 6


@njit(**FLAGS)
def forward(address, version):
    p = int64s(address, END)
    width, classes, rows, columns = p[WIDTH], p[CLASSES], p[ROWS], p[COLUMNS]
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    label = int32s(scratch, width)
    largest, total = floats(scratch + 4 * width, width), floats(scratch + 8 * width, width)
    true = floats(scratch + 12 * width, width)
    lines, near = scratch + 16 * width, scratch + p[SCRATCH_BYTES] - NEAR
    step = 4 * (width + PADDING)
    x, upper, lower = _matrices(scratch + 4 * LINES * width, classes * step)
    runs, first_runs = int32s(p[RUNS], 1 << 40), int32s(p[FIRST_RUNS], p[BANDS] + 1)
    shares, broken = floats(p[ROW_SHARES], rows), int64s(p[N_BROKEN], p[BANDS] * p[IMAGES])
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= p[BANDS] * p[IMAGES]:
            return
        image, band = task // p[BANDS], task % p[BANDS]
        broken[task] = 0
        for start in range(0, columns, width):
            size = min(width, columns - start)
            upper_row = lower_row = -1  # the rows of logits that are in the matrices
            for run in range(first_runs[band], first_runs[band + 1]):
                low, high = runs[4 * run + 2], runs[4 * run + 3]
                for y in range(runs[4 * run], runs[4 * run + 1]):
                    first = (image * rows + y) * columns + start
                    target = p[TARGET] + first * p[TARGET_BYTES]
                    n_valid, n_broken = read_labels(
                        target, p[TARGET_KIND], p[IGNORE_INDEX], classes, size, label
                    )
                    broken[task] += n_broken
                    ce, log_sum = floats(p[CE] + 4 * first, size), floats(p[LOG_SUM] + 4 * first, size)
                    wrong, valid = bytes_(p[WRONG] + first, size), bytes_(p[VALID] + first, size)
                    if n_valid == 0:
                        for i in range(size):
                            ce[i] = log_sum[i] = ZERO
                        for i in range(size):
                            wrong[i] = valid[i] = 0
                        continue
                    if upper_row != low:
                        if lower_row == low:
                            upper, lower, lower_row = lower, upper, -1
                        else:
                            widen(p, image, low, start, size, upper, step)
                        upper_row = low
                    if lower_row != high:
                        widen(p, image, high, start, size, lower, step)
                        lower_row = high
                    mix(upper, lower, shares[y], classes, size, x, step, largest)
                    if p[CRITERION] == 0 or not sums_more(p[CRITERION]):
                        sum_exponentials(x, step, classes, size, largest, total, x, 0, 0)
                    else:
                        sum_for(p[CRITERION], x, step, classes, size, largest, total, lines, x, 0, 0)
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
def backward(address, version):
    p = int64s(address, END)
    width, classes, rows, columns = p[WIDTH], p[CLASSES], p[ROWS], p[COLUMNS]
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    label = int32s(scratch, width)
    largest, slope = floats(scratch + 4 * width, width), floats(scratch + 8 * width, width)
    lines, near = scratch + 12 * width, scratch + p[SCRATCH_BYTES] - NEAR
    step = 4 * (width + PADDING)
    x, upper, lower = _matrices(scratch + 4 * LINES * width, classes * step)
    to_upper, to_lower, out = _matrices(x + 3 * classes * step, classes * step)
    runs, first_runs = int32s(p[RUNS], 1 << 40), int32s(p[FIRST_RUNS], p[BANDS] + 1)
    shares = floats(p[ROW_SHARES], rows)
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= p[BANDS] * p[IMAGES]:
            return
        image, band = task // p[BANDS], task % p[BANDS]
        row_bytes = 4 * classes * p[OLD_COLUMNS]
        result = p[GRADIENT] + image * p[OLD_ROWS] * row_bytes
        for start in range(0, columns, width):
            size = min(width, columns - start)
            upper_row = lower_row = -1  # the rows of logits that are in the matrices
            for run in range(first_runs[band], first_runs[band + 1]):
                low, high = runs[4 * run + 2], runs[4 * run + 3]
                some = False
                for y in range(runs[4 * run], runs[4 * run + 1]):
                    first = (image * rows + y) * columns + start
                    target = p[TARGET] + first * p[TARGET_BYTES]
                    read_labels(target, p[TARGET_KIND], p[IGNORE_INDEX], classes, size, label)
                    if read_slope(floats(p[SLOPE] + 4 * first, size), label, size, slope) == 0:
                        continue
                    if upper_row != low:
                        if lower_row == low:
                            upper, lower, lower_row = lower, upper, -1
                        else:
                            widen(p, image, low, start, size, upper, step)
                        upper_row = low
                    if lower_row != high:
                        widen(p, image, high, start, size, lower, step)
                        lower_row = high
                    if not some:
                        clear(to_upper, step, classes, size)
                        clear(to_lower, step, classes, size)
                        some = True
                    mix(upper, lower, shares[y], classes, size, x, step, largest)
                    log_sum = floats(p[LOG_SUM] + 4 * first, size)
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
                            step,
                            lines,
                            4 * width,
                            near,
                            x,
                            0,
                            0,
                        )
                        add_to_rows(out, step, classes, size, shares[y], to_upper, to_lower)
                        continue
                    add_gradient(
                        x, step, classes, size, largest, log_sum, slope, shares[y], to_upper, to_lower
                    )
                    take_true(label, slope, shares[y], size, to_upper, to_lower, step)
                if some:
                    upper_result = result + low * row_bytes
                    if run == first_runs[band]:  # the band before this one may add to the same row
                        upper_result = p[SHARED] + task * row_bytes
                    narrow(p, to_upper, step, start, size, upper_result)
                    narrow(p, to_lower, step, start, size, result + high * row_bytes)


@njit(**FLAGS)
def _matrices(address, bytes_each):
    return address, address + bytes_each, address + 2 * bytes_each


@njit(**FLAGS)
def widen(p, image, row, start, size, wide, step):
    """The columns `start` ... of a row of logits, resized in the horizontal: `wide` (classes, size)."""
    low, high = int32s(p[LOWS] + 4 * start, size), int32s(p[HIGHS] + 4 * start, size)
    share = floats(p[SHARES] + 4 * start, size)
    source = p[LOGITS] + image * p[IMAGE_STEP] + row * p[ROW_STEP]
    for c in range(p[CLASSES]):
        old, new = source + c * p[CLASS_STEP], floats(wide + c * step, size)
        for i in range(size):
            left, right = floats(old + 4 * low[i], 1)[0], floats(old + 4 * high[i], 1)[0]
            new[i] = left * (ONE - share[i]) + right * share[i]


@njit(**FLAGS)
def mix(upper, lower, share, classes, size, x, step, largest):
    """x = upper (1 - share) + lower share, all (classes, size), and its largest class."""
    rest = ONE - share
    for c in range(classes):
        a, b, row = floats(upper + c * step, size), floats(lower + c * step, size), floats(x + c * step, size)
        if c == 0:
            for i in range(size):
                row[i] = largest[i] = a[i] * rest + b[i] * share
        else:
            for i in range(size):
                mixed = a[i] * rest + b[i] * share
                row[i] = mixed
                largest[i] = mixed if mixed > largest[i] else largest[i]


@njit(**FLAGS)
def clear(matrix, step, classes, size):
    for c in range(classes):
        row = floats(matrix + c * step, size)
        for i in range(size):
            row[i] = ZERO


@njit(**FLAGS)
def add_gradient(x, step, classes, size, largest, log_sum, slope, share, to_upper, to_lower):
    """slope x p of each class, in parts to the two rows that the pixels are made of; nothing where the slope is 0."""
    rest = ONE - share
    for c in range(classes):
        row = floats(x + c * step, size)
        above, below = floats(to_upper + c * step, size), floats(to_lower + c * step, size)
        for i in range(size):
            p = exponential(row[i] - largest[i] - log_sum[i])
            p = slope[i] * p if slope[i] != 0 else ZERO
            above[i] += rest * p
            below[i] += share * p


@njit(**FLAGS)
def add_to_rows(gradient, step, classes, size, share, to_upper, to_lower):
    """A gradient (classes, size), in parts to the two rows that the pixels are made of."""
    rest = ONE - share
    for c in range(classes):
        row = floats(gradient + c * step, size)
        above, below = floats(to_upper + c * step, size), floats(to_lower + c * step, size)
        for i in range(size):
            above[i] += rest * row[i]
            below[i] += share * row[i]


@njit(**FLAGS)
def take_true(label, slope, share, size, to_upper, to_lower, step):
    """The slope is taken from the true class."""
    for i in range(size):
        if slope[i] != 0:
            at = label[i] * step + 4 * i
            floats(to_upper + at, 1)[0] -= (ONE - share) * slope[i]
            floats(to_lower + at, 1)[0] -= share * slope[i]


@njit(**FLAGS)
def narrow(p, matrix, step, start, size, result):
    """Adds the gradient of the columns `start` ... (classes, size) to that of a row of logits (C, w)."""
    classes = p[CLASSES]
    runs, share = int32s(p[COLUMN_RUNS], 1 << 40), floats(p[SHARES] + 4 * start, size)
    first = 0
    while runs[4 * first + 1] <= start:
        first += 1
    for c in range(classes):
        row, to = floats(matrix + c * step, size), result + 4 * c * p[OLD_COLUMNS]
        run = first
        while True:
            stop = min(runs[4 * run + 1] - start, size)
            left = right = ZERO
            for i in range(max(runs[4 * run] - start, 0), stop):
                left += row[i] * (ONE - share[i])
                right += row[i] * share[i]
            floats(to + runs[4 * run + 2] * 4, 1)[0] += left
            floats(to + runs[4 * run + 3] * 4, 1)[0] += right
            if stop >= size:
                break
            run += 1
