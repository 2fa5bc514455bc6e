"""The numbers of a call of the kernels."""

from enum import IntEnum, auto


class Slot(IntEnum):
    """Places in the int64 numbers of a call; addresses and steps are in bytes."""

    TASK = 0  # the counters of tasks and of threads, each in a cache line of its own
    THREAD = 8
    SCRATCH = 16  # address of the threads' buffers
    SCRATCH_BYTES = auto()  # of each thread
    WIDTH = auto()  # pixels of a block
    BLOCKS = auto()  # in all
    BATCH = auto()  # blocks of a task
    IMAGES = auto()
    CLASSES = auto()
    PIXELS = auto()  # of an image
    ABSENT = auto()  # whether classes without mass are asked for
    LOGITS = auto()  # fp32 (N, C, P)
    TARGET = auto()
    TARGET_KIND = auto()
    TARGET_BYTES = auto()
    IGNORE_INDEX = auto()
    MASS = auto()  # int64 (N, P), or 0: every valid pixel has 1
    LABEL = auto()  # int32 (N, P), -1 where a pixel is ignored
    LARGEST = auto()  # fp32 (N, P), as the next ones
    LOG_SUM = auto()
    CE = auto()
    WRONG = auto()  # bool (N, P)
    VALID = auto()
    N_BROKEN = auto()  # int64 for each task: the valid pixels whose label is no class
    WHOLE = auto()  # int64 (tasks, C), for `walk` (C,): the mass of the true pixels
    LEAST = (
        auto()
    )  # int32 (tasks, C), for `walk` (C,): the bits of a number below their smallest error, or of 0
    LOSS = auto()  # float64 (C,)
    SLOPE = auto()  # fp32 (C, N, P): that at the probability
    GIVEN = auto()  # fp32 (C,): the gradient at the losses; where it is 0 no slopes are read
    KIND = auto()  # dtype of the gradient
    CHANNELS_LAST = auto()
    GRADIENT = auto()
    IMAGE_STEP = auto()  # of the gradient, as the next ones
    CLASS_STEP = auto()
    PIXEL_STEP = auto()
    PAST_CACHES = auto()  # whether the gradient is larger than the caches
    END = auto()


(
    TASK, THREAD, SCRATCH, SCRATCH_BYTES, WIDTH, BLOCKS, BATCH, IMAGES, CLASSES, PIXELS, ABSENT, LOGITS, TARGET,
    TARGET_KIND, TARGET_BYTES, IGNORE_INDEX, MASS, LABEL, LARGEST, LOG_SUM, CE, WRONG, VALID, N_BROKEN, WHOLE,
    LEAST, LOSS, SLOPE, GIVEN, KIND, CHANNELS_LAST, GRADIENT, IMAGE_STEP, CLASS_STEP, PIXEL_STEP, PAST_CACHES, END,
) = (int(slot) for slot in Slot)  # fmt: skip
