"""The checksum of a record in an events file, for large records.

TensorBoard computes it in Python, a byte at a time: 0.2 s for a megabyte of pictures. It does so in a thread of the
training process, which cannot go on meanwhile: threads of Python take turns.
"""

import functools

import numpy as np

#: CRC-32C (Castagnoli), the lowest bit first.
POLYNOMIAL = 0x82F63B78
MASK_DELTA = 0xA282EAD8
ALL_BITS = 0xFFFFFFFF
#: Bytes of a stretch; all stretches of a record advance together, four bytes at a time.
STRETCH = 1024


def masked_crc32c(data: bytes) -> int:
    """CRC-32C of `data`, rotated and shifted as events files have it."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + MASK_DELTA) & ALL_BITS


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of `data`."""
    count = len(data)
    if count < 4:  # the first four bytes begin the sum, below
        return int(_advance_bits(np.array([_begin(data)], dtype=np.uint32), 8 * count)[0]) ^ ALL_BITS
    # A sum that begins with 0 is not changed by zeros before the data.
    stretches = 1 << (-(-count // STRETCH) - 1).bit_length()
    padded = np.zeros(stretches * STRETCH, dtype=np.uint8)
    start = len(padded) - count
    padded[start:] = np.frombuffer(data, dtype=np.uint8)
    padded[start : start + 4] ^= 0xFF  # the same as to begin with all bits set
    words = padded.view("<u4").reshape(stretches, -1).T.astype(np.uint32, order="C")
    sums = np.zeros(stretches, dtype=np.uint32)
    for word in words:
        sums = _advance_word(sums ^ word)
    doubled = 0
    while len(sums) > 1:  # of two neighbours, the former is followed by the length of the latter
        sums = _apply(_zeros_after(doubled), sums[0::2]) ^ sums[1::2]
        doubled += 1
    return int(sums[0]) ^ ALL_BITS


def _begin(data: bytes) -> int:
    """Fewer than four bytes, joined to a sum that begins with all bits set."""
    return int.from_bytes(data, "little") ^ ALL_BITS


def _advance_bits(sums: np.ndarray, bits: int) -> np.ndarray:
    """Sums (N,) uint32 after so many bits of zeros."""
    for _ in range(bits):
        sums = np.where(sums & 1, (sums >> 1) ^ np.uint32(POLYNOMIAL), sums >> 1)
    return sums


def _advance_word(sums: np.ndarray) -> np.ndarray:
    """Sums (N,) uint32 after four bytes of zeros."""
    low, high = _word_tables()
    return low[sums & 0xFFFF] ^ high[sums >> 16]


@functools.cache
def _word_tables() -> tuple[np.ndarray, np.ndarray]:
    """What four bytes of zeros make of the lower and of the upper 16 bits of a sum, which they advance apart."""
    halves = np.arange(2**16, dtype=np.uint32)
    return _advance_bits(halves, 32), _advance_bits(halves << 16, 32)


@functools.cache
def _zeros_after(doubled: int) -> np.ndarray:
    """What STRETCH * 2^doubled bytes of zeros make of each of the 32 bits of a sum: (32,) uint32."""
    if doubled:
        half = _zeros_after(doubled - 1)
        return _apply(half, half)
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for _ in range(STRETCH // 4):
        bits = _advance_word(bits)
    return bits


def _apply(images: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """The linear map that has these `images` (32,) of single bits, of sums (N,)."""
    found = np.zeros_like(sums)
    for bit, image in enumerate(images):
        found ^= np.where((sums >> np.uint32(bit)) & 1, image, np.uint32(0))
    return found
