"""Cells of pixels: masses, and what they weigh, summed over them; see `common.windows`.

Sums are in fp32, row by row in the order of plain PyTorch. A task is a row of cells, so nothing depends on which thread
took which.
"""

from enum import IntEnum, auto

from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ZERO,
    exponential,
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
    ROWS = auto()  # of pixels, H
    COLUMNS = auto()
    POOL = auto()
    CELL_ROWS = auto()  # h
    CELL_COLUMNS = auto()
    LOG_P = auto()  # float32 (N, C, H, W)
    LABELS = auto()  # int64 (N, H, W)
    MASS = auto()  # float32 (N, H, W)
    POOLED = auto()  # float32 (N, C, h, w), written forward
    SLOPE = auto()  # float32 (N, C, h, w): the gradient at the sums of a cell
    GRADIENT = auto()  # float32 (N, C, H, W), written backward
    END = auto()


(
    TASK, THREAD, SCRATCH, SCRATCH_BYTES, IMAGES, CLASSES, ROWS, COLUMNS, POOL, CELL_ROWS, CELL_COLUMNS, LOG_P, LABELS,
    MASS, POOLED, SLOPE, GRADIENT, END,
) = (int(slot) for slot in Slot)  # fmt: skip


@njit(**FLAGS)
def pool_labels(address, version):
    """The masses of the pixels of each class, summed over cells and divided by their pixels: of class ids."""
    p = int64s(address, END)
    columns, pool, width, classes = p[COLUMNS], p[POOL], p[CELL_COLUMNS], p[CLASSES]
    plane = p[CELL_ROWS] * width
    square = pool * pool
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= p[IMAGES] * p[CELL_ROWS]:
            return
        image, row = task // p[CELL_ROWS], task % p[CELL_ROWS]
        first = image * classes * plane + row * width
        for c in range(classes):
            clear(floats(p[POOLED] + 4 * (first + c * plane), width), width)
        for y in range(row * pool, min(p[ROWS], row * pool + pool)):
            place = (image * p[ROWS] + y) * columns
            label, mass = int64s(p[LABELS] + 8 * place, columns), floats(p[MASS] + 4 * place, columns)
            for x in range(columns):
                if (mass[x] > 0) & (label[x] >= 0) & (label[x] < classes):
                    floats(p[POOLED] + 4 * (first + label[x] * plane + x // pool), 1)[0] += mass[x]
        for c in range(classes):
            divide(floats(p[POOLED] + 4 * (first + c * plane), width), width, square)


@njit(**FLAGS)
def pool_exp(address, version):
    """Masses of pixels times exp of what is there, summed over cells and divided by their pixels."""
    p = int64s(address, END)
    columns, pool, width = p[COLUMNS], p[POOL], p[CELL_COLUMNS]
    masses = floats(p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES], columns)
    square = pool * pool
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= p[IMAGES] * p[CLASSES] * p[CELL_ROWS]:
            return
        plane, row = task // p[CELL_ROWS], task % p[CELL_ROWS]
        image = plane // p[CLASSES]
        total = floats(p[POOLED] + 4 * (plane * p[CELL_ROWS] + row) * width, width)
        clear(total, width)
        for y in range(row * pool, min(p[ROWS], row * pool + pool)):
            log_p = floats(p[LOG_P] + 4 * (plane * p[ROWS] + y) * columns, columns)
            weigh(log_p, floats(p[MASS] + 4 * (image * p[ROWS] + y) * columns, columns), columns, masses)
            whole = columns // pool
            for cell in range(whole):
                sum_ = total[cell]
                for x in range(cell * pool, cell * pool + pool):
                    sum_ += masses[x]
                total[cell] = sum_
            for x in range(whole * pool, columns):
                total[whole] += masses[x]
        divide(total, width, square)


@njit(**FLAGS)
def pool_exp_backward(address, version):
    """The gradient at what `pool_exp` takes exp of; `SLOPE` is divided already."""
    p = int64s(address, END)
    columns, pool, width = p[COLUMNS], p[POOL], p[CELL_COLUMNS]
    wide = floats(p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES], columns)
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= p[IMAGES] * p[CLASSES] * p[CELL_ROWS]:
            return
        plane, row = task // p[CELL_ROWS], task % p[CELL_ROWS]
        image = plane // p[CLASSES]
        slope = floats(p[SLOPE] + 4 * (plane * p[CELL_ROWS] + row) * width, width)
        for cell in range(width):
            for x in range(cell * pool, min(columns, cell * pool + pool)):
                wide[x] = slope[cell]
        for y in range(row * pool, min(p[ROWS], row * pool + pool)):
            place = 4 * (plane * p[ROWS] + y) * columns
            log_p, result = floats(p[LOG_P] + place, columns), floats(p[GRADIENT] + place, columns)
            mass = floats(p[MASS] + 4 * (image * p[ROWS] + y) * columns, columns)
            weigh(log_p, mass, columns, result)
            for x in range(columns):
                result[x] *= wide[x]


@njit(**FLAGS)
def weigh(log_p, mass, columns, result):
    """mass x exp(log_p), and 0 where there is no mass, whatever is there."""
    for x in range(columns):
        result[x] = exponential(log_p[x]) * mass[x] if mass[x] > 0 else ZERO


@njit(**FLAGS)
def clear(row, size):
    for x in range(size):
        row[x] = 0


@njit(**FLAGS)
def divide(row, size, by):
    for x in range(size):
        row[x] = row[x] / by
