"""Memory that stays with the process once it has it."""

import ctypes
import os

#: The numbers of mallopt's parameters in glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: Blocks below this are taken from the heap, which keeps what is freed up to the other limit.
MMAP_THRESHOLD, TRIM_THRESHOLD = 2**30, 2**31 - 1
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
    if any(name in os.environ for name in SET_BY_USER):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # macOS
        return False
    # Each of the two alone would be undone by the other's default.
    return bool(mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)) and bool(mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD))
