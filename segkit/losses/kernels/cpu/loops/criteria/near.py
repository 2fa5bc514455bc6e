"""Criteria that look at the labels around a pixel: any class that is near will do, or labels softened by those nearby.

Pixels of which all in the window have one class are as in cross-entropy; `Slot.MIXED` says which are not, and for
border relaxation `Slot.MASKS` which classes there are.
"""

from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ONE,
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
from segkit.losses.kernels.cpu.loops.criteria.slots import (
    CLASS_WEIGHTS,
    COLUMNS,
    FAR,
    IGNORE_INDEX,
    LARGEST,
    MIXED,
    NUMBERS,
    PIXELS,
    RADIUS,
    TARGET,
    TARGET_KIND,
    TINY,
    VALUE,
)
from segkit.losses.kernels.cpu.loops.criteria.sums import find_bit, find_masks, is_any


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
def value_relaxed(q, x, step, label, first, size, largest, log_sum, ce, lines, near, value):
    mixed, total, found = bytes_(q[MIXED] + first, size), floats(lines, size), int32s(near, LARGEST)
    for i in range(size):
        value[i] = ce[i] if label[i] >= 0 else ZERO
    if not is_any(mixed, size):
        return
    for i in range(size):
        # If all classes are near both sums have the same bits, and nothing is left of their logarithms.
        inside = log_sum[i] - logarithm(total[i])
        inside = ZERO if inside < 0 else inside  # by rounding
        value[i] = inside if (mixed[i] != 0) & (label[i] >= 0) else value[i]
    for i in range(size):
        if mixed[i] != 0 and label[i] >= 0 and total[i] < TINY:
            count = _read_window(q, first + i, label[i], near)
            high, rest = _sum_near(x + 4 * i, step, found, count)
            value[i] = (largest[i] - high) + (log_sum[i] - logarithm(rest))


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
def slope_relaxed(
    q, x, step, label, first, classes, size, largest, log_sum, slope, out, out_step, lines, near
):
    mixed, value = bytes_(q[MIXED] + first, size), floats(q[VALUE] + 4 * first, size)
    if not is_any(mixed, size):
        weigh(x, step, classes, size, largest, log_sum, slope, out, out_step)
        for i in range(size):
            if slope[i] != 0:
                floats(out + label[i] * out_step + 4 * i, 1)[0] -= slope[i]
        return
    # p (1 - 1 / P) of the classes found, P the probability of all.
    factor, found = floats(lines, size), int32s(near, LARGEST)
    for i in range(size):
        inside = ONE - ONE / exponential(-value[i])
        factor[i] = inside if (mixed[i] != 0) & (value[i] <= FAR) else ONE
    for c in range(classes):
        row, result = floats(x + c * step, size), floats(out + c * out_step, size)
        mask, bit = find_masks(q, c, first, size), find_bit(c)
        for i in range(size):
            p = exponential(row[i] - largest[i] - log_sum[i])
            p = p * factor[i] if mask[i] & bit != 0 else p
            result[i] = slope[i] * p if slope[i] != 0 else ZERO
    for i in range(size):
        if slope[i] == 0:
            continue
        if mixed[i] == 0:
            floats(out + label[i] * out_step + 4 * i, 1)[0] -= slope[i]
        elif not value[i] <= FAR:  # p may be 0, and 1 / P infinite
            count = _read_window(q, first + i, label[i], near)
            high, total = _sum_near(x + 4 * i, step, found, count)
            for k in range(count):
                z = floats(x + found[k] * step + 4 * i, 1)[0]
                floats(out + found[k] * out_step + 4 * i, 1)[0] -= slope[i] * exponential(z - high) / total


@njit(**FLAGS)
def weigh(x, step, classes, size, largest, log_sum, slope, out, out_step):
    """slope x p of each class."""
    for c in range(classes):
        row, result = floats(x + c * step, size), floats(out + c * out_step, size)
        for i in range(size):
            p = exponential(row[i] - largest[i] - log_sum[i])
            result[i] = slope[i] * p if slope[i] != 0 else ZERO


@njit(**FLAGS)
def value_smoothed(q, x, step, label, first, classes, size, largest, log_sum, ce, near, value):
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
def slope_smoothed(
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
    weigh(x, step, classes, size, largest, log_sum, scaled, out, out_step)
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
