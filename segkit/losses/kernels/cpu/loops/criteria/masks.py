"""Which classes are near each pixel: a bit for each, of the valid pixels so many rows and columns away.

A task is a band of rows: each is looked at to the sides first, and then what several have is put together. Called with
the address of their numbers (`Slot`), as the kernels are.
"""

from enum import IntEnum, auto

from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import FLAGS, bytes_, int32s, int64s, take_ticket
from segkit.losses.kernels.cpu.loops.blocks import read_labels
from segkit.losses.kernels.cpu.loops.criteria.sums import WORD, find_bit


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
    MASKS = auto()  # int32 (words, N, H, W)
    MIXED = auto()  # bytes (N, H, W): whether a class is near that is not the pixel's own
    END = auto()


(
    TASK, THREAD, SCRATCH, SCRATCH_BYTES, IMAGES, CLASSES, ROWS, COLUMNS, RADIUS, TARGET, TARGET_KIND, TARGET_BYTES,
    IGNORE_INDEX, MASKS, MIXED, END,
) = (int(slot) for slot in Slot)  # fmt: skip

#: Rows of a task.
BAND = 32


@njit(**FLAGS)
def find_near(address, version):
    p = int64s(address, END)
    rows, columns, radius = p[ROWS], p[COLUMNS], p[RADIUS]
    scratch = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    line = 4 * (columns + 2 * radius)
    bands, words = (rows + BAND - 1) // BAND, (p[CLASSES] + WORD - 1) // WORD
    across = scratch + 2 * line
    while True:
        task = take_ticket(address + 8 * TASK)
        if task >= bands * p[IMAGES]:
            return
        image, first_row = task // bands, task % bands * BAND
        last_row = min(first_row + BAND, rows)
        start, stop = max(first_row - radius, 0), min(last_row + radius, rows)
        for word in range(words):
            for y in range(start, stop):
                _look_aside(
                    p, image * rows + y, word, scratch, line, int32s(across + (y - start) * line, columns)
                )
            for y in range(first_row, last_row):
                first = (image * rows + y) * columns
                mask = int32s(p[MASKS] + 4 * (word * p[IMAGES] * rows * columns + first), columns)
                for x in range(columns):
                    mask[x] = 0
                for row in range(max(y - radius, start), min(y + radius + 1, stop)):
                    there = int32s(across + (row - start) * line, columns)
                    for x in range(columns):
                        mask[x] |= there[x]
                own = _read_bits(p, image * rows + y, word, scratch, line)
                mixed = bytes_(p[MIXED] + first, columns)
                for x in range(columns):
                    before = mixed[x] if word > 0 else 0
                    mixed[x] = 1 if mask[x] & ~own[x] != 0 else before


@njit(**FLAGS)
def _look_aside(p, row, word, scratch, line, across):
    """What the pixels of a row see to their sides."""
    columns, radius = p[COLUMNS], p[RADIUS]
    _read_bits(p, row, word, scratch, line)
    for x in range(columns):
        across[x] = 0
    for step in range(2 * radius + 1):
        bits = int32s(scratch + line + 4 * step, columns)
        for x in range(columns):
            across[x] |= bits[x]


@njit(**FLAGS)
def _read_bits(p, row, word, scratch, line):
    """The bit of each pixel's class in this word, 0 if it has none, with zeros at both sides: without these."""
    columns, radius = p[COLUMNS], p[RADIUS]
    label, bits = int32s(scratch, columns), int32s(scratch + line, columns + 2 * radius)
    target = p[TARGET] + row * columns * p[TARGET_BYTES]
    read_labels(target, p[TARGET_KIND], p[IGNORE_INDEX], p[CLASSES], columns, label)
    for x in range(radius):
        bits[x] = bits[columns + radius + x] = 0
    own = int32s(scratch + line + 4 * radius, columns)
    for x in range(columns):
        # -1 is in no word.
        own[x] = find_bit(label[x]) if label[x] // WORD == word else 0
    return own
