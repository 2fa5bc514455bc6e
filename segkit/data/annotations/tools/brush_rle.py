"""Run lengths of Label Studio's brush: the bytes of an RGBA picture, packed bit by bit (the format of thi.ng/rle-pack).

32 bits   how many values there are
 5 bits   how many bits a value has, less 1
4x4 bits  four lengths of numbers, less 1
then runs: 1 bit whether all values of it are equal, 2 bits which of the lengths its count has, the count less 1,
and the value, or as many values
"""

import numpy as np


def decode_brush(packed: bytes, *, values: int) -> np.ndarray:
    """The `values` bytes that were packed, uint8. Raises ValueError if they are others, or fewer."""
    bits = _Bits(packed)
    count, width = bits.read(32), bits.read(5) + 1
    if count != values:
        raise ValueError(f"{count} values, expected {values}")
    if width != 8:
        raise ValueError(f"values of {width} bits, expected 8")
    lengths = [bits.read(4) + 1 for _ in range(4)]
    unpacked, place = np.empty(count, dtype=np.uint8), 0
    while place < count:
        is_run = bits.read(1)
        end = place + 1 + bits.read(lengths[bits.read(2)])
        if end > count:
            raise ValueError("a run goes beyond the end")
        unpacked[place:end] = bits.read(8) if is_run else [bits.read(8) for _ in range(end - place)]
        place = end
    return unpacked


class _Bits:
    """A string of bytes, read as numbers of any number of bits, the highest first."""

    def __init__(self, packed: bytes):
        self.packed, self.place = packed, 0

    def read(self, count: int) -> int:
        first, end = self.place, self.place + count
        if end > 8 * len(self.packed):
            raise ValueError("the data are cut short")
        self.place = end
        number = int.from_bytes(self.packed[first // 8 : -(-end // 8)], "big")
        return number >> (-end % 8) & ((1 << count) - 1)
