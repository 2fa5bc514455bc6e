"""What the kernels know of a criterion that is no cross-entropy: places in its numbers, and its kinds."""

from enum import IntEnum, auto

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
    ROWS = auto()
    COLUMNS = auto()
    RADIUS = auto()
    SECOND = (
        auto()
    )  # int16 (N, P): the class in a pixel's window that is not its own, or `NONE`, or `SEVERAL`
    SHARE = auto()  # fp32 (N, P) of SMOOTHED: what the own class weighs of all that is in the window
    BEYOND = auto()  # bytes (N, P) of MARGIN: whether a class is farther than that
    CLASS_WEIGHTS = auto()  # fp32 (C,), or 0: every class weighs 1
    TARGET = auto()
    TARGET_KIND = auto()
    TARGET_BYTES = auto()
    IGNORE_INDEX = auto()
    MAPS = auto()  # fp32 (N, K, P)
    PLANES = auto()  # int32 (C,): which of the K maps a class has, or -1
    MAP_COUNT = auto()  # K
    OWN_LOG_SUM = auto()  # fp32 (N, P) of ADJUSTED: as that of the logits, of what they are adjusted to
    END = auto()


(
    KIND, VALUE, NUMBERS, PIXELS, ROWS, COLUMNS, RADIUS, SECOND, SHARE, BEYOND, CLASS_WEIGHTS, TARGET, TARGET_KIND,
    TARGET_BYTES, IGNORE_INDEX, MAPS, PLANES, MAP_COUNT, OWN_LOG_SUM, END,
) = (int(slot) for slot in Slot)  # fmt: skip

#: What `Slot.SECOND` says where there is no such class, and where there are more than one.
NONE, SEVERAL = -1, -2
#: Pixels of a block, at most.
WIDEST = 256
#: What a list of these holds, or one of the places of the largest window, and one more, which may be written in vain.
LARGEST = max(WIDEST, 21 * 21) + 1
#: Bytes of a buffer for a list of the classes in a window, two of pixels, and two rows of numbers.
NEAR = 5 * 4 * LARGEST
