"""Memory that stays with the process once it has it."""

import ctypes
import os
from collections.abc import Generator
from contextlib import contextmanager

#: The numbers of mallopt's parameters in glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: Blocks below this are taken from the heap, which keeps what is freed up to the other limit.
MMAP_THRESHOLD, TRIM_THRESHOLD = 2**30, 2**31 - 1
#: The same where little memory is wanted: a tensor of a tile's logits goes back at once, what is smaller stays.
SMALL_MMAP_THRESHOLD, SMALL_TRIM_THRESHOLD = 2**23, 2**27
#: Where a user has set up the allocator, that stays.
SET_BY_USER = (
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
)


def keep_freed_memory() -> bool:
    """From now on this process keeps freed blocks below 1 GiB instead of giving them back; whether it does.

    glibc asks the system for each large tensor anew, and every page of it is filled with zeros when it is first
    touched: up to half of the time of what writes a tensor once, such as a cross-entropy. The price is that the process
    holds on to the most that it ever had. Nothing is changed where the environment sets up malloc, or without glibc.
    """
    global _is_kept
    _is_kept = _set_thresholds(MMAP_THRESHOLD, TRIM_THRESHOLD)
    return _is_kept


@contextmanager
def large_blocks_given_back() -> Generator[None]:
    """Within, blocks of 8 MiB or more go back to the system when they are freed, though memory is kept otherwise.

    What is kept in pieces does not fit what is asked for next: the process then holds more than it ever needed at once.
    The price is that pages are filled with zeros anew.
    """
    if not _is_kept:
        yield
        return
    _set_thresholds(SMALL_MMAP_THRESHOLD, SMALL_TRIM_THRESHOLD)
    try:
        yield
    finally:
        keep_freed_memory()


#: Whether `keep_freed_memory` is in force.
_is_kept = False


def _set_thresholds(mmap: int, trim: int) -> bool:
    """Whether it could be done."""
    if any(name in os.environ for name in SET_BY_USER):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # macOS
        return False
    # Each of the two alone would be undone by the other's default.
    return bool(mallopt(M_MMAP_THRESHOLD, mmap)) and bool(mallopt(M_TRIM_THRESHOLD, trim))
