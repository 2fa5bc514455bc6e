"""Where the hardest pixels are: how many losses have which bits, sums of their powers, and how much is kept of each.

Counts are of integers and every share is of its own pixel, so nothing depends on which thread took which block. Called
with the address of their numbers (`Slot`), as the kernels are.
"""

from enum import IntEnum, auto

import numpy as np
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
    logarithm,
    take_ticket,
)


class Slot(IntEnum):
    """Places in the int64 numbers of a call; addresses are in bytes."""

    BLOCK = 0  # the counters of blocks and of threads, each in a cache line of its own
    THREAD = 8
    SCRATCH = 16  # address of the threads' buffers
    SCRATCH_BYTES = auto()  # of each thread
    WIDTH = auto()  # pixels of a block
    GROUPS = auto()  # of pixels that are selected together
    PIXELS = auto()  # of a group
    VALUE = auto()
    VALID = auto()
    COUNTS = auto()  # int32 (threads, bins): those of the one group of a call that counts
    DIGIT = auto()  # the 15 bits below the sign of the pixels that are counted by their other 16
    BOUNDARY = auto()  # float32 for each group
    PLACES = auto()  # float32 for each group: how much is kept of a pixel at the boundary
    SHARE = auto()
    REALS = auto()  # float32 (4,) of the one group of a call that sums or weighs: see `Real`
    SUMS = auto()  # float64 for each block
    BETWEEN = (
        auto()
    )  # int64 for each block: how many pixels are between the bounds, then where those before it end
    FOUND = auto()  # float32: the pixels between the bounds, block by block
    END = auto()


class Real(IntEnum):
    """Places in the float32 numbers of a call."""

    LOW = 0  # where powers are summed up to
    HIGH = 1  # where there is nothing between any more, or where the weights reach 1
    EXPONENT = 2
    FACTOR = 3


(
    BLOCK, THREAD, SCRATCH, SCRATCH_BYTES, WIDTH, GROUPS, PIXELS, VALUE, VALID, COUNTS, DIGIT, BOUNDARY, PLACES,
    SHARE, REALS, SUMS, BETWEEN, FOUND, END,
) = (int(slot) for slot in Slot)  # fmt: skip
LOW, HIGH, EXPONENT, FACTOR = (int(real) for real in Real)
#: The digit of pixels that are not ranked, which no number has.
NOT_RANKED = 0x7FFF
FIRST_BINS, OTHER_BINS = 2**15, 2**16
#: Pixels that are passed over together, where none of them is counted.
CHUNK = 64
_FAR, _LARGE, _LOG_LARGE = np.float32(1e-18), np.float32(2.0**100), np.float32(100 * np.log(2.0))
_SIGNLESS, _INFINITE = 0x7FFFFFFF, 0x7F800000


@njit(**FLAGS)
def count_first(address, version):
    """How many pixels have each first digit: the 15 bits below the sign, of a pixel that is not ranked `NOT_RANKED`."""
    p = int64s(address, END)
    thread = take_ticket(address + 8 * THREAD)
    digit = int32s(p[SCRATCH] + thread * p[SCRATCH_BYTES], p[WIDTH])
    counts = int32s(p[COUNTS] + 4 * FIRST_BINS * thread, FIRST_BINS)
    while True:
        first = take_ticket(address + 8 * BLOCK) * p[WIDTH]
        if first >= p[PIXELS]:
            return
        size = min(p[WIDTH], p[PIXELS] - first)
        read_digits(int32s(p[VALUE] + 4 * first, size), bytes_(p[VALID] + first, size), size, digit)
        for i in range(size):
            counts[digit[i] & NOT_RANKED] += 1


@njit(**FLAGS)
def count_others(address, version):
    """How many pixels whose first digit is `DIGIT` have each 16 bits below it."""
    p = int64s(address, END)
    thread = take_ticket(address + 8 * THREAD)
    digit = int32s(p[SCRATCH] + thread * p[SCRATCH_BYTES], p[WIDTH])
    counts = int32s(p[COUNTS] + 4 * OTHER_BINS * thread, OTHER_BINS)
    chosen = p[DIGIT]
    while True:
        first = take_ticket(address + 8 * BLOCK) * p[WIDTH]
        if first >= p[PIXELS]:
            return
        size = min(p[WIDTH], p[PIXELS] - first)
        bits = int32s(p[VALUE] + 4 * first, size)
        read_digits(bits, bytes_(p[VALID] + first, size), size, digit)
        for start in range(0, size, CHUNK):
            stop = min(start + CHUNK, size)
            n_inside = 0
            for i in range(start, stop):
                n_inside += digit[i] == chosen
            if n_inside:
                for i in range(start, stop):
                    if digit[i] == chosen:
                        counts[bits[i] & (OTHER_BINS - 1)] += 1


@njit(**FLAGS)
def read_digits(bits, valid, size, digit):
    """The first digits of the bits of losses; of NaN and where a pixel is not valid `NOT_RANKED`."""
    for i in range(size):
        ranked = (valid[i] != 0) & ((bits[i] & _SIGNLESS) <= _INFINITE)
        digit[i] = (bits[i] >> 16) & NOT_RANKED if ranked else NOT_RANKED


@njit(**FLAGS)
def write_share(address, version):
    """1 above the boundary of a pixel's group, `PLACES` at it, 0 below and where a pixel is not ranked."""
    p = int64s(address, END)
    per_group = (p[PIXELS] + p[WIDTH] - 1) // p[WIDTH]
    while True:
        here = take_ticket(address + 8 * BLOCK)
        if here >= p[GROUPS] * per_group:
            return
        group, start = here // per_group, here % per_group * p[WIDTH]
        size, first = min(p[WIDTH], p[PIXELS] - start), group * p[PIXELS] + start
        boundary, places = floats(p[BOUNDARY] + 4 * group, 1)[0], floats(p[PLACES] + 4 * group, 1)[0]
        value, valid = floats(p[VALUE] + 4 * first, size), bytes_(p[VALID] + first, size)
        share = floats(p[SHARE] + 4 * first, size)
        for i in range(size):
            kept = ONE if value[i] > boundary else (places if value[i] == boundary else ZERO)
            share[i] = kept if valid[i] != 0 else ZERO


@njit(**FLAGS)
def sum_powers(address, version):
    """(value / LOW)^EXPONENT of the ranked values, at most 1, as their share, 0 of what is not ranked; the sum of share
    x value / LOW over those up to LOW of each block, and how many of its values are between LOW and HIGH."""
    p = int64s(address, END)
    thread = take_ticket(address + 8 * THREAD)
    power = floats(p[SCRATCH] + thread * p[SCRATCH_BYTES], p[WIDTH])
    reals = floats(p[REALS], 4)
    low, high, exponent = reals[LOW], reals[HIGH], reals[EXPONENT]
    blocks = (p[PIXELS] + p[WIDTH] - 1) // p[WIDTH]
    sums, between = doubles(p[SUMS], blocks), int64s(p[BETWEEN], blocks)
    while True:
        block = take_ticket(address + 8 * BLOCK)
        if block >= blocks:
            return
        first = block * p[WIDTH]
        size = min(p[WIDTH], p[PIXELS] - first)
        value, valid = floats(p[VALUE] + 4 * first, size), bytes_(p[VALID] + first, size)
        share = floats(p[SHARE] + 4 * first, size)
        _take_powers(value, low, exponent, share, size)
        for i in range(size):
            kept = share[i]
            share[i] = kept if valid[i] != 0 else ZERO
        for i in range(size):
            power[i] = share[i] * (value[i] / low) if value[i] <= low else ZERO
        sums[block] = _add_up(power, size)
        between[block] = _count_between(value, valid, low, high, size)


@njit(**FLAGS)
def _take_powers(value, low, exponent, power, size):
    """(value / low)^exponent, at most 1; of NaN 0."""
    for i in range(size):
        below = (value[i] > ZERO) & (value[i] <= low)
        ratio = exponential(-exponent * log_ratio(low, value[i])) if below else ZERO
        power[i] = ONE if value[i] > low else ratio


@njit(**REORDERED)
def _add_up(power, size):
    total = 0.0
    for i in range(size):
        total += power[i]
    return total


@njit(**FLAGS)
def _count_between(value, valid, low, high, size):
    count = np.int32(0)
    for i in range(size):
        count += np.int32((valid[i] != 0) & (value[i] > low) & (value[i] < high))
    return count


@njit(**FLAGS)
def log_ratio(low, value):
    """log(low / value) of 0 < value <= low, where the ratio may be beyond all floats: `low` is from 1e-30 to 1e15."""
    is_far = value < low * _FAR
    ratio = low / (value * _LARGE if is_far else value)
    return logarithm(ratio) + (_LOG_LARGE if is_far else ZERO)


@njit(**FLAGS)
def find_between(address, version):
    """The ranked values between LOW and HIGH, those of each block from its place in BETWEEN on."""
    p = int64s(address, END)
    reals = floats(p[REALS], 4)
    low, high = reals[LOW], reals[HIGH]
    blocks = (p[PIXELS] + p[WIDTH] - 1) // p[WIDTH]
    ends = int64s(p[BETWEEN], blocks)
    while True:
        block = take_ticket(address + 8 * BLOCK)
        if block >= blocks:
            return
        place = ends[block - 1] if block > 0 else 0
        if ends[block] == place:
            continue
        first = block * p[WIDTH]
        size = min(p[WIDTH], p[PIXELS] - first)
        value, valid = floats(p[VALUE] + 4 * first, size), bytes_(p[VALID] + first, size)
        found = floats(p[FOUND], ends[block])
        for start in range(0, size, CHUNK):
            stop = min(start + CHUNK, size)
            if _count_between(value[start:stop], valid[start:stop], low, high, stop - start):
                for i in range(start, stop):
                    if (valid[i] != 0) & (value[i] > low) & (value[i] < high):
                        found[place] = value[i]
                        place += 1


@njit(**FLAGS)
def scale_powers(address, version):
    """FACTOR times the share of the values up to LOW; of those between LOW and HIGH it is (value / HIGH)^EXPONENT."""
    p = int64s(address, END)
    reals = floats(p[REALS], 4)
    low, high, exponent, factor = reals[LOW], reals[HIGH], reals[EXPONENT], reals[FACTOR]
    while True:
        first = take_ticket(address + 8 * BLOCK) * p[WIDTH]
        if first >= p[PIXELS]:
            return
        size = min(p[WIDTH], p[PIXELS] - first)
        value, valid = floats(p[VALUE] + 4 * first, size), bytes_(p[VALID] + first, size)
        share = floats(p[SHARE] + 4 * first, size)
        for i in range(size):
            share[i] *= factor if value[i] <= low else ONE
        for start in range(0, size, CHUNK):
            stop = min(start + CHUNK, size)
            if _count_between(value[start:stop], valid[start:stop], low, high, stop - start):
                for i in range(start, stop):
                    if (valid[i] != 0) & (value[i] > low) & (value[i] < high):
                        share[i] = exponential(-exponent * log_ratio(high, value[i]))
