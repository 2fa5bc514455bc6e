"""Criteria that look at the labels around a pixel: any class that is near will do, or labels softened by those nearby.

Pixels of which all in the window have one class are as in cross-entropy. The others of a block are listed: of nearly
all `Slot.SECOND` has the one other class that is near, and where there are more the window is read.
"""

from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ONE,
    ZERO,
    exponential,
    floats,
    int16s,
    int32s,
    logarithm,
)
from segkit.losses.kernels.cpu.loops.criteria.slots import (
    CLASS_WEIGHTS,
    LARGEST,
    PIXELS,
    SECOND,
    SHARE,
)
from segkit.losses.kernels.cpu.loops.criteria.window import find_buffers, list_mixed, read_window


@njit(**FLAGS)
def value_relaxed(q, x, step, label, first, classes, size, largest, log_sum, ce, near, value):
    for i in range(size):
        value[i] = ce[i] if label[i] >= 0 else ZERO
    pairs, n, others, m = list_mixed(q[SECOND] + 2 * first, size, near)
    second, image = int16s(q[SECOND] + 2 * first, size), first - first % q[PIXELS]
    if classes == 2:
        for k in range(n):  # both are near: nothing is missing, and NaN stays
            i = pairs[k]
            value[i] = log_sum[i] - log_sum[i]
        return
    high, low = find_buffers(near)[2:]
    for k in range(n):
        i = pairs[k]
        high[k] = floats(x + label[i] * step + 4 * i, 1)[0]
        low[k] = floats(x + second[i] * step + 4 * i, 1)[0]
    for k in range(n):
        larger = high[k] if high[k] > low[k] else low[k]
        smaller = low[k] if high[k] > low[k] else high[k]
        high[k], low[k] = larger, logarithm(ONE + exponential(smaller - larger))
    for k in range(n):
        i = pairs[k]
        inside = (largest[i] - high[k]) + (log_sum[i] - low[k])
        value[i] = ZERO if inside < 0 else inside  # by rounding
    for k in range(m):
        i = others[k]
        count = read_window(q, image, first - image + i, classes, near, True)
        top, rest = _sum_near(x + 4 * i, step, int32s(near, LARGEST), count)
        inside = (largest[i] - top) + (log_sum[i] - logarithm(rest))
        inside = ZERO if inside < 0 else inside
        value[i] = inside if count < classes else log_sum[i] - log_sum[i]


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
def take_relaxed(q, x, step, label, first, classes, size, log_sum, slope, out, out_step, amount, near):
    """Of `out`, which is slope x p: what the classes that are near have of the probability of all these."""
    for i in range(size):
        amount[i] = slope[i]
    pairs, n, others, m = list_mixed(q[SECOND] + 2 * first, size, near)
    second, image = int16s(q[SECOND] + 2 * first, size), first - first % q[PIXELS]
    own, other = find_buffers(near)[2:]
    for k in range(n):
        i = pairs[k]
        own[k] = floats(x + label[i] * step + 4 * i, 1)[0]
        other[k] = floats(x + second[i] * step + 4 * i, 1)[0]
    for k in range(n):
        less = own[k] - other[k]
        part = exponential(less if less < 0 else -less)
        larger = ONE / (ONE + part)
        smaller = larger * part
        own[k], other[k] = (smaller, larger) if less < 0 else (larger, smaller)
    for k in range(n):
        i = pairs[k]
        if slope[i] != 0:
            amount[i] = slope[i] * own[k]
            floats(out + second[i] * out_step + 4 * i, 1)[0] -= slope[i] * other[k]
    for k in range(m):
        amount[others[k]] = ZERO
    take(label, slope, amount, size, out, out_step)
    found = int32s(near, LARGEST)
    for k in range(m):
        i = others[k]
        if slope[i] == 0:
            continue
        count = read_window(q, image, first - image + i, classes, near, True)
        if count == classes:
            _clear(out + 4 * i, out_step, classes, log_sum[i])
            continue
        high, total = _sum_near(x + 4 * i, step, found, count)
        for j in range(count):
            z = floats(x + found[j] * step + 4 * i, 1)[0]
            floats(out + found[j] * out_step + 4 * i, 1)[0] -= slope[i] * exponential(z - high) / total
    if classes == 2:
        for k in range(n):
            if slope[pairs[k]] != 0:
                _clear(out + 4 * pairs[k], out_step, classes, log_sum[pairs[k]])


@njit(**FLAGS)
def _clear(out, out_step, classes, log_sum):
    """The gradient of a pixel near which all classes are: nothing, and NaN stays."""
    for c in range(classes):
        floats(out + c * out_step, 1)[0] = log_sum - log_sum


@njit(**FLAGS)
def take(label, slope, amount, size, out, out_step):
    """An amount from the gradient at each pixel's class, where it has a slope."""
    for i in range(size):
        if slope[i] != 0:
            floats(out + label[i] * out_step + 4 * i, 1)[0] -= amount[i]


@njit(**FLAGS)
def value_smoothed(q, x, step, label, first, classes, size, largest, log_sum, ce, near, value):
    for i in range(size):
        value[i] = ce[i] if label[i] >= 0 else ZERO
    _weigh_by_class(q, label, size, value)
    pairs, n, others, m = list_mixed(q[SECOND] + 2 * first, size, near)
    second, image = int16s(q[SECOND] + 2 * first, size), first - first % q[PIXELS]
    share = floats(q[SHARE] + 4 * first, size)
    for k in range(n):
        i = pairs[k]
        weight = (ONE - share[i]) * _class_weight(q, second[i])
        value[i] *= share[i]
        if weight != 0:  # 0 x infinity is 0
            z = floats(x + second[i] * step + 4 * i, 1)[0]
            value[i] += weight * ((largest[i] - z) + log_sum[i])
    for k in range(m):
        i = others[k]
        count = read_window(q, image, first - image + i, classes, near, False)
        value[i] = _average(q, x + 4 * i, step, largest[i], log_sum[i], count, near)


@njit(**FLAGS)
def _class_weight(q, label):
    return ONE if q[CLASS_WEIGHTS] == 0 else floats(q[CLASS_WEIGHTS] + 4 * label, 1)[0]


@njit(**FLAGS)
def _weigh_by_class(q, label, size, numbers):
    """Times the weight of each pixel's class, of class 0 where it has none."""
    if q[CLASS_WEIGHTS] != 0:
        for i in range(size):
            numbers[i] *= floats(q[CLASS_WEIGHTS] + 4 * max(label[i], 0), 1)[0]


@njit(**FLAGS)
def _average(q, x, step, largest, log_sum, count, near):
    """The mean of a pixel's cross-entropies for the labels in its window, by their weights and those of the classes."""
    there, total = ZERO, ZERO
    found, window = int32s(near, LARGEST), find_buffers(near)[2]
    for n in range(count):
        there += window[n]
        weight = window[n] * _class_weight(q, found[n])
        if weight != 0:  # 0 x infinity is 0
            total += weight * ((largest - floats(x + found[n] * step, 1)[0]) + log_sum)
    return total / there


@njit(**FLAGS)
def scale_smoothed(q, label, first, classes, size, slope, scaled, near):
    """The slope times the sum of the soft labels, each weighed by its class: without class weights that is 1."""
    for i in range(size):
        scaled[i] = slope[i]
    if q[CLASS_WEIGHTS] == 0:
        return
    _weigh_by_class(q, label, size, scaled)
    pairs, n, others, m = list_mixed(q[SECOND] + 2 * first, size, near)
    second, image = int16s(q[SECOND] + 2 * first, size), first - first % q[PIXELS]
    share = floats(q[SHARE] + 4 * first, size)
    for k in range(n):
        i = pairs[k]
        scaled[i] = share[i] * scaled[i] + slope[i] * (ONE - share[i]) * _class_weight(q, second[i])
    for k in range(m):
        i = others[k]
        count = read_window(q, image, first - image + i, classes, near, False)
        scaled[i] = slope[i] * _sum_weights(q, count, near, True) / _sum_weights(q, count, near, False)


@njit(**FLAGS)
def _sum_weights(q, count, near, by_class):
    total = ZERO
    found, window = int32s(near, LARGEST), find_buffers(near)[2]
    for n in range(count):
        total += window[n] * _class_weight(q, found[n]) if by_class else window[n]
    return total


@njit(**FLAGS)
def take_smoothed(q, label, first, classes, size, slope, out, out_step, amount, near):
    """Of `out`, which is slope x p: what the soft labels are."""
    for i in range(size):
        amount[i] = slope[i]
    _weigh_by_class(q, label, size, amount)
    pairs, n, others, m = list_mixed(q[SECOND] + 2 * first, size, near)
    second, image = int16s(q[SECOND] + 2 * first, size), first - first % q[PIXELS]
    share = floats(q[SHARE] + 4 * first, size)
    for k in range(n):
        i = pairs[k]
        amount[i] *= share[i]
        other = slope[i] * (ONE - share[i]) * _class_weight(q, second[i])
        floats(out + second[i] * out_step + 4 * i, 1)[0] -= other
    for k in range(m):
        amount[others[k]] = ZERO
    take(label, slope, amount, size, out, out_step)
    found, window = int32s(near, LARGEST), find_buffers(near)[2]
    for k in range(m):
        i = others[k]
        if slope[i] != 0:
            count = read_window(q, image, first - image + i, classes, near, False)
            part = slope[i] / _sum_weights(q, count, near, False)
            for n in range(count):
                weight = part * window[n] * _class_weight(q, found[n])
                floats(out + found[n] * out_step + 4 * i, 1)[0] -= weight
