"""What Label Studio's brush saves, written from its description, for tests of what reads it."""

import itertools

import numpy as np

#: The lengths that counts are written with; Label Studio's own, and another choice.
LENGTHS = (3, 4, 8, 16)


def pack_brush(values: np.ndarray, *, lengths: tuple[int, ...] = LENGTHS, singles: bool = True) -> bytes:
    """Bytes (N,) uint8 as runs of equal values; single values as runs of different ones if `singles`."""
    bits = [f"{len(values):032b}", f"{8 - 1:05b}", *(f"{length - 1:04b}" for length in lengths)]
    pending: list[int] = []

    def write_count(count: int) -> str:
        place = next(n for n, length in enumerate(lengths) if count - 1 < 2**length)
        return f"{place:02b}{count - 1:0{lengths[place]}b}"

    def flush() -> None:
        for start in range(0, len(pending), 4):
            part = pending[start : start + 4]
            bits.append("0" + write_count(len(part)) + "".join(f"{value:08b}" for value in part))
        pending.clear()

    for value, group in itertools.groupby(values.tolist()):
        count = len(list(group))
        if count == 1 and singles:
            pending.append(value)
            continue
        flush()
        while count:
            part = min(count, 2 ** lengths[-1])
            bits.append("1" + write_count(part) + f"{value:08b}")
            count -= part
    flush()
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[n : n + 8], 2) for n in range(0, len(text), 8))


def brush_picture(inside: np.ndarray, *, alpha: int = 255) -> np.ndarray:
    """An RGBA picture, flat, of which the pixels `inside` (H, W) are opaque."""
    return np.repeat(inside.reshape(-1).astype(np.uint8) * alpha, 4)
