"""Which pixels of a block have other classes near, and which classes there are in the window around one of them."""

from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import FLAGS, bytes_, floats, int8s, int16s, int32s, int64s
from segkit.losses.kernels.cpu.loops.blocks import INT8, INT16, INT64, UINT8
from segkit.losses.kernels.cpu.loops.criteria.slots import (
    COLUMNS,
    IGNORE_INDEX,
    LARGEST,
    NONE,
    NUMBERS,
    RADIUS,
    ROWS,
    SEVERAL,
    TARGET,
    TARGET_KIND,
)


@njit(**FLAGS)
def read_window(q, image, place, classes, near, once):
    """The classes in the window around a place of the image whose first pixel has that number, in `near`: how many.

    Each `once`; or as often as it stands there, and then what these places of the window weigh is in the first row of
    numbers, see `find_buffers`.
    """
    if q[TARGET_KIND] == UINT8:
        return _gather(q, bytes_(q[TARGET], image + place + 1), image, place, classes, near, once)
    if q[TARGET_KIND] == INT64:
        return _gather(q, int64s(q[TARGET], image + place + 1), image, place, classes, near, once)
    if q[TARGET_KIND] == INT8:
        return _gather(q, int8s(q[TARGET], image + place + 1), image, place, classes, near, once)
    if q[TARGET_KIND] == INT16:
        return _gather(q, int16s(q[TARGET], image + place + 1), image, place, classes, near, once)
    return _gather(q, int32s(q[TARGET], image + place + 1), image, place, classes, near, once)


@njit(**FLAGS)
def _gather(q, target, image, place, classes, near, once):
    # What is written is kept by going on, and else written over: nearly no branch is to be guessed.
    radius, columns, ignored = q[RADIUS], q[COLUMNS], q[IGNORE_INDEX]
    y = place // columns
    x = place - y * columns
    found, count, seen = int32s(near, LARGEST), 0, 0
    left, right = max(-radius, -x), min(radius, columns - 1 - x)
    weights, window = find_buffers(near)[2], floats(q[NUMBERS], (2 * radius + 1) ** 2)  # not if each once
    for down in range(max(-radius, -y), min(radius, q[ROWS] - 1 - y) + 1):
        there, middle = image + place + down * columns, (down + radius) * (2 * radius + 1) + radius
        for aside in range(left, right + 1):
            label = target[there + aside]
            counts = (label != ignored) & (label >= 0) & (label < classes)
            found[count] = label
            if not once:
                weights[count] = window[middle + aside]
            elif classes <= 64:
                bit = label & 63
                counts &= (seen >> bit) & 1 == 0
                seen |= int(counts) << bit
            else:
                for k in range(count):
                    counts &= found[k] != label
            count += counts
    return count


@njit(**FLAGS)
def list_mixed(second, size, near):
    """The pixels of a block that have one other class near, how many these are, those that have several, and how many
    these are: the lists in `near`."""
    pairs, others = find_buffers(near)[:2]
    classes = int16s(second, size)
    n = m = 0
    for start in range(0, size - 3, 4):
        # Mostly nothing is near any of the four; NONE has all bits.
        if classes[start] & classes[start + 1] & classes[start + 2] & classes[start + 3] != NONE:
            for i in range(start, start + 4):
                # Kept by going on, and else written over.
                pairs[n] = others[m] = i
                n += classes[i] >= 0
                m += classes[i] == SEVERAL
    for i in range(size // 4 * 4, size):
        pairs[n] = others[m] = i
        n += classes[i] >= 0
        m += classes[i] == SEVERAL
    return pairs, n, others, m


@njit(**FLAGS)
def find_buffers(near):
    """Of what is behind the classes of a window: two lists of pixels, and two rows of numbers."""
    rows, row = near + 4 * LARGEST, 4 * LARGEST
    return (
        int32s(rows, LARGEST),
        int32s(rows + row, LARGEST),
        floats(rows + 2 * row, LARGEST),
        floats(rows + 3 * row, LARGEST),
    )
