"""Ctrl-C, SIGTERM and SIGHUP against real processes: the first is a request, the second ends the process."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress

import pytest

from segkit.system.interrupt import Interrupt
from tests.paths import ROOT
from tests.processes import read_rest, run_python

# Goes on when a line is sent, in which the seconds stand that the clock is put forward by. A signal sent before the
# line is handled before it.
LOOP = """
    import sys
    from types import SimpleNamespace
    from segkit.system import signal_arrivals
    from segkit.system.interrupt import Interrupt
    seconds = 100.0
    signal_arrivals.time = SimpleNamespace(monotonic=lambda: seconds)
    with Interrupt() as interrupt:
        print("ready", flush=True)
        while sys.stdin.readline() and not interrupt.requested:
            pass
        print("saving", interrupt.signal.name, flush=True)
        while line := sys.stdin.readline():
            seconds += float(line)
            print("going on", flush=True)
    sys.exit(interrupt.exit_code)
"""


def start(script=LOOP, *arguments):
    """A training loop in miniature, past the point where the handlers are in place."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go_on(process, seconds=0.0):
    """Let the loop do its next step; what it prints then, nothing if it has ended."""
    with suppress(BrokenPipeError):
        os.write(process.stdin.fileno(), f"{seconds}\n".encode())
    return process.stdout.readline()


def stop_first(number):
    """A loop that has noted a first signal and is saving."""
    process = start()
    process.send_signal(number)
    assert go_on(process) == f"saving {number.name}\n"
    return process


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_first_signal_lets_the_loop_finish(number, code):
    process = stop_first(number)
    assert go_on(process) == "going on\n"
    assert read_rest(process) == ""
    assert process.returncode == code


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_leaves_at_once(second):
    process = stop_first(signal.SIGINT)
    assert go_on(process, seconds=0.3) == "going on\n"
    process.send_signal(second)
    assert go_on(process) == ""
    assert read_rest(process) == ""
    assert process.returncode == -second


def test_a_signal_delivered_twice_is_one_request():
    process = stop_first(signal.SIGTERM)
    assert go_on(process, seconds=0.05) == "going on\n"
    process.send_signal(signal.SIGTERM)
    assert go_on(process) == "going on\n"
    assert read_rest(process) == ""
    assert process.returncode == 143


# A step in C that no signal interrupts and that lets other threads run: waiting for a mutex, which another thread
# unlocks when the signal has arrived, so that the handler runs `step` seconds later.
SLOW_STEP = """
    import ctypes, select, sys, threading
    from types import SimpleNamespace
    from segkit.system import signal_arrivals
    from segkit.system.interrupt import Interrupt
    before, step = map(float, sys.argv[1:])
    seconds, asked = 100.0, threading.Event()

    def monotonic():
        now = seconds
        asked.set()
        return now

    signal_arrivals.time = SimpleNamespace(monotonic=monotonic)
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(128)
    libc.pthread_mutex_lock(mutex)

    def wait_until_noted():
        while select.select([interrupt._arrivals._ends[0]], [], [], 0)[0]:
            pass  # until it is noted when the signal came

    def end_step():
        global seconds
        asked.wait()
        wait_until_noted()
        seconds += step
        libc.pthread_mutex_unlock(mutex)

    with Interrupt() as interrupt:
        print("ready", flush=True)
        while not interrupt.requested:
            sys.stdin.readline()
        wait_until_noted()
        seconds += before
        asked.clear()
        threading.Thread(target=end_step).start()
        print("in the step", flush=True)
        libc.pthread_mutex_lock(mutex)
        print("saving", flush=True)
    sys.exit(interrupt.exit_code)
"""


@pytest.mark.parametrize(("before", "code"), [(0.05, 130), (0.3, -signal.SIGTERM)])
def test_what_counts_is_when_signals_come_and_not_when_a_long_step_lets_them_be_handled(before, code):
    process = start(SLOW_STEP, str(before), "10")
    process.send_signal(signal.SIGINT)
    assert go_on(process) == "in the step\n"
    process.send_signal(signal.SIGTERM)
    assert read_rest(process) == ("saving\n" if code > 0 else "")
    assert process.returncode == code


def test_signals_of_a_forked_process_are_not_those_of_its_parent():
    code = """
        import os, signal
        from segkit.system.interrupt import Interrupt
        with Interrupt() as interrupt:
            if (child := os.fork()) == 0:
                os.kill(os.getpid(), signal.SIGINT)
                os._exit(0)
            os.waitpid(child, 0)
            print(interrupt.requested, interrupt._arrivals._last)
    """
    done = run_python("-c", textwrap.dedent(code), cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "False None\n"), done.stderr


def test_a_closed_terminal_may_be_reported_twice():
    """By the system and by the shell, at any interval."""
    process = stop_first(signal.SIGHUP)
    assert go_on(process, seconds=0.3) == "going on\n"
    process.send_signal(signal.SIGHUP)
    assert go_on(process) == "going on\n"
    assert read_rest(process) == ""
    assert process.returncode == 129


def test_hangup_stays_ignored_under_nohup():
    code = """
        import os, signal
        from segkit.system.interrupt import Interrupt
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            print(interrupt.requested)
        print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)
    """
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        done = run_python("-c", textwrap.dedent(code), cwd=ROOT)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (done.returncode, done.stdout) == (0, "False\nTrue\n"), done.stderr


@pytest.mark.parametrize("number", ["SIGINT", "SIGHUP"])
def test_a_worker_ignores_what_a_terminal_sends_and_obeys_sigterm(number):
    process = start(
        script="""
        import os, signal, sys
        from segkit.system.interrupt import Interrupt

        def answer():
            os.close(ask[1])  # so that the end of this process is the end of the questions
            while question := os.read(ask[0], 1):
                os.write(reply[1], question)
            os._exit(0)

        def is_alive(worker):
            os.write(pipes[worker][0], b"?")
            return os.read(pipes[worker][1], 1) == b"?"

        with Interrupt() as interrupt:
            workers, pipes = [], []
            for _ in range(2):
                ask, reply = os.pipe(), os.pipe()
                workers.append(os.fork())
                if workers[-1] == 0:
                    answer()
                os.close(reply[1])  # so that the end of the worker is the end of its replies
                pipes.append((ask[1], reply[0]))
            assert is_alive(0) and is_alive(1)  # a signal that comes while Python forks is lost
            print("ready", flush=True)
            for _ in range(2):
                os.kill(workers[0], signal.NUMBER)
                print("alive" if is_alive(0) else "dead", flush=True)
            os.kill(workers[0], signal.SIGKILL)
            os.kill(workers[1], signal.SIGTERM)
            print(os.WTERMSIG(os.waitpid(workers[1], 0)[1]), interrupt.requested)
        """.replace("NUMBER", number)
    )
    assert read_rest(process) == "alive\nalive\n15 False\n"


def test_earlier_handlers_come_back_even_after_an_exception():
    earlier = [signal.getsignal(number) for number in Interrupt.signals]
    with pytest.raises(ValueError, match="in the loop"), Interrupt():
        assert [signal.getsignal(number) for number in Interrupt.signals] != earlier
        raise ValueError("in the loop")
    assert [signal.getsignal(number) for number in Interrupt.signals] == earlier


def test_nothing_is_requested_without_a_signal():
    with Interrupt() as interrupt:
        pass
    assert not interrupt.requested
    assert interrupt.signal is None
    assert interrupt.exit_code is None


def test_a_signal_is_noted_in_a_process_with_a_thousand_open_files(monkeypatch):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = 4096 if limits[1] == resource.RLIM_INFINITY else limits[1]
    if many < 1100:
        pytest.skip("the system allows no process so many")
    monkeypatch.setattr(os, "pipe", lambda pipe=os.pipe: tuple(map(_with_a_high_number, pipe())))
    resource.setrlimit(resource.RLIMIT_NOFILE, (many, limits[1]))
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # delivered twice
            assert interrupt.exit_code == 143
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _with_a_high_number(number):
    """The same open file under a number from 1024 on, which `select` does not take."""
    other = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 1024)
    os.close(number)
    return other


def test_outside_the_main_thread_it_does_nothing():
    earlier = [signal.getsignal(number) for number in Interrupt.signals]
    outcome = []

    def use():
        with Interrupt() as interrupt:
            outcome.append((interrupt.requested, [signal.getsignal(number) for number in Interrupt.signals]))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert outcome == [(False, earlier)]
