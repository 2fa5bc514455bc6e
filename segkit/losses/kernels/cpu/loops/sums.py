"""Sums over the pixels of what a loss makes of them, in one pass where plain PyTorch takes one for each.

Sums of floats are made block by block in fp64, and the blocks added in their order; all others are of integers. So
nothing depends on which thread took which block. Called with the address of their numbers (`Slot`), as the kernels are.
"""

from enum import IntEnum, auto

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    HALF,
    INFINITE,
    REORDERED,
    ZERO,
    bytes_,
    doubles,
    floats,
    int32s,
    int64s,
    take_ticket,
)
from segkit.losses.kernels.cpu.loops.blocks import read_labels


class Slot(IntEnum):
    """Places in the int64 numbers of a call; addresses are in bytes."""

    BLOCK = 0  # the counters of blocks and of threads, each in a cache line of its own
    THREAD = 8
    SCRATCH = 16  # address of the threads' buffers
    SCRATCH_BYTES = auto()  # of each thread
    WIDTH = auto()  # pixels of a block
    GROUPS = auto()  # of pixels that are summed together
    PIXELS = auto()  # of a group
    CLASSES = auto()
    VALUE = auto()
    FACTOR = auto()
    WRONG = auto()
    TARGET = auto()
    TARGET_KIND = auto()
    TARGET_BYTES = auto()
    IGNORE_INDEX = auto()
    SUMS = auto()  # float64: of each block one number, or those of `Sum`
    CLASS_UNITS = auto()  # int64 (threads, TABLES, classes)
    UNIT = auto()
    RATES = auto()  # float32 (groups, classes)
    END = auto()


class Sum(IntEnum):
    """What `measure` leaves of each block."""

    VALID = 0
    VALUE = 1
    FACTOR = 2
    WRONG = 3  # of the factor, over the wrong pixels
    SMALLEST = 4  # value of which the factor is not 0, infinite without one
    END = 5


(
    BLOCK, THREAD, SCRATCH, SCRATCH_BYTES, WIDTH, GROUPS, PIXELS, CLASSES, VALUE, FACTOR, WRONG, TARGET, TARGET_KIND,
    TARGET_BYTES, IGNORE_INDEX, SUMS, CLASS_UNITS, UNIT, RATES, END,
) = (int(slot) for slot in Slot)  # fmt: skip
SUMS_OF_A_BLOCK = int(Sum.END)
#: Tables of the classes for each thread, which pixels are added to in turn.
TABLES = 4
#: Neighbours that are added up first, if they are all of one class.
RUN = 8


@njit(**FLAGS)
def multiply(address, version):
    """The sum of value x factor over each block of each group."""
    p = int64s(address, END)
    width, pixels = p[WIDTH], p[PIXELS]
    per_group = (pixels + width - 1) // width
    sums = doubles(p[SUMS], p[GROUPS] * per_group)
    while True:
        here = take_ticket(address + 8 * BLOCK)
        if here >= p[GROUPS] * per_group:
            return
        start = here % per_group * width
        size, first = min(width, pixels - start), here // per_group * pixels + start
        value, factor = floats(p[VALUE] + 4 * first, size), floats(p[FACTOR] + 4 * first, size)
        sums[here] = _sum_products(value, factor, size)


@njit(**REORDERED)
def _sum_products(value, factor, size):
    total = 0.0
    for i in range(size):
        total += value[i] * factor[i]
    return total


@njit(**FLAGS)
def measure(address, version):
    """What is logged of all pixels together; see `Sum`. Of each class also the sum of its factors, in integer units."""
    p = int64s(address, END)
    width, classes, pixels = p[WIDTH], p[CLASSES], p[PIXELS]
    thread = take_ticket(address + 8 * THREAD)
    scratch = p[SCRATCH] + thread * p[SCRATCH_BYTES]
    label, whole = int32s(scratch, width), int32s(scratch + 4 * width, width)
    units = int64s(p[CLASS_UNITS] + 8 * TABLES * thread * classes, TABLES * classes)
    blocks = (pixels + width - 1) // width
    unit = np.float32(p[UNIT])
    while True:
        here = take_ticket(address + 8 * BLOCK)
        if here >= blocks:
            return
        first = here * width
        size = min(width, pixels - first)
        value, factor = floats(p[VALUE] + 4 * first, size), floats(p[FACTOR] + 4 * first, size)
        sums = doubles(p[SUMS] + 8 * SUMS_OF_A_BLOCK * here, SUMS_OF_A_BLOCK)
        target = p[TARGET] + first * p[TARGET_BYTES]
        n_valid, _ = read_labels(target, p[TARGET_KIND], p[IGNORE_INDEX], classes, size, label)
        sums[0] = n_valid
        sums[1], sums[2], sums[3] = _sum_all(value, factor, bytes_(p[WRONG] + first, size), size)
        sums[4] = _find_smallest(value, factor, size)
        for i in range(size):
            whole[i] = factor[i] * unit + HALF if label[i] >= 0 else ZERO
        add_to_classes(whole, label, size, classes, units)


@njit(**FLAGS)
def count_classes(address, version):
    """How many valid pixels of the one group each class has, those that are right and then those that are wrong: in
    `CLASS_UNITS` (threads, TABLES, 2 x classes)."""
    p = int64s(address, END)
    width, classes, pixels = p[WIDTH], p[CLASSES], p[PIXELS]
    thread = take_ticket(address + 8 * THREAD)
    scratch = p[SCRATCH] + thread * p[SCRATCH_BYTES]
    label, whole = int32s(scratch, width), int32s(scratch + 4 * width, width)
    units = int64s(p[CLASS_UNITS] + 16 * TABLES * thread * classes, 2 * TABLES * classes)
    while True:
        first = take_ticket(address + 8 * BLOCK) * width
        if first >= pixels:
            return
        size = min(width, pixels - first)
        target, wrong = p[TARGET] + first * p[TARGET_BYTES], bytes_(p[WRONG] + first, size)
        read_labels(target, p[TARGET_KIND], p[IGNORE_INDEX], classes, size, label)
        for i in range(size):
            whole[i] = 1 if label[i] >= 0 else 0
        for i in range(size):
            label[i] += classes if wrong[i] != 0 else 0
        add_to_classes(whole, label, size, 2 * classes, units)


@njit(**FLAGS)
def write_rates(address, version):
    """The rate of each pixel's class in its group as its factor, 0 for pixels that are not valid."""
    p = int64s(address, END)
    width, classes, pixels = p[WIDTH], p[CLASSES], p[PIXELS]
    per_group = (pixels + width - 1) // width
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    label = int32s(scratch, width)
    while True:
        here = take_ticket(address + 8 * BLOCK)
        if here >= p[GROUPS] * per_group:
            return
        group, start = here // per_group, here % per_group * width
        size, first = min(width, pixels - start), group * pixels + start
        factor, rates = floats(p[FACTOR] + 4 * first, size), floats(p[RATES] + 4 * group * classes, classes)
        target = p[TARGET] + first * p[TARGET_BYTES]
        read_labels(target, p[TARGET_KIND], p[IGNORE_INDEX], classes, size, label)
        for i in range(size):
            factor[i] = rates[label[i]] if label[i] >= 0 else ZERO


@njit(**FLAGS)
def add_to_classes(whole, label, size, classes, units):
    """Adds the integers of each pixel to the sum of its class, in `units` (TABLES, classes)."""
    end = size // RUN * RUN
    for start in range(0, end, RUN):
        first, differ, total = label[start], 0, 0
        for i in range(start, start + RUN):
            differ |= label[i] ^ first
            total += whole[i]
        # Neighbours are of one class mostly. Else they go to several tables: an addition to a place waits for the one
        # before.
        if differ == 0:
            units[max(first, 0)] += total
        else:
            for i in range(start, start + RUN, 4):
                units[max(label[i], 0)] += whole[i]
                units[max(label[i + 1], 0) + classes] += whole[i + 1]
                units[max(label[i + 2], 0) + 2 * classes] += whole[i + 2]
                units[max(label[i + 3], 0) + 3 * classes] += whole[i + 3]
    for i in range(end, size):
        units[max(label[i], 0)] += whole[i]


@njit(**REORDERED)
def _sum_all(value, factor, wrong, size):
    sum_value = sum_factor = sum_wrong = 0.0
    for i in range(size):
        sum_value += value[i]
        sum_factor += factor[i]
        sum_wrong += factor[i] * wrong[i]
    return sum_value, sum_factor, sum_wrong


@njit(**REORDERED)
def _find_smallest(value, factor, size):
    smallest = INFINITE
    for i in range(size):
        kept = value[i] if factor[i] != 0 else INFINITE
        smallest = kept if kept < smallest else smallest
    return smallest
