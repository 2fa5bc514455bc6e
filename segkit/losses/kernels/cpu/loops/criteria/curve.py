"""Functions of each pixel's cross-entropy and their slopes, in one pass over the pixels. They are 0 where it is."""

from enum import IntEnum, auto

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ZERO,
    exponential,
    floats,
    int64s,
    logarithm,
    missing_and_left,
    take_ticket,
)


class Slot(IntEnum):
    """Places in the int64 numbers of a call; addresses are in bytes."""

    BLOCK = 0  # the counters of blocks and of threads, each in a cache line of its own
    THREAD = 8
    SCRATCH = 16  # unused: every call has them
    SCRATCH_BYTES = auto()
    WIDTH = auto()  # pixels of a block
    PIXELS = auto()
    CE = auto()  # float32
    NUMBERS = auto()  # float32: linear, gain and rate, or gamma
    VALUE = auto()  # float32, written
    SLOPE = auto()
    END = auto()


BLOCK, THREAD, SCRATCH, SCRATCH_BYTES, WIDTH, PIXELS, CE, NUMBERS, VALUE, SLOPE, END = (
    int(slot) for slot in Slot
)
#: The smallest normal number: what 1 - p is at least, and from where on it has no slope.
TINY = np.finfo(np.float32).tiny


@njit(**FLAGS)
def write_curve(address, version):
    """linear ce + gain (1 - exp(-rate ce)) and its slope."""
    p = int64s(address, END)
    numbers = floats(p[NUMBERS], 3)
    linear, gain, rate = numbers[0], numbers[1], numbers[2]
    steep = gain * rate
    while True:
        first = take_ticket(address + 8 * BLOCK) * p[WIDTH]
        if first >= p[PIXELS]:
            return
        size = min(p[WIDTH], p[PIXELS] - first)
        ce = floats(p[CE] + 4 * first, size)
        value, slope = floats(p[VALUE] + 4 * first, size), floats(p[SLOPE] + 4 * first, size)
        for i in range(size):
            x = ce[i]
            line = linear * x if linear != ZERO else ZERO  # 0 also of an infinite loss
            wrong, right = missing_and_left(rate * x)
            value[i] = line + gain * wrong
            slope[i] = linear + steep * right


@njit(**FLAGS)
def write_focal(address, version):
    """(1 - p)^gamma ce, p = exp(-ce), and its slope."""
    p = int64s(address, END)
    gamma = floats(p[NUMBERS], 1)[0]
    while True:
        first = take_ticket(address + 8 * BLOCK) * p[WIDTH]
        if first >= p[PIXELS]:
            return
        size = min(p[WIDTH], p[PIXELS] - first)
        ce = floats(p[CE] + 4 * first, size)
        value, slope = floats(p[VALUE] + 4 * first, size), floats(p[SLOPE] + 4 * first, size)
        for i in range(size):
            x = ce[i]
            wrong, right = missing_and_left(x)
            at_least = TINY if wrong < TINY else wrong
            power = exponential(gamma * logarithm(at_least))
            rising = x * gamma * (power / at_least) * right if wrong > TINY else ZERO
            value[i] = power * x
            slope[i] = power + rising
