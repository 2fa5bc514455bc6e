"""Disks that fill up."""

import resource
from contextlib import contextmanager


@contextmanager
def file_size_limit(size):
    """No file of this process may grow beyond `size` bytes: a disk that fills up, without needing one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
