"""Functions of each pixel's cross-entropy and their slopes, in one pass over the pixels."""

from enum import IntEnum, auto

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ZERO,
    bytes_,
    exponential,
    floats,
    int64s,
    logarithm,
    missing,
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
    VALID = auto()  # bytes
    NUMBERS = auto()  # float32: linear, gain and rate, or gamma
    VALUE = auto()  # float32, written
    SLOPE = auto()
    END = auto()


BLOCK, THREAD, SCRATCH, SCRATCH_BYTES, WIDTH, PIXELS, CE, VALID, NUMBERS, VALUE, SLOPE, END = (
    int(slot) for slot in Slot
)
#: The smallest normal number: what 1 - p is at least, and from where on it has no slope.
TINY = np.finfo(np.float32).tiny


@njit(**FLAGS)
def write_curve(address, version):
    """linear ce + gain (1 - exp(-rate ce)) and its slope of the valid pixels, 0 of the others."""
    p = int64s(address, END)
    numbers = floats(p[NUMBERS], 3)
    linear, gain, rate = numbers[0], numbers[1], numbers[2]
    while True:
        first = take_ticket(address + 8 * BLOCK) * p[WIDTH]
        if first >= p[PIXELS]:
            return
        size = min(p[WIDTH], p[PIXELS] - first)
        ce, valid = floats(p[CE] + 4 * first, size), bytes_(p[VALID] + first, size)
        value, slope = floats(p[VALUE] + 4 * first, size), floats(p[SLOPE] + 4 * first, size)
        for i in range(size):
            counts = valid[i] != 0
            x = ce[i]
            line = linear * x if linear != ZERO else ZERO  # 0 also of an infinite loss
            value[i] = line + gain * missing(rate * x) if counts else ZERO
            slope[i] = linear + gain * rate * exponential(-rate * x) if counts else ZERO


@njit(**FLAGS)
def write_focal(address, version):
    """(1 - p)^gamma ce, p = exp(-ce), and its slope of the valid pixels, 0 of the others."""
    p = int64s(address, END)
    gamma = floats(p[NUMBERS], 1)[0]
    while True:
        first = take_ticket(address + 8 * BLOCK) * p[WIDTH]
        if first >= p[PIXELS]:
            return
        size = min(p[WIDTH], p[PIXELS] - first)
        ce, valid = floats(p[CE] + 4 * first, size), bytes_(p[VALID] + first, size)
        value, slope = floats(p[VALUE] + 4 * first, size), floats(p[SLOPE] + 4 * first, size)
        for i in range(size):
            counts = valid[i] != 0
            x = ce[i]
            wrong = missing(x)
            at_least = TINY if wrong < TINY else wrong
            power = exponential(gamma * logarithm(at_least))
            rising = x * gamma * (power / at_least) * exponential(-x) if wrong > TINY else ZERO
            value[i] = power * x if counts else ZERO
            slope[i] = power + rising if counts else ZERO
