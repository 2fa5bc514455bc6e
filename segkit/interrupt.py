"""Ctrl-C and SIGTERM as a request that the training loop reads, so that it can finish the step and save."""

import os
import signal
import threading
import time

#: Seconds within which a repeated signal is the same request: `timeout` signals the process and its group.
_SAME_REQUEST = 0.1


class Interrupt:
    """While entered, the first SIGINT or SIGTERM is only noted; a second one ends the process at once.

        with Interrupt() as interrupt:
            while training and not interrupt.requested: ...
        sys.exit(interrupt.exit_code or 0)

    `signal` is the signal that came, or None. The earlier handlers come back on leaving. Outside the main
    thread, where Python does not allow handlers, nothing is installed and nothing is ever requested.
    """

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._noted_at = 0.0
        self._process = 0
        self._earlier: dict[signal.Signals, object] = {}

    @property
    def requested(self) -> bool:
        """Whether the process was asked to stop."""
        return self.signal is not None

    @property
    def exit_code(self) -> int | None:
        """130 after SIGINT, 143 after SIGTERM, None if the process was not asked to stop."""
        return None if self.signal is None else 128 + self.signal

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            self._earlier = {number: signal.signal(number, self._note) for number in self.signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            # None: the earlier handler was not installed by Python and cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._earlier = {}

    def _note(self, number: int, _frame: object) -> None:
        if os.getpid() != self._process:
            self._act_in_child(number)
        elif self.signal is None:
            self.signal = signal.Signals(number)
            self._noted_at = time.monotonic()
        elif time.monotonic() - self._noted_at > _SAME_REQUEST:
            _die_by(number)

    def _act_in_child(self, number: int) -> None:
        """A data worker inherits the handler. Ctrl-C reaches it too, but its parent decides when it ends."""
        if number != signal.SIGINT:
            _die_by(number)


def _die_by(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
