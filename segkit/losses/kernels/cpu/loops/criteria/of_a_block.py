"""Criteria that look at all logits of a pixel, or at its neighbours: their value and gradient, for a block of pixels.

Both kernels of cross-entropy call them with a block of logits x (classes, pixels) in fp32, wherever it came from, and
with what they know of each pixel: its label, -1 if it does not count, its largest logit, and the logarithm of the sum
of the exponentials of what all are less than that. `slots` has the places in the numbers of a criterion, and what
these mean says `kernels.cpu.criteria`.
"""

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ONE,
    ZERO,
    bytes_,
    exponential,
    floats,
    int32s,
    int64s,
    logarithm,
)
from segkit.losses.kernels.cpu.loops.blocks import prefetch_bytes, weigh_probabilities
from segkit.losses.kernels.cpu.loops.criteria.near import (
    scale_smoothed,
    take,
    take_relaxed,
    take_smoothed,
    value_relaxed,
    value_smoothed,
)
from segkit.losses.kernels.cpu.loops.criteria.slots import (
    ADJUSTED,
    BEYOND,
    END,
    KIND,
    MAP_COUNT,
    MAPS,
    MARGIN,
    NUMBERS,
    OWN_LOG_SUM,
    PIXELS,
    PLANES,
    RELAXED,
    SMOOTHED,
    VALUE,
)


@njit(**FLAGS)
def write_value(criterion, x, step, label, first, classes, size, largest, log_sum, ce, lines, near):
    """The value of `size` pixels from the one numbered `first`; `lines` and `near` are buffers, see below, and the
    first of the lines has what `sum_for` leaves there."""
    q = int64s(criterion, END)
    value = floats(q[VALUE] + 4 * first, size)
    if q[KIND] == MARGIN:
        _value_margin(q, label, first, size, ce, floats(lines, size), value)
    elif q[KIND] == RELAXED:
        value_relaxed(q, x, step, label, first, classes, size, largest, log_sum, ce, near, value)
    elif q[KIND] == SMOOTHED:
        value_smoothed(q, x, step, label, first, classes, size, largest, log_sum, ce, near, value)
    elif q[KIND] == ADJUSTED:
        _value_adjusted(q, label, first, classes, size, log_sum, ce, floats(lines, size), value)
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
    following,
    next_step,
    next_bytes,
):
    """The gradient at x into `out`, which is not x; exactly 0 where the `slope`, that at the value, is 0. `lines` has
    two rows of one number per pixel, `near` so many bytes as `NEAR`; what is `following` is brought near."""
    q = int64s(criterion, END)
    more = following, next_step, next_bytes
    if q[KIND] == MARGIN:
        weigh_probabilities(x, step, classes, size, largest, log_sum, slope, out, out_step, *more)
        take(label, slope, slope, size, out, out_step)
        _add_margin(q, x, step, first, classes, size, largest, slope, out, out_step, lines, line_step)
    elif q[KIND] == RELAXED:
        weigh_probabilities(x, step, classes, size, largest, log_sum, slope, out, out_step, *more)
        take_relaxed(
            q, x, step, label, first, classes, size, log_sum, slope, out, out_step, floats(lines, size), near
        )
    elif q[KIND] == SMOOTHED:
        scaled = floats(lines, size)
        scale_smoothed(q, label, first, classes, size, slope, scaled, near)
        weigh_probabilities(x, step, classes, size, largest, log_sum, scaled, out, out_step, *more)
        take_smoothed(q, label, first, classes, size, slope, out, out_step, scaled, near)
    elif q[KIND] == ADJUSTED:
        _slope_adjusted(q, x, step, first, classes, size, largest, slope, out, out_step, *more)
        take(label, slope, slope, size, out, out_step)
    else:
        _slope_distance(
            q, x, step, label, first, classes, size, largest, log_sum, slope, out, out_step, lines
        )


@njit(**FLAGS)
def _value_adjusted(q, label, first, classes, size, log_sum, ce, total, value):
    own_log_sum = floats(q[OWN_LOG_SUM] + 4 * first, size)
    more, weights = floats(q[NUMBERS], classes), floats(q[NUMBERS] + 4 * classes, classes)
    for i in range(size):
        own = max(label[i], 0)
        total[i] /= weights[own]  # exactly 1 if no other class has a part
        own_log_sum[i] = more[own]
    for i in range(size):
        total[i] = logarithm(total[i])
    for i in range(size):
        own_log_sum[i] += total[i]
    for i in range(size):
        found = total[i] + (ce[i] - log_sum[i])
        found = ZERO if found < 0 else found  # by rounding
        value[i] = found if label[i] >= 0 else ZERO


@njit(**FLAGS)
def _slope_adjusted(
    q, x, step, first, classes, size, largest, slope, out, out_step, following, next_step, next_bytes
):
    log_sum, more = floats(q[OWN_LOG_SUM] + 4 * first, size), floats(q[NUMBERS], classes)
    for c in range(classes):
        row, result = floats(x + c * step, size), floats(out + c * out_step, size)
        added = more[c]
        prefetch_bytes(following + c * next_step, next_bytes)
        for i in range(size):
            p = exponential((row[i] - largest[i]) - (log_sum[i] - added))
            result[i] = slope[i] * p if slope[i] != 0 else ZERO


@njit(**FLAGS)
def _value_margin(q, label, first, size, ce, excess, value):
    strength, beyond = floats(q[NUMBERS], 2)[1], bytes_(q[BEYOND] + first, size)
    for i in range(size):
        beyond[i] = excess[i] > 0
    for i in range(size):
        more = ce[i] + strength * excess[i]
        value[i] = more if label[i] >= 0 else ZERO


@njit(**FLAGS)
def _add_margin(q, x, step, first, classes, size, largest, slope, out, out_step, lines, line_step):
    # Few arrays in each loop: a compiler looks whether they overlap before it takes vectors, and soon gives up.
    if not _is_any(bytes_(q[BEYOND] + first, size), size):
        return
    margin, strength = floats(q[NUMBERS], 2)[0], floats(q[NUMBERS], 2)[1]
    beyond, ties = floats(lines, size), floats(lines + line_step, size)
    _count_beyond(x, step, classes, size, largest, margin, beyond)
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


@njit(**FLAGS)
def _is_any(marked, size):
    """Whether a byte is not 0."""
    some = 0
    for i in range(size):
        some |= marked[i]
    return some != 0


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
