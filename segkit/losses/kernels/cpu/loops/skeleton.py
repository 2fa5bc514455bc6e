"""Soft skeletons and their gradient, a band of rows of one image and class at a time, in the cache.

The numbers are those of `common.skeleton`, to the bit: the same differences, products and quotients in the same order,
none of them fused. What a pixel hands to others each of them fetches, so a band needs nothing but the rows around it,
and nothing depends on where bands end. A band is computed with as many rows above and below as the result can depend
on, fewer with every step.

In the buffers a map has a frame of one pixel. It is as pixels that are not inside: infinite in eroded maps, 0 in
gradients. Loops are short, because a compiler looks for only so many pairs of rows that could overlap.
"""

from enum import IntEnum, auto

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    INFINITE,
    ONE,
    ZERO,
    bytes_,
    floats,
    int64s,
    take_ticket,
)

#: Nothing is fused, reordered or left out: NaN and infinity are numbers like others.
EXACT = {"error_model": "numpy"}


class Slot(IntEnum):
    """Places in the int64 numbers of a call; addresses are in bytes."""

    TASK = 0  # the counters of tasks and of threads, each in a cache line of its own
    THREAD = 8
    SCRATCH = 16  # address of the threads' buffers
    SCRATCH_BYTES = auto()  # of each thread
    IMAGES = auto()
    CLASSES = auto()
    ROWS = auto()
    COLUMNS = auto()
    BAND = auto()  # rows of a task
    ITERATIONS = auto()
    REGION = auto()  # float32 (N, C, H, W)
    INSIDE = auto()  # bool (N, H, W)
    SKELETON = auto()  # float32 (N, C, H, W), written forward
    SLOPE = auto()  # float32 (N, C, H, W): the gradient at the skeleton
    GRADIENT = auto()  # float32 (N, C, H, W), written backward
    END = auto()


(
    TASK, THREAD, SCRATCH, SCRATCH_BYTES, IMAGES, CLASSES, ROWS, COLUMNS, BAND, ITERATIONS, REGION, INSIDE, SKELETON,
    SLOPE, GRADIENT, END,
) = (int(slot) for slot in Slot)  # fmt: skip
LOWEST = np.float32(-np.inf)
#: Rows of a thread besides its maps.
LINES = 4


def forward_buffer(rows: int, columns: int, band: int, iterations: int) -> int:
    """Bytes that a thread needs for bands of so many rows."""
    return _buffer(rows, columns, band + 2 * (iterations + 2), iterations + 3)


def backward_buffer(rows: int, columns: int, band: int, iterations: int) -> int:
    """The same on the way back."""
    return _buffer(rows, columns, band + 4 * (iterations + 2), 2 * iterations + 8)


def _buffer(rows: int, columns: int, needed: int, maps: int) -> int:
    return 4 * (columns + 2) * (maps * (min(rows, needed) + 2) + LINES)


@njit(**EXACT)
def forward(address, version):
    """The skeletons of all images and classes."""
    p = int64s(address, END)
    rows, columns, iterations = p[ROWS], p[COLUMNS], p[ITERATIONS]
    line = 4 * (columns + 2)
    size = (min(rows, p[BAND] + 2 * (iterations + 2)) + 2) * line
    row_v = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    rest = row_v + LINES * line
    eroded = rest + size  # iterations + 2 maps
    bands = (rows + p[BAND] - 1) // p[BAND]
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= p[IMAGES] * p[CLASSES] * bands:
            return
        plane, start = task // bands, task % bands * p[BAND]
        stop = min(rows, start + p[BAND])
        above, below = max(0, start - iterations - 2), min(rows, stop + iterations + 2)
        first = 4 * plane * rows * columns  # in bytes
        if not load(p, plane, above, below, eroded, line):
            for y in range(start, stop):
                fill(floats(p[SKELETON] + first + 4 * y * columns, columns), columns, ZERO)
            continue
        erode_all(eroded, size, line, columns, iterations, above, below, start, stop)
        for y in range(start, stop):
            place = (y - above + 1) * line
            product = rest + place + 4
            fill(floats(product, columns), columns, ONE)
            for j in range(iterations + 1):
                largest_rows(eroded + (j + 1) * size + place, line, row_v, columns + 2)
                multiply(row_v, eroded + j * size + place + 4, product, product, columns)
            take_from_1(product, p[SKELETON] + first + 4 * y * columns, columns)


@njit(**EXACT)
def backward(address, version):
    """The gradient at the regions, of that at their skeletons."""
    p = int64s(address, END)
    rows, columns, iterations = p[ROWS], p[COLUMNS], p[ITERATIONS]
    line = 4 * (columns + 2)
    size = (min(rows, p[BAND] + 4 * (iterations + 2)) + 2) * line
    lines = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    ones = lines
    onward = lines + LINES * line
    smaller, slope, largest, handed, part = (
        onward + size, onward + 2 * size, onward + 3 * size, onward + 4 * size, onward + 5 * size,
    )  # fmt: skip
    eroded = onward + 6 * size  # iterations + 2 maps
    rest = eroded + (iterations + 2) * size  # iterations maps
    fill(floats(ones, columns + 2), columns + 2, ONE)
    bands = (rows + p[BAND] - 1) // p[BAND]
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= p[IMAGES] * p[CLASSES] * bands:
            return
        plane, start = task // bands, task % bands * p[BAND]
        stop = min(rows, start + p[BAND])
        reach = iterations + 2
        above, below = max(0, start - 2 * reach), min(rows, stop + 2 * reach)
        first = 4 * plane * rows * columns  # in bytes
        if not load(p, plane, above, below, eroded, line):
            for y in range(start, stop):
                fill(floats(p[GRADIENT] + first + 4 * y * columns, columns), columns, ZERO)
            continue
        erode_all(
            eroded,
            size,
            line,
            columns,
            iterations,
            above,
            below,
            max(0, start - reach),
            min(rows, stop + reach),
        )
        for y in range(max(0, start - reach), min(rows, stop + reach)):
            place = (y - above + 1) * line
            source = p[SLOPE] + first + 4 * y * columns
            keep_inside(eroded + place + 4, source, onward + place + 4, columns)
            before = ones + 4
            for j in range(iterations):
                largest_rows(eroded + (j + 1) * size + place, line, lines + line, columns + 2)
                product = rest + j * size + place + 4
                multiply(lines + line, eroded + j * size + place + 4, before, product, columns)
                before = product
        for each in (smaller, handed, part):
            clear_frame(each, line, below - above, columns)
        for y in range(max(0, start - iterations - 1), min(rows, stop + iterations + 1)):
            fill(floats(smaller + (y - above + 1) * line + 4, columns), columns, ZERO)
        for j in range(iterations, -1, -1):
            here, next_ = eroded + j * size, eroded + (j + 1) * size
            for y in range(max(0, start - j - 2), min(rows, stop + j + 2)):
                place = (y - above + 1) * line
                before = ones + 4 if j == 0 else rest + (j - 1) * size + place + 4
                dilate_backward(
                    here + place, next_ + place, before, onward + place, slope + place, largest + place,
                    handed + place, lines + line, line, columns,
                )  # fmt: skip
            for y in range(max(0, start - j - 1), min(rows, stop + j + 1)):
                place = (y - above + 1) * line + 4
                take_columns(next_ + place, largest + place, handed + place, smaller + place, line, columns)
                share_smallest(here + place, next_ + place, smaller + place, part + place, line, columns)
            for y in range(max(0, start - j), min(rows, stop + j)):
                place = (y - above + 1) * line + 4
                fetch_columns(here + place, next_ + place, part + place, lines + line, line, columns)
                fetch_rows(here + place, next_ + place, part + place, lines + line, slope + place,
                           smaller + place, columns)  # fmt: skip
        for y in range(start, stop):
            place = (y - above + 1) * line + 4
            keep_inside(eroded + place, smaller + place, p[GRADIENT] + first + 4 * y * columns, columns)


@njit(**EXACT)
def load(p, plane, above, below, eroded, line):
    """The region of the rows from `above` to `below`, with its frame, infinite where it is not inside. Whether it has
    two values inside: of one value alone nothing is a ridge, and no gradient passes."""
    columns, image = p[COLUMNS], plane // p[CLASSES]
    lowest, highest, broken = INFINITE, LOWEST, False
    for y in range(above, below):
        row = eroded + (y - above + 1) * line
        values = floats(row + 4, columns)
        source = floats(p[REGION] + 4 * (plane * p[ROWS] + y) * columns, columns)
        inside = bytes_(p[INSIDE] + (image * p[ROWS] + y) * columns, columns)
        for x in range(columns):
            values[x] = source[x] if inside[x] != 0 else INFINITE
        for x in range(columns):
            value = source[x]
            counts = inside[x] != 0
            lowest = value if counts & (value < lowest) else lowest
            highest = value if counts & (value > highest) else highest
            broken |= counts & (value != value)
    frame(eroded, line, below - above, columns, INFINITE)
    return broken | (lowest < highest)


@njit(**EXACT)
def erode_all(eroded, size, line, columns, iterations, above, below, start, stop):
    """E_1 ... E_(iterations + 1), so far that the largest values are known of the rows from `start` to `stop`."""
    rows = below - above
    for j in range(iterations + 1):
        source, result = eroded + j * size, eroded + (j + 1) * size
        more = 1 + iterations - j
        frame(result, line, rows, columns, INFINITE)
        for y in range(max(0, start - above - more), min(rows, stop - above + more)):
            erode_row(source + (y + 1) * line + 4, line, result + (y + 1) * line + 4, columns)


@njit(**EXACT)
def erode_row(source, line, result, columns):
    up, here, down = floats(source - line, columns), floats(source, columns), floats(source + line, columns)
    left, right = floats(source - 4, columns), floats(source + 4, columns)
    smallest = floats(result, columns)
    for x in range(columns):
        value = _smaller(_smaller(_smaller(_smaller(here[x], up[x]), down[x]), left[x]), right[x])
        smallest[x] = INFINITE if here[x] == INFINITE else value


@njit(**EXACT)
def largest_rows(source, line, result, size):
    """The largest of each pixel that is inside, and those above and below."""
    up, here, down = floats(source - line, size), floats(source, size), floats(source + line, size)
    largest = floats(result, size)
    for x in range(size):
        largest[x] = _larger(_larger(_inside(here[x]), _inside(up[x])), _inside(down[x]))


@njit(**EXACT)
def multiply(row_v, here, before, result, columns):
    """The product of 1 - D, from the largest values of the columns, with those before."""
    left, middle, right = floats(row_v, columns), floats(row_v + 4, columns), floats(row_v + 8, columns)
    values, factor, product = floats(here, columns), floats(before, columns), floats(result, columns)
    for x in range(columns):
        opened = _larger(_larger(middle[x], left[x]), right[x])
        product[x] = (ONE - _ridge(values[x], opened)) * factor[x]


@njit(**EXACT)
def dilate_backward(here, next_, before, onward, slope, largest, handed, lines, line, columns):
    """One row: the slope at D_j and what goes on to the steps before, and the gradient that the largest value of each
    column gets, divided by those that tie for it."""
    largest_rows(next_, line, largest, columns + 2)
    row_o, row_part = lines, lines + line
    left, middle, right = floats(largest, columns), floats(largest + 4, columns), floats(largest + 8, columns)
    opened = floats(row_o + 4, columns)
    for x in range(columns):
        opened[x] = _larger(_larger(middle[x], left[x]), right[x])
    _slope(here + 4, row_o + 4, before, onward + 4, slope + 4, columns)
    part, gradient = floats(row_part, columns + 2), floats(slope + 4, columns)
    part[0] = part[columns + 1] = ZERO
    part = floats(row_part + 4, columns)
    for x in range(columns):
        value = opened[x]
        ties = _count(middle[x], value) + _count(left[x], value) + _count(right[x], value)
        part[x] = gradient[x] / ties
    opened_left, opened_right = floats(row_o, columns), floats(row_o + 8, columns)
    part_left, part_right = floats(row_part, columns), floats(row_part + 8, columns)
    result = floats(handed + 4, columns)
    for x in range(columns):
        value = middle[x]
        total = _if_equal(value, opened[x], part[x])
        total += _if_equal(value, opened_right[x], part_right[x])
        result[x] = total + _if_equal(value, opened_left[x], part_left[x])
    up, own, down = (
        floats(next_ + 4 - line, columns), floats(next_ + 4, columns), floats(next_ + 4 + line, columns),
    )  # fmt: skip
    for x in range(columns):
        value = middle[x]
        ties = _count(_inside(own[x]), value) + _count(_inside(up[x]), value)
        result[x] = result[x] / (ties + _count(_inside(down[x]), value))


@njit(**EXACT)
def _slope(here, opened, before, onward, slope, columns):
    values, largest, factor = floats(here, columns), floats(opened, columns), floats(before, columns)
    rest, result = floats(onward, columns), floats(slope, columns)
    for x in range(columns):
        taken = _ridge(values[x], largest[x])
        result[x] = ZERO if taken == 0 else rest[x] * factor[x]
        rest[x] = rest[x] * (ONE - taken)


@njit(**EXACT)
def take_columns(next_, largest, handed, smaller, line, columns):
    """Takes from the gradient at E_(j+1) what its pixels get of the largest values of their columns."""
    here = floats(next_, columns)
    up, own, down = floats(largest - line, columns), floats(largest, columns), floats(largest + line, columns)
    part_up, part, part_down = (
        floats(handed - line, columns), floats(handed, columns), floats(handed + line, columns),
    )  # fmt: skip
    result = floats(smaller, columns)
    for x in range(columns):
        value = _inside(here[x])
        total = _if_equal(value, own[x], part[x]) + _if_equal(value, down[x], part_down[x])
        result[x] -= total + _if_equal(value, up[x], part_up[x])


@njit(**EXACT)
def share_smallest(here, next_, smaller, part, line, columns):
    """The gradient at E_(j+1), divided by the pixels that tie for the smallest."""
    up, own, down = floats(here - line, columns), floats(here, columns), floats(here + line, columns)
    left, right = floats(here - 4, columns), floats(here + 4, columns)
    smallest, gradient, result = floats(next_, columns), floats(smaller, columns), floats(part, columns)
    for x in range(columns):
        value = smallest[x]
        ties = _count(own[x], value) + _count(up[x], value) + _count(down[x], value)
        result[x] = gradient[x] / (ties + _count(left[x], value) + _count(right[x], value))


@njit(**EXACT)
def fetch_columns(here, next_, part, result, line, columns):
    """What the pixels of E_j get of the smallest values at and above and below them."""
    values, total = floats(here, columns), floats(result, columns)
    up, own, down = floats(next_ - line, columns), floats(next_, columns), floats(next_ + line, columns)
    part_up, part_own, part_down = (
        floats(part - line, columns), floats(part, columns), floats(part + line, columns),
    )  # fmt: skip
    for x in range(columns):
        value = values[x]
        some = _if_equal(value, own[x], part_own[x]) + _if_equal(value, down[x], part_down[x])
        total[x] = some + _if_equal(value, up[x], part_up[x])


@njit(**EXACT)
def fetch_rows(here, next_, part, handed, slope, smaller, columns):
    """The gradient at E_j: what it gets besides of those at its sides, and the slope at D_j."""
    values, some, more = floats(here, columns), floats(handed, columns), floats(slope, columns)
    left, right = floats(next_ - 4, columns), floats(next_ + 4, columns)
    part_left, part_right, result = (
        floats(part - 4, columns),
        floats(part + 4, columns),
        floats(smaller, columns),
    )
    for x in range(columns):
        value = values[x]
        total = some[x] + _if_equal(value, right[x], part_right[x])
        result[x] = more[x] + (total + _if_equal(value, left[x], part_left[x]))


@njit(**EXACT)
def keep_inside(region, source, result, columns):
    """A copy that is 0 where the region is not inside."""
    values, given, kept = floats(region, columns), floats(source, columns), floats(result, columns)
    for x in range(columns):
        kept[x] = ZERO if values[x] == INFINITE else given[x]


@njit(**EXACT)
def take_from_1(source, result, columns):
    given, rest = floats(source, columns), floats(result, columns)
    for x in range(columns):
        rest[x] = ONE - given[x]


@njit(**EXACT)
def frame(map_, line, rows, columns, value):
    """Gives the frame of a map of so many rows that value."""
    fill(floats(map_, columns + 2), columns + 2, value)
    fill(floats(map_ + (rows + 1) * line, columns + 2), columns + 2, value)
    for y in range(1, rows + 1):
        row = floats(map_ + y * line, columns + 2)
        row[0] = row[columns + 1] = value


@njit(**EXACT)
def clear_frame(map_, line, rows, columns):
    frame(map_, line, rows, columns, ZERO)


@njit(**EXACT)
def fill(row, size, value):
    for x in range(size):
        row[x] = value


@njit(**EXACT)
def _smaller(a, b):
    """The smaller of two numbers, NaN if one is."""
    return b if (b < a) | (b != b) else a


@njit(**EXACT)
def _larger(a, b):
    return b if (b > a) | (b != b) else a


@njit(**EXACT)
def _inside(value):
    """A number of an eroded map; of a pixel that is not inside what is never the largest."""
    return LOWEST if value == INFINITE else value


@njit(**EXACT)
def _ridge(value, opened):
    """max(0, E - O), 0 where it is not inside; NaN stays NaN."""
    taken = value - opened
    taken = ZERO if taken < 0 else taken
    return ZERO if value == INFINITE else taken


@njit(**EXACT)
def _count(value, chosen):
    return ONE if value == chosen else ZERO


@njit(**EXACT)
def _if_equal(value, chosen, part):
    return part if value == chosen else ZERO
