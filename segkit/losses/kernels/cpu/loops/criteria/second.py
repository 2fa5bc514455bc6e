"""Which other class is near each pixel: that of the valid pixels so many rows and columns away, if it is a single one,
and by how much the pixel's own outweighs it.

Near a border there are nearly always two classes, and what is computed of a pixel then needs two logits; where three
meet, the window is read again. A task is a band of rows. Classes are int16 here, of which a vector holds most. Called
with the address of their numbers (`Slot`), as the kernels are.
"""

from enum import IntEnum, auto

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ONE,
    floats,
    halves,
    int16s,
    int32s,
    int64s,
    take_ticket,
)
from segkit.losses.kernels.cpu.loops.blocks import read_labels
from segkit.losses.kernels.cpu.loops.criteria.slots import NONE, SEVERAL


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
    RADIUS = auto()
    TARGET = auto()
    TARGET_KIND = auto()
    TARGET_BYTES = auto()
    IGNORE_INDEX = auto()
    SECOND = auto()  # int16 (N, H, W): the class near that is not the pixel's own, or `NONE`, or `SEVERAL`
    SHARE = auto()  # fp32 (N, H, W): what the own class weighs of all that is in the window; or 0
    GROUPS = auto()  # how many different weights the places of the window have; its middle weighs 1
    WEIGHTS = auto()  # fp32: these weights
    STARTS = auto()  # int32: where the places of each begin in the next, and where they end
    PLACES = auto()  # int32: the places before the middle, numbered row by row: those across weigh the same
    END = auto()


(
    TASK, THREAD, SCRATCH, SCRATCH_BYTES, IMAGES, CLASSES, ROWS, COLUMNS, RADIUS, TARGET, TARGET_KIND, TARGET_BYTES,
    IGNORE_INDEX, SECOND, SHARE, GROUPS, WEIGHTS, STARTS, PLACES, END,
) = (int(slot) for slot in Slot)  # fmt: skip

#: Rows of a task.
BAND = 32
#: A larger one is no int16.
MOST_CLASSES = 2**15
_NO_CLASS, _SEVERAL, _NONE = np.int16(-1), np.int16(SEVERAL), np.int16(NONE)


def buffer_bytes(columns: int, radius: int) -> int:
    """Of a thread: the labels of a band and of the rows around, and four rows of larger numbers."""
    return (2 * (BAND + 2 * radius) + 16) * (columns + 2 * radius)


@njit(**FLAGS)
def find_second(address, version):
    p = int64s(address, END)
    rows, columns, radius = p[ROWS], p[COLUMNS], p[RADIUS]
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    line, bands = 2 * (columns + 2 * radius), (rows + BAND - 1) // BAND
    labels = scratch + 8 * line
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= bands * p[IMAGES]:
            return
        image, first_row = task // bands, task % bands * BAND
        last_row = min(first_row + BAND, rows)
        for y in range(first_row - radius, last_row + radius):
            _read_row(p, image, y, labels + (y - first_row + radius) * line, scratch)
        for y in range(first_row, last_row):
            first, top = (image * rows + y) * columns, labels + (y - first_row) * line
            _compare_row(top, line, columns, radius, scratch, int16s(p[SECOND] + 2 * first, columns))
            if p[SHARE] != 0:
                _weigh_row(p, top, line, scratch, floats(p[SHARE] + 4 * first, columns))


@njit(**FLAGS)
def _read_row(p, image, y, line, scratch):
    """The classes of a row, -1 where a pixel has none, as on both sides of the image, above and below."""
    rows, columns, radius = p[ROWS], p[COLUMNS], p[RADIUS]
    all_of_it = int16s(line, columns + 2 * radius)
    if not 0 <= y < rows:
        for x in range(columns + 2 * radius):
            all_of_it[x] = _NO_CLASS
        return
    for x in range(radius):
        all_of_it[x] = all_of_it[columns + radius + x] = _NO_CLASS
    target = p[TARGET] + (image * rows + y) * columns * p[TARGET_BYTES]
    inside, read = int16s(line + 2 * radius, columns), int32s(scratch, columns)
    read_labels(target, p[TARGET_KIND], p[IGNORE_INDEX], p[CLASSES], columns, read)
    for x in range(columns):
        inside[x] = read[x]


@njit(**FLAGS)
def _compare_row(top, line, columns, radius, scratch, second):
    """Of the classes near the pixels of a row that are not their own the largest and the smallest: the same, if there
    is one; of the numbers with -1 for each other pixel it is the largest with a sign, and the smallest without one."""
    side = 2 * radius + 1
    own = int16s(top + radius * line + 2 * radius, columns)
    largest, smallest = int16s(scratch, columns), halves(scratch + line, columns)
    for x in range(columns):
        largest[x] = _NO_CLASS
    for x in range(columns):
        smallest[x] = np.uint16(0xFFFF)
    for place in range(side * side // 2):  # and the one across: fewer numbers are read and written
        label, across = _read_pair(top, line, columns, side, place)
        for x in range(columns):
            one = _NO_CLASS if label[x] == own[x] else label[x]
            two = _NO_CLASS if across[x] == own[x] else across[x]
            larger = one if one > two else two
            largest[x] = larger if larger > largest[x] else largest[x]
            unsigned, other = np.uint16(one), np.uint16(two)
            smaller = unsigned if unsigned < other else other
            smallest[x] = smaller if smaller < smallest[x] else smallest[x]
    again = int16s(scratch + line, columns)
    for x in range(columns):
        found = largest[x] if largest[x] == again[x] else _SEVERAL
        second[x] = found if own[x] >= 0 else _NONE


@njit(**FLAGS)
def _read_pair(top, line, columns, side, place):
    """The classes at a place of the window of each pixel of a row, and at the one across."""
    across = side * side - 1 - place
    label = int16s(top + place // side * line + 2 * (place % side), columns)
    return label, int16s(top + across // side * line + 2 * (across % side), columns)


@njit(**FLAGS)
def _weigh_row(p, top, line, scratch, share):
    """The share of the own class in the window of each pixel of a row. Places that weigh the same are counted."""
    columns, radius = p[COLUMNS], p[RADIUS]
    side = 2 * radius + 1
    own = int16s(top + radius * line + 2 * radius, columns)
    alike, absent = int16s(scratch, columns), int16s(scratch + line, columns)
    weight_alike, weight_there = floats(scratch + 2 * line, columns), floats(scratch + 4 * line, columns)
    weights, starts = floats(p[WEIGHTS], p[GROUPS]), int32s(p[STARTS], p[GROUPS] + 1)
    places = int32s(p[PLACES], side * side)
    for x in range(columns):
        weight_alike[x] = weight_there[x] = ONE
    for group in range(p[GROUPS]):
        weight, count = weights[group], np.float32(2 * (starts[group + 1] - starts[group]))
        for x in range(columns):
            alike[x] = absent[x] = 0
        for k in range(starts[group], starts[group + 1]):
            label, across = _read_pair(top, line, columns, side, places[k])
            for x in range(columns):
                alike[x] += (label[x] == own[x]) + (across[x] == own[x])
            for x in range(columns):
                absent[x] += (label[x] < 0) + (across[x] < 0)
        for x in range(columns):
            weight_alike[x] += weight * np.float32(alike[x])
        for x in range(columns):
            weight_there[x] += weight * (count - np.float32(absent[x]))
    for x in range(columns):
        share[x] = weight_alike[x] / weight_there[x]
