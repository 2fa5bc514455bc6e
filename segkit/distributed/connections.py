"""The connections that gloo opens, so that they can be ended while torch still holds on to them."""

import os
import socket

#: Where a process sees its open files, on Linux and macOS.
_OPEN_FILES = "/dev/fd"


def open_connections() -> dict[int, int]:
    """The network sockets that this process has open: file descriptor to inode. Empty where a system does not say."""
    try:
        numbers = [int(name) for name in os.listdir(_OPEN_FILES)]
    except OSError:
        return {}
    inodes = {number: _inode_of_connection(number) for number in numbers}
    return {number: inode for number, inode in inodes.items() if inode is not None}


def hang_up(connections: dict[int, int]) -> None:
    """End those connections that are still the same, for both sides: whoever waits for this process gets an error now.

    Destroying or aborting a process group of gloo closes nothing as long as something refers to the group, as
    DistributedDataParallel does, and the tracebacks of errors.
    """
    for number, inode in connections.items():
        copy = _socket_at(number)
        if copy is None:  # closed meanwhile by torch, whose threads notice the same
            continue
        try:
            if os.fstat(copy.fileno()).st_ino == inode:  # else another file has the number now
                copy.shutdown(socket.SHUT_RDWR)
        except OSError:  # the other side was faster
            continue
        finally:
            copy.close()


def _inode_of_connection(number: int) -> int | None:
    """The inode, if this is a connected socket of the internet families; other threads may close it meanwhile."""
    copy = _socket_at(number)
    if copy is None:
        return None
    try:
        connected = copy.family in (socket.AF_INET, socket.AF_INET6) and bool(copy.getpeername())
        return os.fstat(copy.fileno()).st_ino if connected else None
    except OSError:
        return None
    finally:
        copy.close()


def _socket_at(number: int) -> socket.socket | None:
    """A socket of its own for what is open under that number; None if that is no socket, or closed."""
    try:
        copy = os.dup(number)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        # else each look would double what is open: files, pipes, the launcher's
        os.close(copy)
        return None
