"""Rows of soft skeletons and their gradient: what `skeleton` does with the rows of a map.

Each is given addresses of the first pixel of rows, beside which the frame of the map lies, unless it says otherwise.
"""

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import INFINITE, ONE, ZERO, floats

#: Nothing is fused, reordered or left out: NaN and infinity are numbers like others.
EXACT = {"error_model": "numpy"}
LOWEST = np.float32(-np.inf)


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
