"""What some criteria sum over the classes beside exp(x - largest), which is there to be added twice only once."""

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ZERO,
    bytes_,
    exponential,
    floats,
    int32s,
    int64s,
)
from segkit.losses.kernels.cpu.loops.blocks import prefetch_bytes
from segkit.losses.kernels.cpu.loops.criteria.slots import (
    ADJUSTED,
    ALL_PIXELS,
    END,
    KIND,
    MASKS,
    MIXED,
    NUMBERS,
    RELAXED,
)

#: Classes of which a pixel's mask has a bit in one word.
WORD = 32


@njit(**FLAGS)
def sums_more(criterion, first, size):
    """Whether a criterion has such a sum, for `size` pixels from the one numbered `first`."""
    q = int64s(criterion, END)
    return q[KIND] == ADJUSTED or (q[KIND] == RELAXED and is_any(bytes_(q[MIXED] + first, size), size))


@njit(**FLAGS)
def is_any(marked, size):
    """Whether a byte is not 0."""
    some = 0
    for i in range(size):
        some |= marked[i]
    return some != 0


@njit(**FLAGS)
def sum_for(
    criterion, x, step, first, classes, size, largest, total, lines, following, next_step, next_bytes
):
    """`same_size.sum_exponentials`, and into the first of the `lines` the other sum: of ADJUSTED that by weights, of
    RELAXED that of the classes which are near."""
    q = int64s(criterion, END)
    other = floats(lines, size)
    if q[KIND] == ADJUSTED:
        weights = q[NUMBERS] + 4 * classes
        _sum_weighted(
            x, step, classes, size, largest, total, weights, other, following, next_step, next_bytes
        )
    else:
        _sum_near(q, x, step, first, classes, size, largest, total, other, following, next_step, next_bytes)


@njit(**FLAGS)
def _sum_weighted(
    x, step, classes, size, largest, total, weights, weighted, following, next_step, next_bytes
):
    """The sum of exp(x - largest) over the classes, and that in which each class has a weight."""
    weight = floats(weights, classes)
    for i in range(size):
        total[i] = weighted[i] = ZERO
    c = 0
    while c + 2 <= classes:
        row, next_row = floats(x + c * step, size), floats(x + (c + 1) * step, size)
        own, next_own = weight[c], weight[c + 1]
        prefetch_bytes(following + c * next_step, next_bytes)
        for i in range(size):
            power, next_power = exponential(row[i] - largest[i]), exponential(next_row[i] - largest[i])
            total[i] += power + next_power
            weighted[i] += own * power + next_own * next_power
        prefetch_bytes(following + (c + 1) * next_step, next_bytes)
        c += 2
    if c < classes:
        row, own = floats(x + c * step, size), weight[c]
        prefetch_bytes(following + c * next_step, next_bytes)
        for i in range(size):
            power = exponential(row[i] - largest[i])
            total[i] += power
            weighted[i] += own * power


@njit(**FLAGS)
def _sum_near(q, x, step, first, classes, size, largest, total, near, following, next_step, next_bytes):
    for i in range(size):
        total[i] = near[i] = ZERO
    for c in range(classes):
        row, mask, bit = floats(x + c * step, size), find_masks(q, c, first, size), find_bit(c)
        prefetch_bytes(following + c * next_step, next_bytes)
        for i in range(size):
            power = exponential(row[i] - largest[i])
            total[i] += power
            near[i] += power if mask[i] & bit != 0 else ZERO


@njit(**FLAGS)
def find_masks(q, c, first, size):
    """The masks of pixels, in which `find_bit` of the class says whether it is near."""
    return int32s(q[MASKS] + 4 * (c // WORD * q[ALL_PIXELS] + first), size)


@njit(**FLAGS)
def find_bit(c):
    """The bit of a class in a mask."""
    return np.int32(1 << (c % WORD))
