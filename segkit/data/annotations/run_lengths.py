"""Masks as COCO keeps them in text: how long the runs of pixels are, down the columns, outside and inside by turns.

Compressed (`rleToString` of the COCO API, Lin et al. 2014), a number is, from the fourth on, the difference to the last
but one, in digits of five bits, the lowest first, each a character from `0` (48) on: bit 5 says that another follows,
and bit 4 of the last is the sign.
"""

import numpy as np

from segkit.data.annotations.patches import Patch, patch_between

FIRST, MORE, SIGN, BITS = 48, 0x20, 0x10, 5
#: The most digits that a number has: more are none of a mask.
MOST_DIGITS = 7


def decode_runs(text: str) -> np.ndarray:
    """The lengths of the runs, int64, of a compressed text. Raises ValueError for a text that is none."""
    if not text:
        return np.zeros(0, dtype=np.int64)
    try:
        digits = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - FIRST
    except UnicodeEncodeError:
        raise ValueError("it has characters beyond ASCII") from None
    if digits.min() < 0 or digits.max() >= 2 * MORE:
        wrong = next(character for character in text if not FIRST <= ord(character) < FIRST + 2 * MORE)
        raise ValueError(f"{wrong!r} is no character of compressed run lengths")
    lasts = np.flatnonzero(digits < MORE)  # of each number
    if not len(lasts) or lasts[-1] != len(digits) - 1:
        raise ValueError("it ends within a number")
    counts = np.diff(lasts, prepend=-1)
    if counts.max() > MOST_DIGITS:
        raise ValueError("it has a number of more than 32 bits")
    begins = lasts - counts + 1
    places = np.arange(len(digits)) - np.repeat(begins, counts)
    numbers = np.add.reduceat((digits & (MORE - 1)) << (BITS * places), begins)
    numbers -= np.where(digits[lasts] & SIGN, np.int64(1) << (BITS * counts), 0)
    # From the fourth on, each is the difference to the last but one.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def runs_patch(runs: np.ndarray, size: tuple[int, int]) -> Patch:
    """What runs (R,) cover of an image of `size` (H, W). Raises ValueError if they are not as many pixels as it has."""
    height, width = size
    if len(runs) and runs.min() < 0:
        raise ValueError(f"a run of {runs.min()} pixels")
    borders = np.cumsum(runs)
    total = int(borders[-1]) if len(runs) else 0
    if total != height * width:
        raise ValueError(f"its runs are {total} pixels, {width}x{height} has {height * width}")
    begins, ends = borders[0:-1:2], borders[1::2]  # of the runs inside
    begins, ends = begins[ends > begins], ends[ends > begins]
    # A run that goes on in the next column is inside there from the top.
    first, last = begins // height, (ends - 1) // height
    counts = last - first + 1
    number = np.repeat(np.arange(len(begins)), counts)
    columns = np.arange(len(number)) - (np.cumsum(counts) - counts - first)[number]
    tops = np.maximum(begins[number] - columns * height, 0)
    bottoms = np.minimum(ends[number] - columns * height, height)
    return patch_between(np.concatenate([tops, bottoms]), np.concatenate([columns, columns]))
