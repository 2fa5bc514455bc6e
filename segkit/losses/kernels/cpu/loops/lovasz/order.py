"""The pixels of a class in the order of their errors, and the slopes that this gives them."""

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ONE,
    ZERO,
    doubles,
    exponential,
    floats,
    from_bits,
    int32s,
    int64s,
    take_ticket,
)
from segkit.losses.kernels.cpu.loops.blocks import clear_bytes
from segkit.losses.kernels.cpu.loops.lovasz.slots import (
    ABSENT,
    CLASSES,
    END,
    IMAGES,
    LABEL,
    LARGEST,
    LEAST,
    LOG_SUM,
    LOGITS,
    LOSS,
    MASS,
    PIXELS,
    SCRATCH,
    SCRATCH_BYTES,
    SLOPE,
    TASK,
    THREAD,
    WHOLE,
)
from segkit.losses.kernels.cpu.loops.lovasz.sort import BINS, sort_list

#: Pixels whose keys are made at once.
CHUNK = 2048
#: Of these, so many are looked at together for one whose key is above the limit.
GROUP = 16
#: Bytes of a thread's buffer for `walk`: for each pixel, two lists of keys and places; and beside them.
BYTES_PER_PIXEL, MORE_BYTES = 16, 4 * (BINS + CHUNK) + 64


@njit(**FLAGS)
def walk(address, version):
    p = int64s(address, END)
    classes, all_pixels = p[CLASSES], p[IMAGES] * p[PIXELS]
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    lists = scratch + MORE_BYTES, scratch + MORE_BYTES + 8 * all_pixels + 64
    loss, whole, least = doubles(p[LOSS], classes), int64s(p[WHOLE], classes), int32s(p[LEAST], classes)
    while True:
        c = take_ticket(address + 8 * TASK)
        if c >= classes:
            return
        loss[c] = 0.0
        if whole[c] > 0:
            limit = 2 * np.int64(least[c])  # of the keys
        elif p[ABSENT]:
            _, largest = _list(p, c, 2**31 - 1, scratch, lists[0])
            limit = max(largest - 1, 0)  # only the largest errors have slopes
        else:
            continue
        count, largest = _list(p, c, limit, scratch, lists[0])
        first_is_sorted = sort_list(lists[0], lists[1], count, limit, largest, scratch)
        loss[c] = _follow(p, c, whole[c], lists[0] if first_is_sorted else lists[1], count)


@njit(**FLAGS)
def _list(p, c, limit, scratch, list_address):
    """Writes a list of the pixels whose keys are above the limit, key x 2^32 + place, and slopes of 0 for all. Returns
    how many these are, and the largest key."""
    pixels = p[PIXELS]
    listed = int64s(list_address, p[IMAGES] * pixels + 1)
    count, largest_key = 0, 0
    for n in range(p[IMAGES]):
        for start in range(0, pixels, CHUNK):
            size, first = min(CHUNK, pixels - start), n * pixels + start
            keys = int32s(scratch + 4 * BINS, size)
            clear_bytes(p[SLOPE] + 4 * (c * p[IMAGES] * pixels + first), 4 * size)
            largest_key = max(largest_key, _make_keys(p, c, n, first, start, size, scratch + 4 * BINS))
            whole = size // GROUP * GROUP
            for group in range(0, whole, GROUP):
                if _has_larger(scratch + 4 * (BINS + group), np.int32(limit)):
                    for i in range(group, group + GROUP):
                        listed[count] = (np.int64(keys[i]) << 32) | (first + i)
                        count += keys[i] > limit
            for i in range(whole, size):
                listed[count] = (np.int64(keys[i]) << 32) | (first + i)
                count += keys[i] > limit
    return count, largest_key


@njit(**FLAGS)
def _has_larger(address, limit):
    """Whether one of so many keys as are a group is above the limit."""
    keys, found = int32s(address, GROUP), np.int32(0)
    for i in range(GROUP):
        found |= np.int32(1) if keys[i] > limit else np.int32(0)
    return found != 0


@njit(**FLAGS)
def _make_keys(p, c, n, first, start, size, address):
    """The keys of some pixels: they rise with the error, true pixels above others whose error is the same; 0 of those
    that have no mass. Returns the largest."""
    x = floats(p[LOGITS] + 4 * ((n * p[CLASSES] + c) * p[PIXELS] + start), size)
    largest, log_sum = floats(p[LARGEST] + 4 * first, size), floats(p[LOG_SUM] + 4 * first, size)
    zero, one = np.int32(0), np.int32(1)
    label, error, keys = int32s(p[LABEL] + 4 * first, size), floats(address, size), int32s(address, size)
    for i in range(size):
        probability = exponential(x[i] - largest[i] - log_sum[i])
        error[i] = abs((ONE if label[i] == c else ZERO) - probability)
    for i in range(size):
        # The bits of a float without its sign order as integers.
        key = np.int32(keys[i] + keys[i]) + (one if label[i] == c else zero)
        keys[i] = key if label[i] >= 0 else zero
    if p[MASS] != 0:
        mass = int64s(p[MASS] + 8 * first, size)
        for i in range(size):
            keys[i] = keys[i] if mass[i] > 0 else zero
    top = zero
    for i in range(size):
        top = keys[i] if keys[i] > top else top
    return np.int64(top)


@njit(**FLAGS)
def _follow(p, c, whole, address, count):
    """From the largest error down: what each pixel adds to 1 - IoU; those with the same key in proportion to their
    masses. Writes the slopes and returns the loss."""
    all_pixels = p[IMAGES] * p[PIXELS]
    listed, slope = int64s(address, count), floats(p[SLOPE] + 4 * c * all_pixels, all_pixels)
    has_mass = p[MASS] != 0
    mass = int64s(p[MASS], all_pixels if has_mass else 0)
    found, beside, loss, start = 0, 0, 0.0, 0
    while start < count and (found < whole or start == 0):
        key, stop, total = listed[start] >> 32, start, 0
        while stop < count and listed[stop] >> 32 == key:
            total += mass[listed[stop] & 0xFFFFFFFF] if has_mass else 1
            stop += 1
        is_true = key & 1
        union = np.float64(whole + beside)
        # Of 1 - (whole - found) / union: true pixels lower what is above, others raise what is below.
        rise = (1.0 if is_true else np.float64(whole - found)) / (
            union if is_true else union * (union + total)
        )
        rise = rise if whole > 0 else 1.0 / total
        found += total if is_true else 0
        beside += 0 if is_true else total
        error = from_bits(key >> 1)
        for k in range(start, stop):
            at = listed[k] & 0xFFFFFFFF
            share = np.float32(rise * mass[at] if has_mass else rise)
            loss += error * share
            slope[at] = ZERO if error == ZERO else (-share if is_true else share)
        start = stop
    return loss
