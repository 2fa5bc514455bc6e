"""Windows of cells, and how the cells of a window covary, in the cache and in fp64; see `common.windows`.

A task is an image and class, so nothing depends on which thread took which.
"""

from enum import IntEnum, auto

from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    REORDERED,
    doubles,
    floats,
    int64s,
    take_ticket,
)


class Slot(IntEnum):
    """Places in the int64 numbers of a call; addresses are in bytes."""

    TASK = 0  # the counters of tasks and of threads, each in a cache line of its own
    THREAD = 8
    SCRATCH = 16  # address of the threads' buffers
    SCRATCH_BYTES = auto()  # of each thread
    IMAGES = auto()
    CLASSES = auto()
    CELL_ROWS = auto()  # h
    CELL_COLUMNS = auto()
    RADIUS = auto()
    LINES = auto()  # rows of windows that are laid out together
    Y = auto()  # float32 (N, C, h, w)
    X = auto()
    WEIGHT = auto()  # float32 (N, h', w')
    PRODUCTS = auto()  # float64 (N, C, 2d, 2d), written forward
    FACTORS = auto()  # float64 (N, C, d, 2d): the gradient at the products that x is in
    GRADIENT = auto()  # float32 (N, C, h, w): that at x, written backward
    END = auto()


(
    TASK, THREAD, SCRATCH, SCRATCH_BYTES, IMAGES, CLASSES, CELL_ROWS, CELL_COLUMNS, RADIUS, LINES, Y, X, WEIGHT,
    PRODUCTS, FACTORS, GRADIENT, END,
) = (int(slot) for slot in Slot)  # fmt: skip


@njit(**FLAGS)
def multiply(address, version):
    """Sums over windows of weight x (z - mean)(z - mean)^T, z the cells of y and then those of x."""
    p = int64s(address, END)
    cells = 2 * p[RADIUS] ** 2
    height, width = p[CELL_ROWS] - p[RADIUS] + 1, p[CELL_COLUMNS] - p[RADIUS] + 1
    z, length, lines = _place(p, address, cells)
    means, weighed = z - 8 * cells, z + 8 * cells * length
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= p[IMAGES] * p[CLASSES]:
            return
        find_means(p, task, cells, height, width, means)
        sums = doubles(p[PRODUCTS] + 8 * task * cells * cells, cells * cells)
        clear(sums, cells * cells)
        for first in range(0, height, lines):
            rows = min(lines, height - first)
            size = rows * width
            lay_out(p, task, cells, first, rows, width, means, z, length)
            weight = weights_of(p, task, first, rows, height, width)
            for a in range(cells):
                multiply_row(z + 8 * a * length, weight, weighed, size)
                for b in range(a, cells):
                    sums[a * cells + b] += dot(weighed, z + 8 * b * length, size)
        for a in range(cells):
            for b in range(a):
                sums[a * cells + b] = sums[b * cells + a]


@njit(**FLAGS)
def multiply_backward(address, version):
    """The gradient at x, of that at the products. The means move too, but what deviates from them sums to 0."""
    p = int64s(address, END)
    radius, columns = p[RADIUS], p[CELL_COLUMNS]
    d = radius**2
    cells = 2 * d
    height, width = p[CELL_ROWS] - radius + 1, columns - radius + 1
    plane = p[CELL_ROWS] * columns
    z, length, lines = _place(p, address, cells)
    means, each = z - 8 * cells, z + 8 * cells * length
    total = each + 8 * length
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= p[IMAGES] * p[CLASSES]:
            return
        find_means(p, task, cells, height, width, means)
        clear(doubles(total, plane), plane)
        for first in range(0, height, lines):
            rows = min(lines, height - first)
            size = rows * width
            lay_out(p, task, cells, first, rows, width, means, z, length)
            weight = weights_of(p, task, first, rows, height, width)
            for i in range(d):
                combine(doubles(p[FACTORS] + 8 * (task * d + i) * cells, cells), z, cells, length, size, each)
                multiply_row(each, weight, each, size)
                for row in range(rows):
                    place = (first + row + i // radius) * columns + i % radius
                    add(each + 8 * row * width, total + 8 * place, width)
        narrow(total, p[GRADIENT] + 4 * task * plane, plane)


def buffer_of_windows(radius: int, cell_rows: int, cell_columns: int, lines: int) -> int:
    """Bytes that a thread needs for windows of which so many rows are laid out together."""
    cells, length = 2 * radius**2, lines * (cell_columns - radius + 1)
    return 8 * (cells + (cells + 1) * length + cell_rows * cell_columns)


@njit(**FLAGS)
def _place(p, address, cells):
    """The address of what is laid out, behind that of the means, the numbers in a row of it, and the rows of windows
    that it has."""
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    return scratch + 8 * cells, p[LINES] * (p[CELL_COLUMNS] - p[RADIUS] + 1), p[LINES]


@njit(**FLAGS)
def source_of(p, task, cell, row):
    """Where the cells lie that are the `cell`-th of the windows of a row: those of y, then those of x."""
    d = p[RADIUS] ** 2
    base, i = (p[Y], cell) if cell < d else (p[X], cell - d)
    return base + 4 * ((task * p[CELL_ROWS] + row + i // p[RADIUS]) * p[CELL_COLUMNS] + i % p[RADIUS])


@njit(**FLAGS)
def weights_of(p, task, first, rows, height, width):
    return p[WEIGHT] + 4 * ((task // p[CLASSES]) * height + first) * width


@njit(**FLAGS)
def find_means(p, task, cells, height, width, means):
    """The mean of each cell of the windows, by weight."""
    mean = doubles(means, cells)
    clear(mean, cells)
    whole = 0.0
    for row in range(height):
        weight = weights_of(p, task, row, 1, height, width)
        whole += sum_row(weight, width)
        for cell in range(cells):
            mean[cell] += dot_floats(source_of(p, task, cell, row), weight, width)
    for cell in range(cells):
        mean[cell] /= whole if whole != 0 else 1.0


@njit(**FLAGS)
def lay_out(p, task, cells, first, rows, width, means, z, length):
    """What the cells of the windows of some rows deviate from their mean: (cells, length)."""
    mean = doubles(means, cells)
    for cell in range(cells):
        for row in range(rows):
            center(
                source_of(p, task, cell, first + row),
                mean[cell],
                z + 8 * (cell * length + row * width),
                width,
            )


@njit(**FLAGS)
def center(source, mean, result, size):
    values, deviations = floats(source, size), doubles(result, size)
    for x in range(size):
        deviations[x] = values[x] - mean


@njit(**FLAGS)
def multiply_row(source, weight, result, size):
    values, weights, products = doubles(source, size), floats(weight, size), doubles(result, size)
    for x in range(size):
        products[x] = values[x] * weights[x]


@njit(**FLAGS)
def combine(factors, z, cells, length, size, result):
    """The sum of factor x row; an even number of rows."""
    total = doubles(result, size)
    clear(total, size)
    for cell in range(0, cells, 2):
        one, other = doubles(z + 8 * cell * length, size), doubles(z + 8 * (cell + 1) * length, size)
        factor, second = factors[cell], factors[cell + 1]
        for x in range(size):
            total[x] += factor * one[x] + second * other[x]


@njit(**REORDERED)
def dot(a, b, size):
    one, other, total = doubles(a, size), doubles(b, size), 0.0
    for x in range(size):
        total += one[x] * other[x]
    return total


@njit(**REORDERED)
def dot_floats(a, b, size):
    """In fp64."""
    one, other, total = floats(a, size), floats(b, size), 0.0
    for x in range(size):
        total += float(one[x]) * float(other[x])
    return total


@njit(**REORDERED)
def sum_row(a, size):
    values, total = floats(a, size), 0.0
    for x in range(size):
        total += values[x]
    return total


@njit(**FLAGS)
def add(source, result, size):
    values, total = doubles(source, size), doubles(result, size)
    for x in range(size):
        total[x] += values[x]


@njit(**FLAGS)
def narrow(source, result, size):
    values, rounded = doubles(source, size), floats(result, size)
    for x in range(size):
        rounded[x] = values[x]


@njit(**FLAGS)
def clear(row, size):
    for x in range(size):
        row[x] = 0
