"""Memory that ran out, in the machine or on a GPU: how it is recognised, and the error that says what to change."""

import errno
import re
from collections.abc import Generator
from contextlib import contextmanager

from segkit.errors import OutOfMemory

#: What torch and the libraries below it say in a RuntimeError; torch itself need not be there to be asked.
SIGNS = (
    "DefaultCPUAllocator: ",
    "enforce fail at alloc_cpu.cpp",
    "out of memory",  # CUDA, HIP, MPS and XPU
    "_STATUS_ALLOC_FAILED",  # cuBLAS and cuDNN
    "std::bad_alloc",
)
#: For commands that have no better advice.
ADVICE = (
    "a smaller train.batch_size or eval.batch_size, smaller crops (augment.crop_size) or images (data.resize), "
    "fewer train.workers, data.cache=disk instead of ram"
)
_ASKED = re.compile(
    r"tried to allocate ([\d.]+ ?(?:bytes|[KMGTP]?i?B))|Unable to allocate ([\d.]+ \w+)", re.IGNORECASE
)


def lacks_memory(error: BaseException) -> bool:
    """Whether `error` says that memory was refused: Python's MemoryError and NumPy's, torch's, or the system's."""
    if isinstance(error, OSError):
        # From a data worker an error comes with its traceback as the only text, and without its number.
        return error.errno == errno.ENOMEM or (
            error.errno is None and f"[Errno {errno.ENOMEM}]" in str(error)
        )
    in_text = isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    return in_text or isinstance(error, MemoryError | OutOfMemory)


def find_lack_of_memory(error: BaseException | None) -> BaseException | None:
    """`error`, or what it was raised from, if that says that memory was refused."""
    while error is not None and not lacks_memory(error):
        error = error.__cause__ or error.__context__
    return error


def describe_request(error: BaseException) -> str:
    """` (4.0 GB were asked for)`, or nothing if the error does not say so."""
    found = _ASKED.search(str(error))
    if found is None:
        return ""
    size = found[1] or found[2]
    if size.endswith("bytes"):
        size = f"{int(size.split()[0]) / 1e9:.2g} GB"
    return f" ({size} were asked for)"


@contextmanager
def lack_of_memory_explained(advice: str = ADVICE) -> Generator[None, None, None]:
    """Whatever fails in here for want of memory becomes an OutOfMemory that says what to change."""
    try:
        yield
    except OutOfMemory:
        raise
    except Exception as error:
        cause = find_lack_of_memory(error)
        if cause is None:
            raise
        raise OutOfMemory(f"out of memory{describe_request(cause)}\n   -> {advice}") from error
