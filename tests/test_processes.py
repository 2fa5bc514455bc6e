"""What the tests of processes rely on: what they start is deaf to no signal, and waiting ends when it is in vain."""

import signal
import subprocess
import sys

import pytest

from tests.paths import ROOT
from tests.processes import run_python, use_default_signals, wait_until

# Whether SIGINT and SIGHUP are ignored.
STARTED = "import signal as s; print([s.getsignal(n) == s.SIG_IGN for n in (s.SIGINT, s.SIGHUP)])"
STARTER = f"""
import signal, subprocess, sys
from tests.processes import use_default_signals
if sys.argv[1] == "use":
    use_default_signals()
    signal.raise_signal(signal.SIGHUP)  # the tests themselves go on
subprocess.run([sys.executable, "-c", {STARTED!r}])
"""


def test_what_is_started_does_not_ignore_what_the_tests_were_started_to_ignore():
    """As under `nohup`, or in the background of a shell script."""
    numbers = (signal.SIGINT, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        inherited, restored = (run_python("-c", STARTER, how, cwd=ROOT).stdout for how in ("leave", "use"))
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert (inherited, restored) == ("[True, True]\n", "[False, False]\n")


def test_this_process_has_them_too():
    use_default_signals()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def test_waiting_ends_with_the_process_that_was_waited_for():
    process = subprocess.Popen([sys.executable, "-c", ""])
    with pytest.raises(AssertionError, match="it ended without what was waited for"):
        wait_until(lambda: False, lambda: process.poll() is not None)
    assert wait_until(lambda: "this", lambda: True) == "this"
