"""Soft skeletons and their gradient, a band of rows of one image and class at a time, in the cache.

The numbers are those of `common.skeleton`, to the bit: the same differences, products and quotients in the same order,
none of them fused. What a pixel hands to others each of them fetches, so a band needs nothing but the rows around it,
and nothing depends on where bands end. A band is computed with as many rows above and below as the result can depend
on, fewer with every step.

In the buffers a map has a frame of one pixel. It is as pixels that are not inside: infinite in eroded maps, 0 in
gradients. Loops are short, because a compiler looks for only so many pairs of rows that could overlap.
"""

from enum import IntEnum, auto

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
from segkit.losses.kernels.cpu.loops.skeleton_rows import (
    EXACT,
    LOWEST,
    dilate_backward,
    erode_row,
    fetch_columns,
    fetch_rows,
    fill,
    frame,
    keep_inside,
    largest_rows,
    multiply,
    share_smallest,
    take_columns,
    take_from_1,
)


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
            frame(each, line, below - above, columns, ZERO)
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
