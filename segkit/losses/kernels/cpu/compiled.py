"""The compiled kernels: built when they are first asked for, and kept on disk for the next process."""

import functools
import hashlib
import platform
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from numba import __version__ as numba_version
from numba import cfunc, config, types

from segkit.losses.kernels.cpu import loops
from segkit.losses.kernels.cpu.loops import (
    cells,
    hardest,
    lovasz,
    resized,
    same_size,
    skeleton,
    soft_counts,
    sums,
    windows,
)

#: What numba raises where it finds no folder that it can write to, or cannot write after all.
NO_CACHE = (RuntimeError, OSError)


class Kernels(NamedTuple):
    """Addresses of compiled functions, each of the address of its numbers."""

    forward: int
    backward: int


@functools.cache
def same_size_kernels() -> Kernels:
    """Those of `same_size`."""
    return Kernels(_compile(_same_size_forward), _compile(_same_size_backward))


@functools.cache
def resized_kernels() -> Kernels:
    """Those of `resized`."""
    return Kernels(_compile(_resized_forward), _compile(_resized_backward))


@functools.cache
def soft_count_kernels() -> Kernels:
    """Those of `soft_counts`."""
    return Kernels(_compile(_soft_counts_forward), _compile(_soft_counts_backward))


@functools.cache
def skeleton_kernels() -> Kernels:
    """Those of `skeleton`."""
    return Kernels(_compile(_skeleton_forward), _compile(_skeleton_backward))


class SumKernels(NamedTuple):
    """Addresses of the compiled functions of `sums`."""

    multiply: int
    measure: int


@functools.cache
def sum_kernels() -> SumKernels:
    """Those of `sums`."""
    return SumKernels(_compile(_multiply), _compile(_measure))


class HardestKernels(NamedTuple):
    """Addresses of the compiled functions of `hardest`."""

    count_first: int
    count_others: int
    write_share: int


@functools.cache
def hardest_kernels() -> HardestKernels:
    """Those of `hardest`."""
    return HardestKernels(*(_compile(make) for make in (_count_first, _count_others, _write_share)))


class WindowKernels(NamedTuple):
    """Addresses of the compiled functions of `cells` and `windows`."""

    pool_labels: int
    pool_exp: int
    pool_exp_backward: int
    multiply: int
    multiply_backward: int


@functools.cache
def window_kernels() -> WindowKernels:
    """Those of `windows`."""
    makers = _pool_labels, _pool_exp, _pool_exp_backward, _multiply_windows, _multiply_windows_backward
    return WindowKernels(*(_compile(make) for make in makers))


@functools.cache
def lovasz_kernel() -> int:
    """The address of `lovasz.walk`."""
    return _compile(_walk)


def _compile(make: Callable[[int], Callable]) -> int:
    require_half_precision()
    version = read_version(Path(loops.__file__).parent)
    function = make(version)
    function.__qualname__ = name_files(make.__name__, version)
    signature = types.void(types.int64)
    try:
        compiled = cfunc(signature, cache=True)(function)
    except NO_CACHE:
        compiled = cfunc(signature)(function)
    _kept.append(compiled)
    return compiled.address


def require_half_precision() -> None:
    """Raises RuntimeError for an x86 processor, or one that numba is told to compile for, that cannot convert fp16: the
    kernels do, and LLVM ends the process where it finds no instruction for it."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i686"):
        return
    features = config.CPU_FEATURES
    if features is None:
        features = "" if config.CPU_NAME not in (None, "", "host") else get_host_cpu_features().flatten()
    if "+f16c" not in features:
        raise RuntimeError("the processor, or the one that NUMBA_CPU_NAME says, has no instructions for fp16")


def name_files(name: str, version: int) -> str:
    """What the files of a kernel's compiled code are called by: the source, the processor and numba are in it.

    numba numbers these files anew once the source has changed, and writes its list of them before the code. A process
    that looks in between, or after one that was ended there, would run the code that was in the file before: of an
    older source, without a word.
    """
    processor = (config.CPU_NAME, config.CPU_FEATURES, get_host_cpu_name(), get_host_cpu_features().flatten())
    text = repr((version, processor, numba_version))
    return f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


#: Compiled code lives as long as these.
_kept: list = []


def read_version(folder: Path) -> int:
    """A number of the source of all kernels. numba takes compiled code from the disk as long as the file of the
    function is the same, and does not look at the files of the functions that it calls."""
    text = b"".join(path.read_bytes() for path in sorted(folder.rglob("*.py")))
    return int.from_bytes(hashlib.sha256(text).digest()[:7])


# numba compares what a function takes from the one around it: the version is a part of the key. Each has lines of its
# own, which are a part too.
def _same_size_forward(version: int) -> Callable:
    def run(address: int) -> None:
        same_size.forward(address, version)

    return run


def _same_size_backward(version: int) -> Callable:
    def run(address: int) -> None:
        same_size.backward(address, version)

    return run


def _resized_forward(version: int) -> Callable:
    def run(address: int) -> None:
        resized.forward(address, version)

    return run


def _resized_backward(version: int) -> Callable:
    def run(address: int) -> None:
        resized.backward(address, version)

    return run


def _soft_counts_forward(version: int) -> Callable:
    def run(address: int) -> None:
        soft_counts.forward(address, version)

    return run


def _soft_counts_backward(version: int) -> Callable:
    def run(address: int) -> None:
        soft_counts.backward(address, version)

    return run


def _multiply(version: int) -> Callable:
    def run(address: int) -> None:
        sums.multiply(address, version)

    return run


def _measure(version: int) -> Callable:
    def run(address: int) -> None:
        sums.measure(address, version)

    return run


def _count_first(version: int) -> Callable:
    def run(address: int) -> None:
        hardest.count_first(address, version)

    return run


def _count_others(version: int) -> Callable:
    def run(address: int) -> None:
        hardest.count_others(address, version)

    return run


def _write_share(version: int) -> Callable:
    def run(address: int) -> None:
        hardest.write_share(address, version)

    return run


def _walk(version: int) -> Callable:
    def run(address: int) -> None:
        lovasz.walk(address, version)

    return run


def _skeleton_forward(version: int) -> Callable:
    def run(address: int) -> None:
        skeleton.forward(address, version)

    return run


def _skeleton_backward(version: int) -> Callable:
    def run(address: int) -> None:
        skeleton.backward(address, version)

    return run


def _pool_labels(version: int) -> Callable:
    def run(address: int) -> None:
        cells.pool_labels(address, version)

    return run


def _pool_exp(version: int) -> Callable:
    def run(address: int) -> None:
        cells.pool_exp(address, version)

    return run


def _pool_exp_backward(version: int) -> Callable:
    def run(address: int) -> None:
        cells.pool_exp_backward(address, version)

    return run


def _multiply_windows(version: int) -> Callable:
    def run(address: int) -> None:
        windows.multiply(address, version)

    return run


def _multiply_windows_backward(version: int) -> Callable:
    def run(address: int) -> None:
        windows.multiply_backward(address, version)

    return run
