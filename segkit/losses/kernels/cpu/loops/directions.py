"""Where the pixels at a predicted border ought to move, and where they do: value and slope of the active boundary loss.

The marked pixels are computed in chunks: of all classes what a pixel and its eight neighbours have is gathered, and
from there on a pixel is a place in a vector. `borders` has the places in the numbers of a call.
"""

import numpy as np
from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    INFINITE,
    ONE,
    ZERO,
    bytes_,
    exponential,
    floats,
    halves,
    int64s,
    logarithm,
    named_for,
    take_ticket,
)
from segkit.losses.kernels.cpu.loops.borders import (
    CE,
    CLASS_STEP,
    CLASSES,
    COLUMNS,
    COUNT,
    COUNTED,
    DISTANCE,
    END,
    GRADIENT,
    GRADIENT_CLASS_STEP,
    GRADIENT_IMAGE_STEP,
    GRADIENT_PIXEL_STEP,
    IMAGE_STEP,
    KIND,
    LARGEST,
    LOG_SUM,
    LOGITS,
    MARK,
    NUMBERS,
    PIXEL_STEP,
    PLACES,
    ROWS,
    SCRATCH,
    SCRATCH_BYTES,
    SLOPE,
    SLOPES,
    TASK,
    THREAD,
    VALID,
    VALUE,
)
from segkit.losses.kernels.cpu.loops.transpose import BFLOAT16, FLOAT16, FLOAT32, make_reader

#: Pixels that are computed at once.
CHUNK = 64
ROW = 4 * CHUNK
#: Neighbours of a pixel; the pixel itself comes after them.
AROUND = 8
#: Of each pixel and neighbour: where it is (int64, two rows), its largest logit, and the logarithm of its sum. Of each
#: neighbour: its distance, infinite if it is none, its divergence, and its part of the target. Then rows of one number.
WHERE, HIGH, LOG = 0, 2 * (AROUND + 1), 3 * (AROUND + 1)
NEAR, SCORE, PART = 4 * (AROUND + 1), 4 * (AROUND + 1) + AROUND, 4 * (AROUND + 1) + 2 * AROUND
OWN = PART + AROUND
LINES = OWN + 6
#: The score of what is no neighbour.
NO_SCORE = np.float32(-1e30)


@njit(**FLAGS)
def direct(address, version):
    """The value of each marked pixel, and its slope at the logits of that pixel."""
    p = int64s(address, END)
    lines = p[SCRATCH] + take_ticket(address + 8 * THREAD) * p[SCRATCH_BYTES]
    chances = lines + LINES * ROW
    places = int64s(p[PLACES], p[COUNT])
    while True:
        task = take_ticket(address + 8 * TASK)
        start = task * CHUNK
        if start >= p[COUNT]:
            return
        count = min(CHUNK, p[COUNT] - start)
        for k in range(CHUNK):  # those that are missing are as the last
            _look_around(p, places[start + min(k, count - 1)], k, lines)
        _find_divergences(p, lines, chances)
        _choose_direction(p, lines)
        value, factor = floats(lines + (OWN + 4) * ROW, CHUNK), floats(lines + (OWN + 5) * ROW, CHUNK)
        for k in range(count):
            place = places[start + k]
            own, ce = floats(p[DISTANCE] + 4 * place, 1)[0], floats(p[CE] + 4 * place, 1)[0]
            most = floats(p[NUMBERS], 1)[0]
            is_counted = bytes_(p[MARK] + place, 1)[0] == COUNTED
            factor[k] = (own if own < most else most) / most if is_counted else ZERO * ce
            floats(p[VALUE] + 4 * place, 1)[0] = factor[k] * value[k] if is_counted else factor[k]
        for k in range(count, CHUNK):
            factor[k] = ZERO
        _write_slopes(p[CLASSES], lines, chances, p[SLOPES] + task * p[CLASSES] * ROW)


@njit(**FLAGS)
def _look_around(p, place, k, lines):
    """Where the neighbours of a pixel are and what is known of them; for those that are none itself."""
    rows, columns = p[ROWS], p[COLUMNS]
    image, in_image = place // (rows * columns), place % (rows * columns)
    y, x = in_image // columns, in_image % columns
    j = 0
    for down in range(-1, 2):
        for right in range(-1, 2):
            is_self = down == 0 and right == 0
            inside = 0 <= y + down < rows and 0 <= x + right < columns
            step = down * columns + right
            there = place + step if inside else place
            is_none = not inside or bytes_(p[VALID] + there, 1)[0] == 0
            there = place if is_none else there
            to = AROUND if is_self else j
            address = p[LOGITS] + image * p[IMAGE_STEP] + (in_image + there - place) * p[PIXEL_STEP]
            int64s(lines + (WHERE + 2 * to) * ROW, CHUNK)[k] = address
            floats(lines + (HIGH + to) * ROW, CHUNK)[k] = floats(p[LARGEST] + 4 * there, 1)[0]
            floats(lines + (LOG + to) * ROW, CHUNK)[k] = floats(p[LOG_SUM] + 4 * there, 1)[0]
            if not is_self:
                distance = INFINITE if is_none else floats(p[DISTANCE] + 4 * there, 1)[0]
                floats(lines + (NEAR + j) * ROW, CHUNK)[k] = distance
                floats(lines + (SCORE + j) * ROW, CHUNK)[k] = NO_SCORE if is_none else ZERO
                j += 1


def _make_gather(kind):
    from_bits, to_bits = make_reader(kind)
    read = floats if kind == FLOAT32 else halves

    @njit(**FLAGS)
    @named_for(kind)
    def gather(where, step, result):
        for k in range(CHUNK):
            result[k] = from_bits(read(where[k] + step, 1)[0])

    @njit(**FLAGS)
    @named_for(kind)
    def put(address, number):
        read(address, 1)[0] = to_bits(number)

    return gather, put


_gather_float32, _put_float32 = _make_gather(FLOAT32)
_gather_bfloat16, _put_bfloat16 = _make_gather(BFLOAT16)
_gather_float16, _put_float16 = _make_gather(FLOAT16)


@njit(**FLAGS)
def _gather(kind, where, step, result):
    """The logits of one class at the addresses of the pixels."""
    if kind == FLOAT32:
        _gather_float32(where, step, result)
    elif kind == BFLOAT16:
        _gather_bfloat16(where, step, result)
    else:
        _gather_float16(where, step, result)


@njit(**FLAGS)
def _find_divergences(p, lines, chances):
    """Adds KL(p_j || p_i) to the score of each neighbour j, and writes p_j: (classes, AROUND, CHUNK)."""
    own = floats(lines + OWN * ROW, CHUNK)
    for c in range(p[CLASSES]):
        step = c * p[CLASS_STEP]
        _gather(p[KIND], int64s(lines + (WHERE + 2 * AROUND) * ROW, CHUNK), step, own)
        _take_sums(
            own, floats(lines + (HIGH + AROUND) * ROW, CHUNK), floats(lines + (LOG + AROUND) * ROW, CHUNK)
        )
        for j in range(AROUND):
            chance = floats(chances + (c * AROUND + j) * ROW, CHUNK)
            _gather(p[KIND], int64s(lines + (WHERE + 2 * j) * ROW, CHUNK), step, chance)
            _take_sums(
                chance, floats(lines + (HIGH + j) * ROW, CHUNK), floats(lines + (LOG + j) * ROW, CHUNK)
            )
            _add_divergence(chance, own, floats(lines + (SCORE + j) * ROW, CHUNK))


@njit(**FLAGS)
def _take_sums(row, high, log_sum):
    """Logits to the logarithms of probabilities."""
    for k in range(CHUNK):
        row[k] = (row[k] - high[k]) - log_sum[k]


@njit(**FLAGS)
def _add_divergence(row, own, score):
    """Logarithms of probabilities to these, and what they add to the divergence from a pixel's `own`."""
    for k in range(CHUNK):
        log_p = row[k]
        chance = exponential(log_p)
        score[k] += chance * (log_p - own[k])
        row[k] = chance


@njit(**FLAGS)
def _choose_direction(p, lines):
    """The cross-entropy of the softmax of the scores with the true direction, and its slope at the scores, which takes
    their place."""
    smoothing = floats(p[NUMBERS], 2)[1]
    high, total = floats(lines + OWN * ROW, CHUNK), floats(lines + (OWN + 1) * ROW, CHUNK)
    nearest, best = floats(lines + (OWN + 2) * ROW, CHUNK), floats(lines + (OWN + 3) * ROW, CHUNK)
    value, others = floats(lines + (OWN + 4) * ROW, CHUNK), floats(lines + (OWN + 5) * ROW, CHUNK)
    for k in range(CHUNK):
        high[k], nearest[k] = NO_SCORE, INFINITE
        total[k] = best[k] = others[k] = value[k] = ZERO
    for j in range(AROUND):
        score, near = floats(lines + (SCORE + j) * ROW, CHUNK), floats(lines + (NEAR + j) * ROW, CHUNK)
        for k in range(CHUNK):
            high[k] = score[k] if score[k] > high[k] else high[k]
        for k in range(CHUNK):
            nearest[k] = near[k] if near[k] < nearest[k] else nearest[k]
    for j in range(AROUND):
        score, near = floats(lines + (SCORE + j) * ROW, CHUNK), floats(lines + (NEAR + j) * ROW, CHUNK)
        for k in range(CHUNK):
            total[k] += exponential(score[k] - high[k])
        for k in range(CHUNK):
            is_one = near[k] < INFINITE
            best[k] += ONE if is_one & (near[k] == nearest[k]) else ZERO
            others[k] += ONE if is_one & (near[k] != nearest[k]) else ZERO
    for k in range(CHUNK):
        total[k] = logarithm(total[k])
    for k in range(CHUNK):
        rest = smoothing if others[k] > 0 else ZERO
        best[k] = (ONE - rest) / (best[k] if best[k] > ONE else ONE)
        others[k] = rest / (others[k] if others[k] > ONE else ONE)
    for j in range(AROUND):
        score, near = floats(lines + (SCORE + j) * ROW, CHUNK), floats(lines + (NEAR + j) * ROW, CHUNK)
        part = floats(lines + (PART + j) * ROW, CHUNK)
        for k in range(CHUNK):
            wanted = best[k] if near[k] == nearest[k] else others[k]
            part[k] = wanted if near[k] < INFINITE else ZERO
        for k in range(CHUNK):
            log_p = (score[k] - high[k]) - total[k]
            value[k] -= part[k] * log_p if near[k] < INFINITE else ZERO
            score[k] = exponential(log_p) - part[k] if near[k] < INFINITE else ZERO


@njit(**FLAGS)
def _write_slopes(classes, lines, chances, result):
    """Of each class - factor x sum_j slope_j p_j: the slopes sum to 0, and so does what the softmax takes away."""
    factor = floats(lines + (OWN + 5) * ROW, CHUNK)
    for c in range(classes):
        slope = floats(result + c * ROW, CHUNK)
        for k in range(CHUNK):
            slope[k] = ZERO
        for j in range(AROUND):
            chance = floats(chances + (c * AROUND + j) * ROW, CHUNK)
            score = floats(lines + (SCORE + j) * ROW, CHUNK)
            for k in range(CHUNK):
                slope[k] -= score[k] * chance[k]
        for k in range(CHUNK):
            slope[k] *= factor[k]


@njit(**FLAGS)
def write_back(address, version):
    """The slope of each marked pixel times that at its value, to where the gradient of that pixel lies."""
    p = int64s(address, END)
    places, kind, pixels = int64s(p[PLACES], p[COUNT]), p[KIND], p[ROWS] * p[COLUMNS]
    while True:
        task = take_ticket(address + 8 * TASK)
        start = task * CHUNK
        if start >= p[COUNT]:
            return
        count = min(CHUNK, p[COUNT] - start)
        for c in range(p[CLASSES]):
            slope = floats(p[SLOPES] + (task * p[CLASSES] + c) * ROW, CHUNK)
            for k in range(count):
                place = places[start + k]
                given = floats(p[SLOPE] + 4 * place, 1)[0]
                address_there = p[GRADIENT] + c * p[GRADIENT_CLASS_STEP]
                address_there += place // pixels * p[GRADIENT_IMAGE_STEP]
                address_there += place % pixels * p[GRADIENT_PIXEL_STEP]
                number = given * slope[k] if given != 0 else ZERO
                if kind == FLOAT32:
                    _put_float32(address_there, number)
                elif kind == BFLOAT16:
                    _put_bfloat16(address_there, number)
                else:
                    _put_float16(address_there, number)
