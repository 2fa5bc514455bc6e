"""What the kernels know of a criterion that is no cross-entropy: places in its numbers, and its kinds."""

from enum import IntEnum, auto

import numpy as np

#: What `Slot.KIND` may be.
MARGIN, RELAXED, SMOOTHED, DISTANCE, ADJUSTED = 1, 2, 3, 4, 5


class Slot(IntEnum):
    """Places in the int64 numbers of a criterion."""

    KIND = 0
    VALUE = auto()  # fp32 (N, P): forward writes it, backward of some reads it
    NUMBERS = (
        auto()
    )  # fp32: of MARGIN margin and strength; of SMOOTHED the weights of the window; of ADJUSTED (2, C)
    PIXELS = auto()  # of an image
    COLUMNS = auto()  # of an image
    RADIUS = auto()
    MIXED = auto()  # bytes (N, P): whether a pixel has another label in its window
    CLASS_WEIGHTS = auto()  # fp32 (C,), or 0: every class weighs 1
    TARGET = auto()
    TARGET_KIND = auto()
    TARGET_BYTES = auto()
    IGNORE_INDEX = auto()
    MAPS = auto()  # fp32 (N, K, P)
    PLANES = auto()  # int32 (C,): which of the K maps a class has, or -1
    MAP_COUNT = auto()  # K
    MASKS = auto()  # int32 (words, N, P) of RELAXED: a bit for each class that is near
    ALL_PIXELS = auto()  # N x P
    OWN_LOG_SUM = auto()  # fp32 (N, P) of ADJUSTED: as that of the logits, of what they are adjusted to
    END = auto()


(
    KIND, VALUE, NUMBERS, PIXELS, COLUMNS, RADIUS, MIXED, CLASS_WEIGHTS, TARGET, TARGET_KIND, TARGET_BYTES,
    IGNORE_INDEX, MAPS, PLANES, MAP_COUNT, MASKS, ALL_PIXELS,
    OWN_LOG_SUM, END,
) = (int(slot) for slot in Slot)  # fmt: skip

#: A value beyond which the probability of all classes found is tiny, and a sum below which it is not exact.
FAR, TINY = np.float32(20), np.float32(1e-20)
#: Pixels of the largest window, and the bytes of a buffer for the classes and weights in it.
LARGEST = 21 * 21
NEAR = 8 * LARGEST
