"""What some criteria sum over the classes beside exp(x - largest), in the pass that is made over them anyway."""

from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import FLAGS, ZERO, exponential, floats, int64s
from segkit.losses.kernels.cpu.loops.blocks import prefetch_bytes
from segkit.losses.kernels.cpu.loops.criteria.slots import ADJUSTED, END, KIND, MARGIN, NUMBERS


@njit(**FLAGS)
def sums_more(criterion):
    """Whether a criterion has such a sum."""
    kind = int64s(criterion, END)[KIND]
    return (kind == ADJUSTED) | (kind == MARGIN)


@njit(**FLAGS)
def sum_for(criterion, x, step, classes, size, largest, total, lines, following, next_step, next_bytes):
    """`same_size.sum_exponentials`, and into the first of the `lines` the other sum: of ADJUSTED that in which each
    class has a weight, of MARGIN by how much the logits are farther from the largest than that."""
    q, other = int64s(criterion, END), floats(lines, size)
    for i in range(size):
        total[i] = other[i] = ZERO
    more = following, next_step, next_bytes
    if q[KIND] == ADJUSTED:
        _sum_weighted(
            x, step, classes, size, largest, total, floats(q[NUMBERS] + 4 * classes, classes), other, *more
        )
    else:
        _sum_beyond(x, step, classes, size, largest, total, floats(q[NUMBERS], 1)[0], other, *more)


@njit(**FLAGS)
def _sum_weighted(x, step, classes, size, largest, total, weight, weighted, following, next_step, next_bytes):
    c = 0
    while c + 2 <= classes:
        row, next_row = floats(x + c * step, size), floats(x + (c + 1) * step, size)
        own, next_own = weight[c], weight[c + 1]
        prefetch_bytes(following + c * next_step, next_bytes)
        for i in range(size):
            power, next_power = exponential(row[i] - largest[i]), exponential(next_row[i] - largest[i])
            total[i] += power + next_power
            weighted[i] += own * power + next_own * next_power
        prefetch_bytes(following + (c + 1) * next_step, next_bytes)
        c += 2
    if c < classes:
        row, own = floats(x + c * step, size), weight[c]
        prefetch_bytes(following + c * next_step, next_bytes)
        for i in range(size):
            power = exponential(row[i] - largest[i])
            total[i] += power
            weighted[i] += own * power


@njit(**FLAGS)
def _sum_beyond(x, step, classes, size, largest, total, margin, beyond, following, next_step, next_bytes):
    c = 0
    while c + 2 <= classes:
        row, next_row = floats(x + c * step, size), floats(x + (c + 1) * step, size)
        prefetch_bytes(following + c * next_step, next_bytes)
        for i in range(size):
            less, next_less = row[i] - largest[i], next_row[i] - largest[i]
            total[i] += exponential(less) + exponential(next_less)
            less, next_less = -less - margin, -next_less - margin
            beyond[i] += (less if less > 0 else ZERO) + (next_less if next_less > 0 else ZERO)
        prefetch_bytes(following + (c + 1) * next_step, next_bytes)
        c += 2
    if c < classes:
        row = floats(x + c * step, size)
        prefetch_bytes(following + c * next_step, next_bytes)
        for i in range(size):
            less = row[i] - largest[i]
            total[i] += exponential(less)
            less = -less - margin
            beyond[i] += less if less > 0 else ZERO
