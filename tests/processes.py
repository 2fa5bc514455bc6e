"""Other processes in tests: started alike on every machine, and waited for until something happens.

No outcome depends on how much time went by: a test waits for what another process writes, for a file that it makes or
for its end, and a busy machine is only slower. `HANG_LIMIT` ends a test that would hang, which then fails.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

#: Seconds, far beyond what anything here takes on the slowest machine. pyproject.toml ends what hangs elsewhere.
HANG_LIMIT = 600.0

Found = TypeVar("Found")


def use_default_signals() -> None:
    """Let this process, and so what it starts, react to signals as if started from a terminal.

    `nohup`, and a shell that starts a job in the background, have a process ignore some, and what it starts inherits
    that: tests that send those signals would wait for ever.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        # Not SIG_DFL: the tests themselves go on after a closed terminal. A program that is started does not inherit
        # a handler, so it gets the default.
        signal.signal(signal.SIGHUP, lambda number, frame: None)


def run_python(*arguments: str | Path, text: bool = True, **options) -> subprocess.CompletedProcess:
    """Run Python with these arguments to its end, and keep what it prints."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=text, timeout=HANG_LIMIT, **options
    )


def finish(process: subprocess.Popen) -> tuple[str, str]:
    """Wait for the end of a process of which nothing was read so far; what it printed, and what on stderr."""
    try:
        return process.communicate(timeout=HANG_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def read_rest(process: subprocess.Popen) -> str:
    """What a process prints until its end, after what was read of it. communicate() would pass by what is buffered."""
    end = threading.Timer(HANG_LIMIT, process.kill)
    end.start()
    process.stdin.close()
    with process.stdout:
        rest = process.stdout.read()
    process.wait()
    end.cancel()
    return rest


def wait_until(holds: Callable[[], Found], ended: Callable[[], object] = lambda: None) -> Found:
    """Wait until `holds()` is true, and return what it gave. It fails when `ended()` gets true without that: nothing
    is left that could make it so."""
    end = time.monotonic() + HANG_LIMIT
    while True:
        over = ended()  # asked first: what happened before the end is seen
        if found := holds():
            return found
        assert not over, "it ended without what was waited for"
        assert time.monotonic() < end, f"it did not happen in {HANG_LIMIT} seconds"
        time.sleep(0.01)
