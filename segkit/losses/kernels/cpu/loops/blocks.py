"""Blocks of pixels in the compiled kernels: labels and logits from any layout to fp32, and gradients back.

A block is a matrix (classes, pixels) in a buffer that stays in the cache. Logits lie in `planes`, where the pixels of a
class are neighbours, or with the `channels` of a pixel as neighbours (torch.channels_last). Whatever is a matrix here
is an address and a step in bytes: an array with two indices would be looked at for negative ones.
"""

from numba import njit

from segkit.losses.kernels.cpu.loops.arithmetic import (
    FLAGS,
    ZERO,
    bytes_,
    copy_line,
    exponential,
    floats,
    halves,
    int8s,
    int16s,
    int32s,
    int64s,
    named_for,
    prefetch,
)
from segkit.losses.kernels.cpu.loops.transpose import BFLOAT16, FLOAT16, FLOAT32, make_reader, make_turn

#: Codes of the dtypes of labels.
UINT8, INT8, INT16, INT32, INT64 = 0, 1, 2, 3, 4


@njit(**FLAGS)
def read_labels(address, kind, ignore_index, classes, size, label):
    """Labels of `size` pixels as int32, -1 where a pixel is ignored or its label is no class: how many are valid, and
    how many of these are no class."""
    if kind == UINT8:
        return _read_labels(bytes_(address, size), ignore_index, classes, size, label)
    if kind == INT64:
        return _read_labels(int64s(address, size), ignore_index, classes, size, label)
    if kind == INT8:
        return _read_labels(int8s(address, size), ignore_index, classes, size, label)
    if kind == INT16:
        return _read_labels(int16s(address, size), ignore_index, classes, size, label)
    return _read_labels(int32s(address, size), ignore_index, classes, size, label)


@njit(**FLAGS)
def _read_labels(target, ignore_index, classes, size, label):
    n_valid = 0
    n_broken = 0
    for i in range(size):
        number = target[i]
        is_class = (number >= 0) & (number < classes)
        is_valid = number != ignore_index
        label[i] = number if is_class & is_valid else -1
        n_valid += is_valid
        n_broken += is_valid & (not is_class)
    return n_valid, n_broken


def _make_load(kind):
    from_bits, _ = make_reader(kind)
    read = floats if kind == FLOAT32 else halves
    bytes_each = 4 if kind == FLOAT32 else 2
    turn16, turn8, turn4 = (make_turn(size, kind, FLOAT32) for size in (16, 8, 4))

    @njit(**FLAGS)
    @named_for(kind)
    def load_planes(address, step, classes, size, block, block_step):
        for c in range(classes):
            source, row = read(address + c * step, size), floats(block + c * block_step, size)
            for i in range(size):
                row[i] = from_bits(source[i])

    @njit(**FLAGS)
    @named_for(kind)
    def turn_some(address, step, block, block_step, count):
        if count > 8:
            turn16(address, step, block, block_step)
        elif count > 4:
            turn8(address, step, block, block_step)
            turn8(address + 8 * step, step, block + 32, block_step)
        else:
            turn4(address, step, block, block_step)
            turn4(address + 4 * step, step, block + 16, block_step)
            turn4(address + 8 * step, step, block + 32, block_step)
            turn4(address + 12 * step, step, block + 48, block_step)

    @njit(**FLAGS)
    @named_for(kind)
    def load_channels(address, step, classes, size, block, block_step):
        whole = size // 16 * 16 if classes >= 4 else 0
        for i in range(0, whole, 16):
            here, to = address + i * step, block + 4 * i
            c = 0
            while c < classes:
                left = classes - c
                count = 16 if left > 8 else (8 if left > 4 else 4)
                count = count if count <= classes else count // 2
                c = min(c, classes - count)
                turn_some(here + c * bytes_each, step, to + c * block_step, block_step, count)
                c += count
        for i in range(whole, size):
            source = read(address + i * step, classes)
            for c in range(classes):
                floats(block + c * block_step + 4 * i, 1)[0] = from_bits(source[c])

    return load_planes, load_channels


def _make_store(kind):
    _, to_bits = make_reader(kind)
    write = floats if kind == FLOAT32 else halves
    bytes_each = 4 if kind == FLOAT32 else 2
    turn16, turn8, turn4 = (make_turn(size, FLOAT32, kind) for size in (16, 8, 4))

    @njit(**FLAGS)
    @named_for(kind)
    def store_planes(address, step, classes, size, block, block_step):
        for c in range(classes):
            result, row = write(address + c * step, size), floats(block + c * block_step, size)
            for i in range(size):
                result[i] = to_bits(row[i])

    @njit(**FLAGS)
    @named_for(kind)
    def turn_some(block, block_step, address, step, count):
        if count > 8:
            turn16(block, block_step, address, step)
        elif count > 4:
            turn8(block, block_step, address, step)
            turn8(block + 32, block_step, address + 8 * step, step)
        else:
            turn4(block, block_step, address, step)
            turn4(block + 16, block_step, address + 4 * step, step)
            turn4(block + 32, block_step, address + 8 * step, step)
            turn4(block + 48, block_step, address + 12 * step, step)

    @njit(**FLAGS)
    @named_for(kind)
    def store_channels(address, step, classes, size, block, block_step):
        whole = size // 16 * 16 if classes >= 4 else 0
        for i in range(0, whole, 16):
            here, to = block + 4 * i, address + i * step
            c = 0
            while c < classes:
                left = classes - c
                count = 16 if left > 8 else (8 if left > 4 else 4)
                count = count if count <= classes else count // 2
                c = min(c, classes - count)
                turn_some(here + c * block_step, block_step, to + c * bytes_each, step, count)
                c += count
        for i in range(whole, size):
            result = write(address + i * step, classes)
            for c in range(classes):
                result[c] = to_bits(floats(block + c * block_step + 4 * i, 1)[0])

    return store_planes, store_channels


_load_planes, _load_channels = _make_load(FLOAT32)
_load_bfloat16_planes, _load_bfloat16_channels = _make_load(BFLOAT16)
_load_float16_planes, _load_float16_channels = _make_load(FLOAT16)
_store_planes, _store_channels = _make_store(FLOAT32)
_store_bfloat16_planes, _store_bfloat16_channels = _make_store(BFLOAT16)
_store_float16_planes, _store_float16_channels = _make_store(FLOAT16)


@njit(**FLAGS)
def load_block(address, kind, channels_last, class_step, pixel_step, classes, size, block, block_step):
    """Logits of `size` pixels, the first at `address`, into `block` (classes, size)."""
    if channels_last:
        if kind == FLOAT32:
            _load_channels(address, pixel_step, classes, size, block, block_step)
        elif kind == BFLOAT16:
            _load_bfloat16_channels(address, pixel_step, classes, size, block, block_step)
        else:
            _load_float16_channels(address, pixel_step, classes, size, block, block_step)
    elif kind == FLOAT32:
        _load_planes(address, class_step, classes, size, block, block_step)
    elif kind == BFLOAT16:
        _load_bfloat16_planes(address, class_step, classes, size, block, block_step)
    else:
        _load_float16_planes(address, class_step, classes, size, block, block_step)


@njit(**FLAGS)
def store_block(address, kind, channels_last, class_step, pixel_step, classes, size, block, block_step):
    """`block` (classes, size) to where the gradient of `size` pixels lies."""
    if channels_last:
        if kind == FLOAT32:
            _store_channels(address, pixel_step, classes, size, block, block_step)
        elif kind == BFLOAT16:
            _store_bfloat16_channels(address, pixel_step, classes, size, block, block_step)
        else:
            _store_float16_channels(address, pixel_step, classes, size, block, block_step)
    elif kind == FLOAT32:
        _store_planes(address, class_step, classes, size, block, block_step)
    elif kind == BFLOAT16:
        _store_bfloat16_planes(address, class_step, classes, size, block, block_step)
    else:
        _store_float16_planes(address, class_step, classes, size, block, block_step)


@njit(**FLAGS)
def write_block(
    result, kind, channels_last, class_step, pixel_step, classes, size, block, block_step, staged, past_caches
):
    """`block` (classes, size) to where the gradient of `size` pixels lies, past the caches or not; `staged` is memory
    for so many numbers. The layout is that of the logits, but without gaps."""
    if not past_caches:
        store_block(result, kind, channels_last, class_step, pixel_step, classes, size, block, block_step)
        return
    itemsize = 4 if kind == FLOAT32 else 2
    if channels_last:
        store_block(staged, kind, True, itemsize, pixel_step, classes, size, block, block_step)
        copy_past_caches(staged, result, size * pixel_step)
        return
    if kind != FLOAT32:
        store_block(staged, kind, False, block_step, itemsize, classes, size, block, block_step)
        block = staged
    for c in range(classes):
        copy_past_caches(block + c * block_step, result + c * class_step, size * itemsize)


@njit(**FLAGS)
def clear_bytes(address, size):
    """Zeros there."""
    row = int8s(address, size)
    for i in range(size):
        row[i] = 0


@njit(**FLAGS)
def copy_past_caches(source, result, size):
    """Copies bytes, whole lines of the memory past the caches."""
    head = min(-result & 63, size)
    _copy_bytes(source, result, head)
    whole = (size - head) // 64 * 64
    for i in range(head, head + whole, 64):
        copy_line(source + i, result + i)
    _copy_bytes(source + head + whole, result + head + whole, size - head - whole)


@njit(**FLAGS)
def _copy_bytes(source, result, size):
    old, new = int8s(source, size), int8s(result, size)
    for i in range(size):
        new[i] = old[i]


@njit(**FLAGS)
def prefetch_bytes(address, size):
    """Has these bytes brought near."""
    for i in range(0, size, 64):
        prefetch(address + i)


@njit(**FLAGS)
def find_largest(x, step, classes, size, largest):
    """The largest logit of each pixel of x (classes, size); NaN or another where one is NaN."""
    row = floats(x, size)
    for i in range(size):
        largest[i] = row[i]
    c = 1
    while c + 4 <= classes:
        a, b = floats(x + c * step, size), floats(x + (c + 1) * step, size)
        d, e = floats(x + (c + 2) * step, size), floats(x + (c + 3) * step, size)
        for i in range(size):
            f = b[i] if b[i] > a[i] else a[i]
            g = e[i] if e[i] > d[i] else d[i]
            f = g if g > f else f
            largest[i] = f if f > largest[i] else largest[i]
        c += 4
    while c < classes:
        row = floats(x + c * step, size)
        for i in range(size):
            largest[i] = row[i] if row[i] > largest[i] else largest[i]
        c += 1


@njit(**FLAGS)
def pick_true(x, step, label, size, true):
    """The logit of each pixel's true class; of class 0 where it is ignored."""
    for i in range(size):
        true[i] = floats(x + max(label[i], 0) * step + 4 * i, 1)[0]


@njit(**FLAGS)
def weigh_probabilities(
    x, step, classes, size, largest, log_sum, slope, out, out_step, following, next_step, next_bytes
):
    """slope x p of each class; exactly 0 where the slope is, whatever the logits are. What is `following` is brought
    near meanwhile, of each class so many bytes."""
    for c in range(classes):
        row, result = floats(x + c * step, size), floats(out + c * out_step, size)
        prefetch_bytes(following + c * next_step, next_bytes)
        for i in range(size):
            p = exponential(row[i] - largest[i] - log_sum[i])
            result[i] = slope[i] * p if slope[i] != 0 else ZERO
