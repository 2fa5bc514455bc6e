"""The criterion that softens the label of a pixel by those around it.

Pixels of which all in the window have one class are as in cross-entropy. The others of a block are listed, and the
window is gone through place by place, of all of them at once: what is added to one class of a pixel again and again
would wait for the time before.
"""

from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import FLAGS, ONE, ZERO, bytes_, floats, int32s
from segkit.losses.kernels.cpu.loops.blocks import read_labels
from segkit.losses.kernels.cpu.loops.criteria.near import weigh
from segkit.losses.kernels.cpu.loops.criteria.slots import (
    CLASS_WEIGHTS,
    COLUMNS,
    IGNORE_INDEX,
    MIXED,
    MOST,
    NUMBERS,
    PIXELS,
    RADIUS,
    ROW_OF_LABELS,
    TARGET,
    TARGET_BYTES,
    TARGET_KIND,
)


@njit(**FLAGS)
def value_smoothed(q, x, step, label, first, classes, size, largest, log_sum, ce, near, value):
    for i in range(size):
        value[i] = ce[i] if label[i] >= 0 else ZERO
    if q[CLASS_WEIGHTS] != 0:
        class_weights = floats(q[CLASS_WEIGHTS], classes)
        for i in range(size):
            value[i] = value[i] * class_weights[max(label[i], 0)]
    count, listed, _, total, norm = _list(q, label, first, size, near)
    if count == 0:
        return
    _read_rows(q, first, classes, size, near)
    side = 2 * q[RADIUS] + 1
    given = floats(q[NUMBERS], side * side)
    for place in range(side * side):
        there, inside, weight = _find_place(q, place, given[place], count, listed, near)
        for k in range(count):
            norm[k] += inside[k]
        for k in range(count):
            z = floats(x + there[k] * step + 4 * listed[k], 1)[0]
            less = (largest[listed[k]] - z) + log_sum[listed[k]]
            total[k] += weight[k] * less if weight[k] != 0 else ZERO  # 0 x infinity is 0
    for k in range(count):
        value[listed[k]] = total[k] / (norm[k] if norm[k] > ONE else ONE)


@njit(**FLAGS)
def slope_smoothed(
    q, x, step, label, first, classes, size, largest, log_sum, slope, out, out_step, lines, near
):
    scaled = floats(lines, size)
    for i in range(size):
        scaled[i] = slope[i]
    if q[CLASS_WEIGHTS] != 0:
        class_weights = floats(q[CLASS_WEIGHTS], classes)
        for i in range(size):
            scaled[i] = slope[i] * class_weights[max(label[i], 0)] if slope[i] != 0 else ZERO
    count, listed, is_listed, total, norm = _list(q, label, first, size, near)
    side = 2 * q[RADIUS] + 1
    given = floats(q[NUMBERS], side * side)
    if count > 0:
        _read_rows(q, first, classes, size, near)
        for place in range(side * side):
            _, inside, weight = _find_place(q, place, given[place], count, listed, near)
            for k in range(count):
                norm[k] += inside[k]
                total[k] += weight[k]
        for k in range(count):
            norm[k] = ONE / (norm[k] if norm[k] > ONE else ONE)
        if q[CLASS_WEIGHTS] != 0:  # else the labels sum to 1
            for k in range(count):
                i = listed[k]
                scaled[i] = slope[i] * (total[k] * norm[k]) if slope[i] != 0 else ZERO
        for k in range(count):
            norm[k] *= slope[listed[k]]
    weigh(x, step, classes, size, largest, log_sum, scaled, out, out_step)
    for i in range(size):
        if slope[i] != 0 and is_listed[i] == 0:
            floats(out + label[i] * out_step + 4 * i, 1)[0] -= scaled[i]
    for place in range(side * side if count > 0 else 0):
        there, _, weight = _find_place(q, place, given[place], count, listed, near)
        for k in range(count):
            # Where the slope is 0 both are numbers, of which the first is 0.
            floats(out + there[k] * out_step + 4 * listed[k], 1)[0] -= norm[k] * weight[k]


@njit(**FLAGS)
def _list(q, label, first, size, near):
    """How many valid pixels have another label around them, where they are in the block, which of all these are, and
    two numbers for each, 0. Their columns are in the buffer."""
    mixed = bytes_(q[MIXED] + first, size)
    listed, is_listed = int32s(near, MOST), int32s(near + 4 * MOST, MOST)
    total, norm = floats(near + 8 * MOST, MOST), floats(near + 12 * MOST, MOST)
    column, columns = int32s(near + 24 * MOST, MOST), q[COLUMNS]
    count, x = 0, first % q[PIXELS] % columns
    for i in range(size):
        is_one = (mixed[i] != 0) & (label[i] >= 0)
        is_listed[i] = is_one
        listed[count], column[count] = i, x
        count += is_one
        x = x + 1 if x + 1 < columns else 0
    for k in range(count):
        total[k] = norm[k] = ZERO
    return count, listed, is_listed, total, norm


@njit(**FLAGS)
def _read_rows(q, first, classes, size, near):
    """The labels that are so many rows above or below the block and so many pixels before or after it, -1 outside of
    the image. The block may go on in the next row, and so what is aside may be at the other side of the image."""
    radius, columns, pixels = q[RADIUS], q[COLUMNS], q[PIXELS]
    rows, in_image = near + 32 * MOST, first % pixels
    for down in range(2 * radius + 1):
        row = rows + down * ROW_OF_LABELS
        start = in_image + (down - radius) * columns - radius
        begin, end = max(start, 0), min(start + size + 2 * radius, pixels)
        whole = int32s(row, size + 2 * radius)
        for i in range(size + 2 * radius):
            whole[i] = -1
        if end > begin:
            target = q[TARGET] + (first - in_image + begin) * q[TARGET_BYTES]
            there = int32s(row + 4 * (begin - start), end - begin)
            read_labels(target, q[TARGET_KIND], q[IGNORE_INDEX], classes, end - begin, there)


@njit(**FLAGS)
def _find_place(q, place, given, count, listed, near):
    """Of the listed pixels the class at one place of the window, 0 where there is none; the weight `given`, 0 where
    there is none; and this times that of the class."""
    radius, columns = q[RADIUS], q[COLUMNS]
    down, right = place // (2 * radius + 1), place % (2 * radius + 1) - radius
    row = int32s(near + 32 * MOST + down * ROW_OF_LABELS + 4 * (right + radius), MOST)
    there, column = int32s(near + 16 * MOST, MOST), int32s(near + 24 * MOST, MOST)
    inside, weight = floats(near + 20 * MOST, MOST), floats(near + 28 * MOST, MOST)
    for k in range(count):
        there[k] = row[listed[k]]
    for k in range(count):
        is_inside = (there[k] >= 0) & (column[k] + right >= 0) & (column[k] + right < columns)
        there[k] = there[k] if is_inside else 0
        inside[k] = given if is_inside else ZERO
    if q[CLASS_WEIGHTS] == 0:
        return there, inside, inside
    class_weights = floats(q[CLASS_WEIGHTS], 1 << 20)
    for k in range(count):
        weight[k] = inside[k] * class_weights[there[k]]
    return there, inside, weight
