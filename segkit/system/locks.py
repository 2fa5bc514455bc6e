"""One process per run: locks that the system lets go of when their holder dies."""

import errno
import fcntl
import os
import socket
from pathlib import Path

from segkit.errors import RunFolderInUse
from segkit.system.files import cannot_write


def take_lock(path: Path, what: str, advice: str) -> int:
    """An open file with an exclusive lock on it; a process that inherits it holds the lock too.

    Raises RunFolderInUse, naming `what` and its holder, and CannotWrite.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
    except BlockingIOError:
        holder = _read_holder(handle)
        os.close(handle)
        raise RunFolderInUse(f"{what} is in use by {holder}\n   -> {advice}") from None
    except OSError as error:
        os.close(handle)
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            error.strerror = "its disk cannot lock files, so two runs could write one folder"
        raise cannot_write(path, error) from error
    return handle


def find_holder(path: Path) -> str | None:
    """Who holds the lock on `path`, such as "process 123 on host"; None if nobody does."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _read_holder(handle)
    finally:
        os.close(handle)


def _read_holder(handle: int) -> str:
    words = os.pread(handle, 200, 0).decode(errors="replace").split()
    return f"process {words[0]} on {words[1]}" if len(words) == 2 else "another process"
