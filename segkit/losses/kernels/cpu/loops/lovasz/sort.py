"""Lists of numbers sorted by radix: int64, of which the upper 32 bits are the key, by falling keys."""

from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import FLAGS, int32s, int64s

#: Bits of a digit of the sort: two passes take this many each, and the few bits below are put right afterwards.
BITS = 12
BINS = 1 << BITS


@njit(**FLAGS)
def sort_list(first, second, count, limit, largest, scratch):
    """Sorts a list by falling keys, with a second one to write to; returns whether the first is the sorted one."""
    if count == 0:
        return True
    bits = 0
    while (largest - limit) >> bits:
        bits += 1
    shift = max(bits - 2 * BITS, 0)
    done = _sort_digits(first, second, count, limit, shift, bits, scratch)
    if shift > 0 and not _insert(first if done else second, count):
        # Many keys are nearly the same: all their bits, from the lowest on.
        if not done:
            first, second = second, first
        return _sort_digits(first, second, count, limit, 0, bits, scratch) == done
    return done


@njit(**FLAGS)
def _sort_digits(first, second, count, limit, shift, bits, scratch):
    """Sorts by the bits of key - limit from `shift` on, and leaves the order of those that are the same there."""
    counts = int32s(scratch, BINS)
    in_first = True
    while shift < bits:
        source, result = int64s(first, count), int64s(second, count)
        for k in range(BINS):
            counts[k] = 0
        for i in range(count):
            counts[(((source[i] >> 32) - limit) >> shift) & (BINS - 1)] += 1
        total = 0
        for k in range(BINS - 1, -1, -1):
            here = counts[k]
            counts[k] = total
            total += here
        for i in range(count):
            digit = (((source[i] >> 32) - limit) >> shift) & (BINS - 1)
            result[counts[digit]] = source[i]
            counts[digit] += 1
        first, second = second, first
        in_first = not in_first
        shift += BITS
    return in_first


@njit(**FLAGS)
def _insert(address, count):
    """Sorts a list that nearly is by exchanging neighbours, unless that takes long; returns whether it is sorted."""
    listed = int64s(address, count)
    left = 4 * count
    for i in range(1, count):
        here = listed[i]
        k = i
        while k > 0 and (listed[k - 1] >> 32) < (here >> 32):
            listed[k] = listed[k - 1]
            k -= 1
        listed[k] = here
        left -= i - k
        if left < 0:
            return False
    return True
