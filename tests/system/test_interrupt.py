"""Ctrl-C, SIGTERM and SIGHUP against real processes: the first is a request, the second ends the process."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from segkit.system.interrupt import Interrupt
from tests.paths import ROOT

LOOP = """
    import os, sys, time
    from segkit.system.interrupt import Interrupt
    with Interrupt() as interrupt:
        print("ready", flush=True)
        while not interrupt.requested:
            time.sleep(0.01)
        print("saving", interrupt.signal.name, flush=True)
        {after}
    sys.exit(interrupt.exit_code)
"""


def start(after="pass", script=LOOP):
    """A training loop in miniature, past the point where the handlers are in place."""
    code = textwrap.dedent(script).replace("{after}", after)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_first_signal_lets_the_loop_finish(number, code):
    process = start()
    process.send_signal(number)
    assert process.communicate(timeout=20)[0] == f"saving {number.name}\n"
    assert process.returncode == code


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_leaves_at_once(second):
    process = start(after="time.sleep(60)")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "saving SIGINT\n"
    threading.Event().wait(0.3)
    process.send_signal(second)
    process.communicate(timeout=20)
    assert process.returncode == -second


def test_a_signal_delivered_twice_is_one_request():
    process = start(after="time.sleep(0.3)")
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "saving SIGTERM\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143


def test_a_closed_terminal_may_be_reported_twice():
    """By the system and by the shell, at any interval."""
    process = start(after="time.sleep(0.6)")
    process.send_signal(signal.SIGHUP)
    assert process.stdout.readline() == "saving SIGHUP\n"
    threading.Event().wait(0.3)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=20)
    assert process.returncode == 129


def test_hangup_stays_ignored_under_nohup():
    process = start(
        script="""
        import os, signal
        from segkit.system.interrupt import Interrupt
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with Interrupt() as interrupt:
            print("ready", flush=True)
            os.kill(os.getpid(), signal.SIGHUP)
            print(interrupt.requested)
        print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)
    """
    )
    assert process.stdout.read() == "False\nTrue\n"
    process.communicate(timeout=20)


@pytest.mark.parametrize("number", ["SIGINT", "SIGHUP"])
def test_a_worker_ignores_what_a_terminal_sends_and_obeys_sigterm(number):
    process = start(
        script="""
        import os, signal, sys, time
        from segkit.system.interrupt import Interrupt
        with Interrupt() as interrupt:
            workers = [os.fork()]
            if workers[0]:
                workers.append(os.fork())
            if 0 in workers:
                time.sleep(60)
                os._exit(0)
            print("ready", flush=True)
            for _ in range(2):
                os.kill(workers[0], signal.NUMBER)
                time.sleep(0.3)
            print("alive" if os.waitpid(workers[0], os.WNOHANG) == (0, 0) else "dead", flush=True)
            os.kill(workers[0], signal.SIGKILL)
            os.kill(workers[1], signal.SIGTERM)
            print(os.WTERMSIG(os.waitpid(workers[1], 0)[1]), interrupt.requested)
        """.replace("NUMBER", number)
    )
    assert process.communicate(timeout=20)[0] == "alive\n15 False\n"


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
