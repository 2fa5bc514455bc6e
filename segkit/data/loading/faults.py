"""What the operating system refuses while data are loaded: files, memory, processes. No sample is to blame for it."""

import errno
import os
import resource
import shutil

from segkit.errors import DataError, OutOfMemory, SegkitError
from segkit.system.memory import describe_request, lacks_memory

#: What torch says when the operating system took a worker or its shared memory away.
WORKER_TROUBLE = ("DataLoader worker (pid", "Pin memory thread exited", "shared memory (shm)", "</torch_")
FILES_TROUBLE = ("Too many open files", "items of ancdata")


class WorkerDied(SegkitError):
    """The operating system ended a process that loads data, or refused it files."""

    exit_code = DataError.exit_code


def explain_worker_death(error: BaseException) -> str | None:
    """What to do about a loader process that the operating system ended; None if `error` is something else.

    torch reports such a death by a RuntimeError that may come up anywhere in the main process.
    """
    text = str(error)
    if any(sign in text for sign in FILES_TROUBLE):
        return describe_file_limit(_first_line(text))
    return describe_death(text) if any(sign in text for sign in WORKER_TROUBLE) else None


def fault_of_system(error: BaseException | None) -> WorkerDied | OutOfMemory | None:
    """The error to show instead of `error` if behind it is a limit on open files or memory, not a damaged file."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return WorkerDied(describe_file_limit(str(error)))
        if lacks_memory(error):
            return OutOfMemory(describe_no_memory(error))
        error = error.__cause__ or error.__context__
    return None


def describe_file_limit(text: str) -> str:
    """The message for too many open files; `text` is what the system said."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = "" if limit == resource.RLIM_INFINITY else f"   a process may have {limit:,} open\n"
    return (
        f"too many open files while loading data ({text})\n{allowed}"
        "   -> raise the limit in the shell (ulimit -n 65536), or train.workers=0"
    )


def describe_no_memory(error: BaseException) -> str:
    """The message for memory that the system refused while samples were read and put together."""
    return (
        f"out of memory while loading data{describe_request(error)}\n"
        "   -> fewer train.workers, a smaller train.batch_size or eval.batch_size, smaller images (data.resize), "
        "data.cache=disk instead of ram"
    )


def describe_death(text: str) -> str:
    """The message for a loader process that is gone; `text` is what torch said."""
    lines = [f"a process that loads data was ended by the system ({_first_line(text)})"]
    lines.append("   usually memory ran out, or the shared memory that batches travel through (/dev/shm)")
    if os.path.isdir("/dev/shm"):
        total, _, free = shutil.disk_usage("/dev/shm")
        lines.append(f"   /dev/shm has {free / 1e9:.1f} of {total / 1e9:.1f} GB free")
    lines.append(
        "   -> fewer train.workers (0 needs no shared memory), a smaller batch, docker run --shm-size=8g"
    )
    return "\n".join(lines)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[-1 if "Original Traceback" in text else 0].strip()
