"""The failures a user can cause or repair, each with the exit code that scripts rely on.

The text of an error is the whole message: what is wrong, the value found, and what to do. Anything that is
not one of these is a bug in segkit and keeps its traceback.
"""

from collections.abc import Sequence


class SegkitError(Exception):
    """Base of the errors shown without a traceback; `exit_code` is the status of the process."""

    exit_code = 1


class ConfigError(SegkitError):
    """A configuration or usage mistake. `problems` holds every message found, in file order."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(SegkitError):
    """A file of the data set is missing, unreadable or holds what the configuration does not allow."""

    exit_code = 3


class CannotCache(DataError):
    """`data.cache` cannot be kept: no disk or memory for it, or what is there cannot be read."""


class CheckpointError(SegkitError):
    """No checkpoint can be used: missing, damaged, or made by another configuration."""

    exit_code = 4


class NotFiniteError(SegkitError):
    """The loss or a parameter became NaN or infinite; training stopped before anything was saved."""

    exit_code = 5


class RunFolderInUse(SegkitError):
    """Another process writes the run folder."""

    exit_code = 6


class CannotWrite(SegkitError):
    """The disk is full, over quota or read-only."""

    exit_code = 7


class OutOfMemory(SegkitError):
    """The machine or the GPU has not the memory for what was asked. No file is to blame for it."""

    exit_code = 8
