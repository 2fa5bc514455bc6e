"""Criteria that look at all logits of a pixel, or at its neighbours: their value and gradient, for a block of pixels.

Both kernels of cross-entropy call them with a block of logits x (classes, pixels) in fp32, wherever it came from, and
with what they know of each pixel: its label, -1 if it does not count, its largest logit, and the logarithm of the sum
of the exponentials of what all are less than that. `Slot` are the places in the numbers of a criterion; what these mean
says `criteria` of the folder above.
"""

import math
from enum import IntEnum, auto

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ONE,
    REORDERED,
    ZERO,
    bytes_,
    exponential,
    floats,
    int8s,
    int16s,
    int32s,
    int64s,
    logarithm,
)
from segkit.losses.kernels.cpu.loops.blocks import INT8, INT16, INT64, UINT8

#: What `Slot.KIND` may be.
MARGIN, RELAXED, SMOOTHED, DISTANCE = 1, 2, 3, 4


class Slot(IntEnum):
    """Places in the int64 numbers of a criterion."""

    KIND = 0
    VALUE = auto()  # fp32 (N, P): forward writes it, backward of some reads it
    NUMBERS = auto()  # fp32: of MARGIN margin and strength; of SMOOTHED the weights of the window
    PIXELS = auto()  # of an image
    COLUMNS = auto()  # of an image
    RADIUS = auto()
    MIXED = auto()  # bytes (N, P): whether a pixel has another label in its window
    CLASS_WEIGHTS = auto()  # fp32 (C,), or 0: every class weighs 1
    TARGET = auto()
    TARGET_KIND = auto()
    TARGET_BYTES = auto()
    IGNORE_INDEX = auto()
    MAPS = auto()  # fp32 (N, K, P)
    PLANES = auto()  # int32 (C,): which of the K maps a class has, or -1
    MAP_COUNT = auto()  # K
    END = auto()


(
    KIND, VALUE, NUMBERS, PIXELS, COLUMNS, RADIUS, MIXED, CLASS_WEIGHTS, TARGET, TARGET_KIND, TARGET_BYTES,
    IGNORE_INDEX, MAPS, PLANES, MAP_COUNT, END,
) = (int(slot) for slot in Slot)  # fmt: skip

#: A value beyond which the probability of all classes found is tiny.
FAR = np.float32(20)
#: Pixels of the largest window, and the bytes of a buffer for the classes and weights in it.
LARGEST = 21 * 21
NEAR = 8 * LARGEST


@njit(**FLAGS)
def write_value(criterion, x, step, label, first, classes, size, largest, log_sum, ce, lines, near):
    """The value of `size` pixels from the one numbered `first`; `lines` and `near` are buffers, see below."""
    q = int64s(criterion, END)
    value = floats(q[VALUE] + 4 * first, size)
    if q[KIND] == MARGIN:
        _value_margin(x, step, label, classes, size, largest, ce, floats(q[NUMBERS], 2), value)
    elif q[KIND] == RELAXED:
        _value_relaxed(q, x, step, label, first, classes, size, largest, log_sum, ce, near, value)
    elif q[KIND] == SMOOTHED:
        _value_smoothed(q, x, step, label, first, classes, size, largest, log_sum, ce, near, value)
    else:
        _value_distance(q, x, step, label, first, classes, size, largest, log_sum, lines, value)


@njit(**FLAGS)
def write_criterion_gradient(
    criterion,
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
    line_step,
    near,
):
    """The gradient at x into `out`, which is not x; exactly 0 where the `slope`, that at the value, is 0. `lines` has
    two rows of one number per pixel, `near` so many bytes as `NEAR`."""
    q = int64s(criterion, END)
    if q[KIND] == MARGIN:
        _slope_margin(
            q, x, step, label, classes, size, largest, log_sum, slope, out, out_step, lines, line_step
        )
    elif q[KIND] == RELAXED:
        _slope_relaxed(q, x, step, label, first, classes, size, largest, log_sum, slope, out, out_step, near)
    elif q[KIND] == SMOOTHED:
        _slope_smoothed(
            q, x, step, label, first, classes, size, largest, log_sum, slope, out, out_step, lines, near
        )
    else:
        _slope_distance(
            q, x, step, label, first, classes, size, largest, log_sum, slope, out, out_step, lines
        )


@njit(**FLAGS)
def _value_margin(x, step, label, classes, size, largest, ce, numbers, value):
    margin, strength = numbers[0], numbers[1]
    for i in range(size):
        value[i] = ZERO
    for c in range(classes):
        row = floats(x + c * step, size)
        for i in range(size):
            excess = (largest[i] - row[i]) - margin
            value[i] += excess if excess > 0 else ZERO
    for i in range(size):
        value[i] = ce[i] + strength * value[i] if label[i] >= 0 else ZERO


@njit(**FLAGS)
def _slope_margin(q, x, step, label, classes, size, largest, log_sum, slope, out, out_step, lines, line_step):
    # Few arrays in each loop: a compiler looks whether they overlap before it takes vectors, and soon gives up.
    margin, strength = floats(q[NUMBERS], 2)[0], floats(q[NUMBERS], 2)[1]
    beyond, ties = floats(lines, size), floats(lines + line_step, size)
    _weigh(x, step, classes, size, largest, log_sum, slope, out, out_step)
    for i in range(size):
        if slope[i] != 0:
            floats(out + label[i] * out_step + 4 * i, 1)[0] -= slope[i]
    _count_beyond(x, step, classes, size, largest, margin, beyond)
    if not _any(beyond, size):
        return
    for i in range(size):
        ties[i] = ZERO
    for c in range(classes):
        row = floats(x + c * step, size)
        for i in range(size):
            ties[i] += ONE if row[i] == largest[i] else ZERO
    for i in range(size):
        ties[i] = slope[i] * strength * beyond[i] / ties[i] if slope[i] != 0 else ZERO
    for i in range(size):
        beyond[i] = slope[i] * strength
    for c in range(classes):
        row, result = floats(x + c * step, size), floats(out + c * out_step, size)
        for i in range(size):
            result[i] -= beyond[i] if (largest[i] - row[i]) - margin > 0 else ZERO
        for i in range(size):
            result[i] += ties[i] if row[i] == largest[i] else ZERO


@njit(**FLAGS)
def _count_beyond(x, step, classes, size, largest, margin, beyond):
    """How many classes of each pixel are farther from its largest logit than the margin."""
    for i in range(size):
        beyond[i] = ZERO
    for c in range(classes):
        row = floats(x + c * step, size)
        for i in range(size):
            beyond[i] += ONE if (largest[i] - row[i]) - margin > 0 else ZERO


@njit(**REORDERED)
def _any(row, size):
    total = ZERO
    for i in range(size):
        total += row[i]
    return total != 0


@njit(**FLAGS)
def _read_window(q, pixel, own, near):
    """The classes of the valid pixels in the window around a pixel, each once, and the sum of their weights, in `near`:
    how many. The pixel's own is the first."""
    if q[TARGET_KIND] == UINT8:
        return _gather(q, bytes_(q[TARGET], pixel + 1), pixel, own, near)
    if q[TARGET_KIND] == INT64:
        return _gather(q, int64s(q[TARGET], pixel + 1), pixel, own, near)
    if q[TARGET_KIND] == INT8:
        return _gather(q, int8s(q[TARGET], pixel + 1), pixel, own, near)
    if q[TARGET_KIND] == INT16:
        return _gather(q, int16s(q[TARGET], pixel + 1), pixel, own, near)
    return _gather(q, int32s(q[TARGET], pixel + 1), pixel, own, near)


@njit(**FLAGS)
def _gather(q, target, pixel, own, near):
    radius, columns, pixels, ignored = q[RADIUS], q[COLUMNS], q[PIXELS], q[IGNORE_INDEX]
    found, weights = int32s(near, LARGEST), floats(near + 4 * LARGEST, LARGEST)
    side = 2 * radius + 1
    given = floats(q[NUMBERS], side * side)
    place = pixel % pixels
    y, x = place // columns, place % columns
    first_row, last_row = max(y - radius, 0), min(y + radius, pixels // columns - 1)
    first, last = max(x - radius, 0), min(x + radius, columns - 1)
    found[0], weights[0] = own, ZERO
    count = 1
    for row in range(first_row, last_row + 1):
        there = pixel + (row - y) * columns - x
        at = (row - y + radius) * side - x + radius
        for column in range(first, last + 1):
            number = target[there + column]
            if number == ignored:
                continue
            k = 0
            while k < count and found[k] != number:
                k += 1
            if k == count:
                found[k], weights[k] = number, ZERO
                count += 1
            weights[k] += given[at + column]
    return count


@njit(**FLAGS)
def _value_relaxed(q, x, step, label, first, classes, size, largest, log_sum, ce, near, value):
    mixed, found = bytes_(q[MIXED] + first, size), int32s(near, LARGEST)
    for i in range(size):
        value[i] = ce[i] if label[i] >= 0 else ZERO
    for i in range(size):
        if mixed[i] != 0 and label[i] >= 0:
            count = _read_window(q, first + i, label[i], near)
            high, total = _sum_near(x + 4 * i, step, found, count)
            value[i] = -_inside(high, total, largest[i], log_sum[i], count == classes)


@njit(**FLAGS)
def _sum_near(x, step, found, count):
    """The largest logit of the classes found, and the sum of the exponentials of what the others are less."""
    high = floats(x + found[0] * step, 1)[0]
    for k in range(1, count):
        z = floats(x + found[k] * step, 1)[0]
        high = z if z > high else high
    total = ZERO
    for k in range(count):
        total += exponential(floats(x + found[k] * step, 1)[0] - high)
    return high, total


@njit(**FLAGS)
def _inside(high, total, largest, log_sum, is_all):
    """log of the probability of all classes found; exactly 0 if these are all there are."""
    if is_all:
        return ZERO * log_sum  # which may be NaN
    log_p = (high - largest) + (logarithm(total) - log_sum)
    return log_p if not log_p > 0 else ZERO  # by rounding


@njit(**FLAGS)
def _slope_relaxed(q, x, step, label, first, classes, size, largest, log_sum, slope, out, out_step, near):
    mixed, value = bytes_(q[MIXED] + first, size), floats(q[VALUE] + 4 * first, size)
    found = int32s(near, LARGEST)
    _weigh(x, step, classes, size, largest, log_sum, slope, out, out_step)
    for i in range(size):
        if slope[i] == 0:
            continue
        if mixed[i] == 0:
            floats(out + label[i] * out_step + 4 * i, 1)[0] -= slope[i]
            continue
        count = _read_window(q, first + i, label[i], near)
        # p (1 - 1 / P) of the classes found, P the probability of all.
        if not value[i] > FAR:
            factor = -math.expm1(value[i])
            for k in range(count):
                floats(out + found[k] * out_step + 4 * i, 1)[0] *= factor
        else:  # p may be 0, and 1 / P infinite
            high, total = _sum_near(x + 4 * i, step, found, count)
            for k in range(count):
                z = floats(x + found[k] * step + 4 * i, 1)[0]
                floats(out + found[k] * out_step + 4 * i, 1)[0] -= slope[i] * exponential(z - high) / total


@njit(**FLAGS)
def _weigh(x, step, classes, size, largest, log_sum, slope, out, out_step):
    """slope x p of each class."""
    for c in range(classes):
        row, result = floats(x + c * step, size), floats(out + c * out_step, size)
        for i in range(size):
            p = exponential(row[i] - largest[i] - log_sum[i])
            result[i] = slope[i] * p if slope[i] != 0 else ZERO


@njit(**FLAGS)
def _value_smoothed(q, x, step, label, first, classes, size, largest, log_sum, ce, near, value):
    mixed, found = bytes_(q[MIXED] + first, size), int32s(near, LARGEST)
    for i in range(size):
        value[i] = ce[i] if label[i] >= 0 else ZERO
    if q[CLASS_WEIGHTS] != 0:
        class_weights = floats(q[CLASS_WEIGHTS], classes)
        for i in range(size):
            value[i] = value[i] * class_weights[max(label[i], 0)]
    for i in range(size):
        if mixed[i] != 0 and label[i] >= 0:
            count = _read_window(q, first + i, label[i], near)
            weights = _share_out(q, near, count)
            total = ZERO
            for k in range(count):
                if weights[k] != 0:  # 0 x infinity is 0
                    z = floats(x + found[k] * step + 4 * i, 1)[0]
                    total += weights[k] * ((largest[i] - z) + log_sum[i])
            value[i] = total


@njit(**FLAGS)
def _share_out(q, near, count):
    """The weights of what is in the window, divided by their sum, at least 1, and times those of its classes."""
    found, weights = int32s(near, LARGEST), floats(near + 4 * LARGEST, LARGEST)
    total = ZERO
    for k in range(count):
        total += weights[k]
    total = total if total > ONE else ONE
    for k in range(count):
        weights[k] /= total
        if q[CLASS_WEIGHTS] != 0:
            weights[k] *= floats(q[CLASS_WEIGHTS] + 4 * found[k], 1)[0]
    return weights


@njit(**FLAGS)
def _slope_smoothed(
    q, x, step, label, first, classes, size, largest, log_sum, slope, out, out_step, lines, near
):
    mixed, found = bytes_(q[MIXED] + first, size), int32s(near, LARGEST)
    scaled = floats(lines, size)
    for i in range(size):
        scaled[i] = slope[i]
    if q[CLASS_WEIGHTS] != 0:  # else the labels sum to 1
        class_weights = floats(q[CLASS_WEIGHTS], classes)
        for i in range(size):
            scaled[i] = slope[i] * class_weights[max(label[i], 0)] if slope[i] != 0 else ZERO
        for i in range(size):
            if mixed[i] != 0 and slope[i] != 0:
                count = _read_window(q, first + i, label[i], near)
                weights = _share_out(q, near, count)
                total = ZERO
                for k in range(count):
                    total += weights[k]
                scaled[i] = slope[i] * total
    _weigh(x, step, classes, size, largest, log_sum, scaled, out, out_step)
    for i in range(size):
        if slope[i] == 0:
            continue
        if mixed[i] == 0:
            floats(out + label[i] * out_step + 4 * i, 1)[0] -= scaled[i]
            continue
        count = _read_window(q, first + i, label[i], near)
        weights = _share_out(q, near, count)
        for k in range(count):
            floats(out + found[k] * out_step + 4 * i, 1)[0] -= slope[i] * weights[k]


@njit(**FLAGS)
def _find_map(q, c, first):
    """Where the map of a class begins for the pixel `first`, or 0 if it has none."""
    plane = int32s(q[PLANES], c + 1)[c]
    if plane < 0:
        return 0
    image, place = first // q[PIXELS], first % q[PIXELS]
    return q[MAPS] + 4 * ((image * q[MAP_COUNT] + plane) * q[PIXELS] + place)


@njit(**FLAGS)
def _read_own(q, label, first, size, own):
    """The map of each pixel's true class there, 0 if it has none."""
    for i in range(size):
        there = _find_map(q, max(label[i], 0), first)
        own[i] = floats(there + 4 * i, 1)[0] if there != 0 else ZERO


@njit(**FLAGS)
def _value_distance(q, x, step, label, first, classes, size, largest, log_sum, lines, value):
    """sum_c p_c (d_c - d_t) / K: what is right adds exactly nothing."""
    own = floats(lines, size)
    _read_own(q, label, first, size, own)
    for i in range(size):
        value[i] = ZERO
    for c in range(classes):
        row, there = floats(x + c * step, size), _find_map(q, c, first)
        if there != 0:
            distance = floats(there, size)
            for i in range(size):
                value[i] += exponential(row[i] - largest[i] - log_sum[i]) * (distance[i] - own[i])
        else:
            for i in range(size):
                value[i] -= exponential(row[i] - largest[i] - log_sum[i]) * own[i]
    share = ONE / np.float32(q[MAP_COUNT])
    for i in range(size):
        value[i] = value[i] * share if label[i] >= 0 else ZERO


@njit(**FLAGS)
def _slope_distance(q, x, step, label, first, classes, size, largest, log_sum, slope, out, out_step, lines):
    own, value = floats(lines, size), floats(q[VALUE] + 4 * first, size)
    _read_own(q, label, first, size, own)
    share = ONE / np.float32(q[MAP_COUNT])
    for c in range(classes):
        row, result = floats(x + c * step, size), floats(out + c * out_step, size)
        there = _find_map(q, c, first)
        if there != 0:
            distance = floats(there, size)
            for i in range(size):
                p = exponential(row[i] - largest[i] - log_sum[i])
                p = slope[i] * p * ((distance[i] - own[i]) * share - value[i])
                result[i] = p if slope[i] != 0 else ZERO
        else:
            for i in range(size):
                p = exponential(row[i] - largest[i] - log_sum[i])
                p = slope[i] * p * (-own[i] * share - value[i])
                result[i] = p if slope[i] != 0 else ZERO
