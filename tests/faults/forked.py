"""Commands in processes forked from this one, which has imported torch already, and killed exactly where a test says.

A *moment* of a process is something that it does to its files or to its weights: it opens, renames, removes, makes or
syncs a file below its working directory (a moment before a sync and one after), or makes an optimizer step. Moments are
counted, so that no outcome depends on a clock, and a kill can be repeated.
"""

import mmap
import os
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.optim.optimizer import register_optimizer_step_post_hook

from segkit.cli.run_command import run_command

_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "shutil.move"}


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status (None if it was killed), what it printed, and how many moments it had."""

    status: int | None
    output: str
    moments: int

    @property
    def killed(self) -> bool:
        return self.status is None


def run_forked(
    main: Callable[[Sequence[str]], int],
    *arguments: str,
    kill_at: int | None = None,
    signal_number: int = signal.SIGKILL,
    prepare: Callable[[], object] = lambda: None,
) -> Ended:
    """Run a command in a process of its own, that calls `prepare()` first, to its end, or to its moment `kill_at`, at
    which it gets a signal."""
    counter = mmap.mmap(-1, 8)
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.close(read)
            os.dup2(write, 1)
            os.dup2(write, 2)
            sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
            prepare()
            _count_moments(counter, kill_at, signal_number)
            try:
                status = run_command(main, list(arguments))
            except SystemExit as usage_error:
                status = usage_error.code if isinstance(usage_error.code, int) else 1
            except BaseException:
                import traceback

                traceback.print_exc()
                status = 1
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
    os.close(write)
    with open(read, encoding="utf-8", errors="replace") as pipe:
        output = pipe.read()
    _, code = os.waitpid(child, 0)
    (moments,) = struct.unpack("q", counter[:])
    if os.WIFSIGNALED(code):
        assert os.WTERMSIG(code) == signal_number, f"ended by signal {os.WTERMSIG(code)}\n{output}"
        assert kill_at is not None and moments >= kill_at, f"killed by somebody else\n{output}"
        return Ended(None, output, moments)
    return Ended(os.WEXITSTATUS(code), output, moments)


def _count_moments(counter: mmap.mmap, kill_at: int | None, signal_number: int) -> None:
    """Count into `counter` from now on, and send this process the signal at its moment `kill_at`."""
    process, here, found = os.getpid(), f"{os.getcwd()}/", 0

    def count() -> None:
        nonlocal found
        if os.getpid() != process:  # a data worker
            return
        found += 1
        counter[:] = struct.pack("q", found)
        if found == kill_at:
            os.kill(process, signal_number)

    def audit(event: str, arguments: tuple) -> None:
        if event in _EVENTS and isinstance(arguments[0], str | bytes | Path):
            path = os.fsdecode(arguments[0])
            if not path.startswith("/") or path.startswith(here):
                count()

    sync = os.fsync

    def counted_sync(file: int) -> None:
        count()
        sync(file)
        count()

    os.fsync = counted_sync
    register_optimizer_step_post_hook(lambda *_: count())
    sys.addaudithook(audit)
