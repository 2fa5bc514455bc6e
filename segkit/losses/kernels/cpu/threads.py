"""Runs a kernel on several threads: those that torch computes with.

A second pool of threads would fight torch's for the cores, since threads that have nothing to do keep looking for some
milliseconds. torch's are those of its OpenMP library, which has an entry to run a function on them
(`GOMP_parallel`, of GNU's library and of LLVM's). Where that is not found threads are started for the call and end with
it. Nothing is kept from one call to the next.

A forked process has none of its parent's threads, and GNU's library would wait there for those that the parent had, for
ever. So the kernels stay in the calling thread in a process that was forked after this module was imported. torch's own
operations do not: they hang, in a loss as elsewhere, unless the process begins with `torch.set_num_threads(1)`, as the
workers of torch's DataLoader do. That also is what a process needs that imports this module itself, forked from one
that had computed with torch: it cannot see that there were threads.
"""

import ctypes
import functools
import os
import threading
from collections.abc import Callable

import torch

#: A kernel takes the address of its numbers, and returns when nothing is left to do.
KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64)

#: The process that imported this, which a forked one is not.
_main_process = os.getpid()


def run_threads(address: int, numbers: int, threads: int) -> None:
    """Run the kernel at `address` on so many threads, the calling one among them, all with the same `numbers`."""
    if threads > 1 and os.getpid() == _main_process:
        run_parallel = find_openmp() or _start_threads
        run_parallel(address, numbers, threads)
    else:
        KERNEL(address)(numbers)


def choose_threads(numbers: int) -> int:
    """How many threads are worth their start for so many logits, of those that torch may use."""
    return max(1, min(torch.get_num_threads(), numbers // 32_768))


@functools.cache
def find_openmp() -> Callable[[int, int, int], None] | None:
    """(kernel, numbers, threads) -> None, which runs the kernel on the threads of torch's OpenMP library."""
    if not torch.backends.openmp.is_available():
        return None
    try:
        run_parallel = ctypes.CDLL(None).GOMP_parallel
    except AttributeError:
        return None
    run_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    run_parallel.restype = None
    return lambda address, numbers, threads: run_parallel(address, numbers, threads, 0)


def _start_threads(address: int, numbers: int, threads: int) -> None:
    kernel = KERNEL(address)
    others = [threading.Thread(target=kernel, args=(numbers,)) for _ in range(threads - 1)]
    for thread in others:
        thread.start()
    kernel(numbers)
    for thread in others:
        thread.join()
