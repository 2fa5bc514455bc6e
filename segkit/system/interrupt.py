"""Ctrl-C, SIGTERM and a closed terminal as a request that the training loop reads, to finish the step and save."""

import multiprocessing
import os
import signal
import threading
from typing import Any

from segkit.system.signal_arrivals import SignalArrivals

#: Seconds within which a repeated signal is the same request: `timeout` signals the process and its group, a launcher
#: passes on the Ctrl-C that the terminal sends to all. Counted from arrival to arrival, however long a step takes.
_SAME_REQUEST = 0.1


class Interrupt:
    """While entered, the first SIGINT, SIGTERM or SIGHUP is only noted; a second one ends the process at once.

        with Interrupt() as interrupt:
            while training and not interrupt.requested: ...
        sys.exit(interrupt.exit_code or 0)

    A second SIGHUP does not: the system and the shell both send one when a terminal closes. Under `nohup`, which
    ignores it, SIGHUP stays ignored.

    With `launched`, a second signal is not obeyed either: a launcher sends one of its own after that of the terminal,
    and kills on its own account if a process takes too long.

    `signal` is the signal that came, or None. The earlier handlers come back on leaving. Outside the main
    thread, where Python does not allow handlers, nothing is installed and nothing is ever requested.
    """

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, *, launched: bool = False) -> None:
        self._launched = launched
        self.signal: signal.Signals | None = None
        self._came_at = 0.0
        self._arrivals = SignalArrivals()
        self._process = 0
        self._earlier: dict[signal.Signals, Any] = {}  # what signal.signal returned

    @property
    def requested(self) -> bool:
        """Whether the process was asked to stop."""
        return self.signal is not None

    @property
    def exit_code(self) -> int | None:
        """130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP, None if the process was not asked to stop."""
        return None if self.signal is None else 128 + self.signal

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            self._arrivals.start()
            wanted = [number for number in self.signals if not _is_ignored_hangup(number)]
            self._earlier = {number: signal.signal(number, self._note) for number in wanted}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            # None: the earlier handler was not installed by Python and cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._earlier:
            self._arrivals.stop()
        self._earlier = {}

    def _note(self, number: int, _frame: object) -> None:
        if os.getpid() != self._process:
            self._act_in_child(number)
        elif self.signal is None:
            self.signal = signal.Signals(number)
            self._came_at = self._arrivals.last()
        elif self._launched:
            return
        elif number != signal.SIGHUP and self._arrivals.last() - self._came_at > _SAME_REQUEST:
            _die_by(number)

    def _act_in_child(self, number: int) -> None:
        """A data worker inherits the handler. What a terminal sends reaches it too, but its parent decides when it
        ends."""
        if number not in (signal.SIGINT, signal.SIGHUP):
            _die_by(number)


def leave_signals_to_parent() -> None:
    """In a process of a run that is not its main one: the main one finishes its update and then ends this one.

    Ctrl-C, a closed terminal, and the SIGTERM of a batch system, reach every process of a job. This one must outlive
    them, and still obey the SIGTERM that its own parent sends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey_parent, daemon=True).start()


def _obey_parent() -> None:
    parent = multiprocessing.parent_process()
    above = None if parent is None else parent.pid
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid not in (os.getppid(), above):
        pass
    os._exit(0)


def _is_ignored_hangup(number: int) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN


def _die_by(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
