"""The Lovasz extension of 1 - IoU of each class, and its slope at each pixel: a sort by radix and one walk.

A task is a class, so that nothing depends on which thread took it. Called with the address of their numbers (`Slot`),
as the kernels are.
"""

from enum import IntEnum, auto

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    REORDERED,
    ZERO,
    doubles,
    floats,
    int32s,
    int64s,
    take_ticket,
)


class Slot(IntEnum):
    """Places in the int64 numbers of a call; addresses are in bytes."""

    TASK = 0  # the counters of tasks and of threads, each in a cache line of its own
    THREAD = 8
    SCRATCH = 16  # address of the threads' buffers
    SCRATCH_BYTES = auto()  # of each thread
    IMAGES = auto()
    CLASSES = auto()
    PIXELS = auto()  # of an image
    PREDICTED = auto()  # fp32 (N, C, P)
    TRUE = auto()  # fp32 (N, C, P)
    MASS = auto()  # int64 (N, P)
    LOSS = auto()  # float64 (C,)
    SLOPE = auto()  # fp32 (N, C, P): that at what is predicted
    END = auto()


(
    TASK, THREAD, SCRATCH, SCRATCH_BYTES, IMAGES, CLASSES, PIXELS, PREDICTED, TRUE, MASS, LOSS, SLOPE, END,
) = (int(slot) for slot in Slot)  # fmt: skip

#: Digits of the sort: 11, 11 and 10 bits.
BITS = 11
BINS = 1 << BITS
#: Bytes of a thread's buffer for each pixel: two lists of keys and places. And beside them the counts.
BYTES_PER_PIXEL = 16
COUNT_BYTES = 3 * 4 * BINS


@njit(**FLAGS)
def walk(address, version):
    p = int64s(address, END)
    classes, all_pixels = p[CLASSES], p[IMAGES] * p[PIXELS]
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    mass, loss = int64s(p[MASS], all_pixels), doubles(p[LOSS], classes)
    while True:
        c = take_ticket(address + 8 * TASK)
        if c >= classes:
            return
        whole = _fill(p, c, mass, scratch)
        _sort(scratch, all_pixels)
        loss[c] = _follow(p, c, mass, whole, scratch)


@njit(**FLAGS)
def _lists(scratch, count, first):
    """Keys and places, of the first or the second list."""
    here = scratch + COUNT_BYTES + (0 if first else 8 * count)
    return int32s(here, count), int32s(here + 4 * count, count)


@njit(**FLAGS)
def _fill(p, c, mass, scratch):
    """Writes the key of each pixel, which rises as its error falls, true ones first where errors tie; and counts the
    digits. Returns the mass of the true pixels."""
    pixels, all_pixels = p[PIXELS], p[IMAGES] * p[PIXELS]
    _, places = _lists(scratch, all_pixels, True)
    counts = int32s(scratch, 3 * BINS)
    for k in range(3 * BINS):
        counts[k] = 0
    whole = 0
    for n in range(p[IMAGES]):
        at = 4 * (n * p[CLASSES] + c) * pixels
        predicted, true = floats(p[PREDICTED] + at, pixels), floats(p[TRUE] + at, pixels)
        here = int32s(scratch + COUNT_BYTES + 4 * n * pixels, pixels)
        error = floats(scratch + COUNT_BYTES + 4 * n * pixels, pixels)
        for i in range(pixels):
            error[i] = true[i] - predicted[i]
        for i in range(pixels):
            is_true = 1 if true[i] > 0.5 else 0
            # The bits of a float without its sign order as integers, NaN above all others.
            here[i] = ~((here[i] << 1) | is_true)
        for i in range(pixels):
            key, place = here[i], n * pixels + i
            places[place] = place
            whole += mass[place] if (key & 1) == 0 else 0
            counts[key & (BINS - 1)] += 1
            counts[BINS + ((key >> BITS) & (BINS - 1))] += 1
            counts[2 * BINS + ((key >> (2 * BITS)) & (BINS // 2 - 1))] += 1
    return whole


@njit(**FLAGS)
def _sort(scratch, count):
    """Three passes from the lowest digit on; what is sorted lies in the second list."""
    for turn in range(3):
        counts = int32s(scratch + 4 * BINS * turn, BINS)
        mask = BINS - 1 if turn < 2 else BINS // 2 - 1
        total = 0
        for k in range(mask + 1):
            here = counts[k]
            counts[k] = total
            total += here
        keys, places = _lists(scratch, count, turn != 1)
        new_keys, new_places = _lists(scratch, count, turn == 1)
        for i in range(count):
            digit = (keys[i] >> (BITS * turn)) & mask
            to = counts[digit]
            counts[digit] = to + 1
            new_keys[to] = keys[i]
            new_places[to] = places[i]


@njit(**FLAGS)
def _follow(p, c, mass, whole, scratch):
    """From the largest error down: what each pixel adds to 1 - IoU; those with the same key in proportion to their
    masses. Writes the slopes and returns the loss."""
    pixels, all_pixels = p[PIXELS], p[IMAGES] * p[PIXELS]
    keys, places = _lists(scratch, all_pixels, False)
    share = floats(scratch + COUNT_BYTES, all_pixels)  # where the first keys were, in the order of the pixels
    found, beside, before = 0, 0, 0.0
    start = 0
    while start < all_pixels:
        key, stop, total = keys[start], start, 0
        while stop < all_pixels and keys[stop] == key:
            total += mass[places[stop]]
            stop += 1
        if (key & 1) == 0:
            found += total
        else:
            beside += total
        union = whole + beside
        now = 1 - (whole - found) / max(union, 1) if union > 0 else 0.0
        rise, before = now - before, now
        for k in range(start, stop):
            share[places[k]] = np.float32(rise * mass[places[k]] / max(total, 1))
        start = stop
    loss = 0.0
    for n in range(p[IMAGES]):
        at = 4 * (n * p[CLASSES] + c) * pixels
        predicted, true = floats(p[PREDICTED] + at, pixels), floats(p[TRUE] + at, pixels)
        slope, here = floats(p[SLOPE] + at, pixels), floats(scratch + COUNT_BYTES + 4 * n * pixels, pixels)
        loss += _sum_products(true, predicted, here, pixels)
        for i in range(pixels):
            error = true[i] - predicted[i]
            slope[i] = -here[i] if error > 0 else (here[i] if error < 0 else ZERO * error)
    return loss


@njit(**REORDERED)
def _sum_products(true, predicted, share, pixels):
    total = 0.0
    for i in range(pixels):
        total += abs(true[i] - predicted[i]) * share[i]
    return total
