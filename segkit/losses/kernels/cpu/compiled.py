"""The compiled kernels: built when they are first asked for, and kept on disk for the next process."""

import functools
import hashlib
import importlib.util
import platform
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from numba import __version__ as numba_version
from numba import cfunc, config, types

from segkit.losses.kernels.cpu import loops, makers

#: Locks of files, which Windows has not.
fcntl: Any = importlib.import_module("fcntl") if importlib.util.find_spec("fcntl") else None
#: Seconds after which a process that compiles is not waited for any more.
LONGEST_WAIT = 300.0
#: What numba raises where it finds no folder that it can write to, or cannot write after all.
NO_CACHE = (RuntimeError, OSError)


class Kernels(NamedTuple):
    """Addresses of compiled functions, each of the address of its numbers."""

    forward: int
    backward: int


@functools.cache
def same_size_kernels() -> Kernels:
    """Those of `same_size`."""
    return Kernels(_compile(makers.same_size_forward), _compile(makers.same_size_backward))


@functools.cache
def resized_kernels() -> Kernels:
    """Those of `resized`."""
    return Kernels(_compile(makers.resized_forward), _compile(makers.resized_backward))


@functools.cache
def second_kernel() -> int:
    """The address of `second.find_second`."""
    return _compile(makers.find_second)


@functools.cache
def curve_kernels() -> tuple[int, int]:
    """The addresses of `curve.write_curve` and `curve.write_focal`."""
    return _compile(makers.write_curve), _compile(makers.write_focal)


@functools.cache
def soft_count_kernels() -> Kernels:
    """Those of `soft_counts`."""
    return Kernels(_compile(makers.soft_counts_forward), _compile(makers.soft_counts_backward))


@functools.cache
def skeleton_kernels() -> Kernels:
    """Those of `skeleton`."""
    return Kernels(_compile(makers.skeleton_forward), _compile(makers.skeleton_backward))


class SumKernels(NamedTuple):
    """Addresses of the compiled functions of `sums`."""

    multiply: int
    measure: int
    count_classes: int
    write_rates: int


@functools.cache
def sum_kernels() -> SumKernels:
    """Those of `sums`."""
    made = makers.multiply, makers.measure, makers.count_classes, makers.write_rates
    return SumKernels(*(_compile(make) for make in made))


class HardestKernels(NamedTuple):
    """Addresses of the compiled functions of `hardest`."""

    count_first: int
    count_others: int
    write_share: int


@functools.cache
def hardest_kernels() -> HardestKernels:
    """Those of `hardest`."""
    return HardestKernels(
        *(_compile(make) for make in (makers.count_first, makers.count_others, makers.write_share))
    )


class PowerKernels(NamedTuple):
    """Addresses of the compiled functions of `hardest` that take powers."""

    sum: int
    find_between: int
    scale: int


@functools.cache
def power_kernels() -> PowerKernels:
    """Those of `hardest`."""
    return PowerKernels(
        *(_compile(make) for make in (makers.sum_powers, makers.find_between, makers.scale_powers))
    )


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
    pooling = makers.pool_labels, makers.pool_exp, makers.pool_exp_backward
    products = makers.multiply_windows, makers.multiply_windows_backward
    return WindowKernels(*(_compile(make) for make in pooling + products))


class BorderKernels(NamedTuple):
    """Addresses of the compiled functions of `borders` and `directions`."""

    compare: int
    mark: int
    direct: int
    write_back: int


@functools.cache
def border_kernels() -> BorderKernels:
    """Those of `borders` and `directions`."""
    borders = makers.compare_borders, makers.mark_borders
    directions = makers.direct_borders, makers.direct_borders_backward
    return BorderKernels(*(_compile(make) for make in borders + directions))


class LovaszKernels(NamedTuple):
    """Addresses of the compiled functions of `lovasz`."""

    read: int
    walk: int
    write_back: int


@functools.cache
def lovasz_kernels() -> LovaszKernels:
    """Those of `lovasz`."""
    made = makers.lovasz_read, makers.lovasz_walk, makers.lovasz_write_back
    return LovaszKernels(*(_compile(make) for make in made))


def _compile(make: Callable[[int], Callable]) -> int:
    require_half_precision()
    version = read_version(Path(loops.__file__).parent)
    function = make(version)
    function.__qualname__ = name_files(make.__name__, version)
    signature = types.void(types.int64)
    with take_turn(Path(make.__code__.co_filename), function.__qualname__):
        try:
            compiled = cfunc(signature, cache=True)(function)
        except NO_CACHE:
            compiled = cfunc(signature)(function)
    _kept.append(compiled)
    return compiled.address


@contextmanager
def take_turn(source: Path, name: str) -> Generator[None, None, None]:
    """Of processes that start at once one compiles what is called `name` and is a function of `source`, and the others
    wait for it, to find it on the disk. Nobody waits for what lies there already, nor for ever: after `LONGEST_WAIT`,
    and where there is no folder to write to or its disk knows no locks, each compiles for itself."""
    folder = Path(config.CACHE_DIR) if config.CACHE_DIR else source.parent / "__pycache__"
    if fcntl is None or any(folder.rglob(f"*.{name}-*.nbc")):
        yield
        return
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = stack.enter_context(open(folder / "segkit_kernels.lock", "a"))
        except OSError:
            pass  # numba may find another folder
        else:
            _wait_for(handle.fileno())
        yield  # the system gives the lock back with the file, or with the process


def _wait_for(handle: int) -> None:
    latest = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < latest:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:  # a disk without locks
            return
        else:
            return


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
