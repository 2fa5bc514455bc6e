"""When signals arrive, which Python's handlers cannot tell: they run only after a long operation is over."""

import os
import select
import signal
import threading
import time

_noting: set["SignalArrivals"] = set()


class SignalArrivals:
    """Notes from `start()` to `stop()` when each signal came, by `time.monotonic`. In the main thread only.

    Python writes a byte for each signal the moment it comes (`signal.set_wakeup_fd`). A thread waits for the bytes and
    gets its turn as soon as the operation in the main thread lets others run, as those of torch do.
    """

    def __init__(self) -> None:
        self._last: float | None = None
        self._earlier = -1
        self._ends: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to note; what was told of signals before is told again after `stop`."""
        receive, send = os.pipe()
        for end in (receive, send):
            os.set_blocking(end, False)
        self._ends = receive, send
        self._earlier = signal.set_wakeup_fd(send, warn_on_full_buffer=False)
        _noting.add(self)
        self._thread = threading.Thread(target=self._watch, args=(receive,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Note no more."""
        if self._ends is None or self._thread is None:
            return
        signal.set_wakeup_fd(self._earlier)
        _noting.discard(self)
        receive, send = self._ends
        os.write(send, b"\0")  # no signal has this number; worker processes may hold the pipe open
        self._thread.join()
        os.close(send)
        os.close(receive)
        self._ends = self._thread = None

    def last(self) -> float:
        """When the last signal came: now, if the thread had no turn since."""
        waiting = self._ends is not None and _has_bytes(self._ends[0], wait=False)
        return time.monotonic() if waiting or self._last is None else self._last

    def _watch(self, receive: int) -> None:
        over = False
        while not over:
            _has_bytes(receive, wait=True)
            # Before the bytes are taken: as long as there are some, `last` knows that it has to ask the clock.
            self._last = time.monotonic()
            over = b"\0" in os.read(receive, 4096)


def _has_bytes(receive: int, *, wait: bool) -> bool:
    """Whether there is something to read. Not by `select`, which knows no numbers from 1024 on, of which a process
    with many open files has some."""
    poll = select.poll()
    poll.register(receive, select.POLLIN)
    return bool(poll.poll(None if wait else 0))


def _tell_nobody() -> None:
    """In a process that was forked: its signals are not those of its parent, whose pipe it has inherited."""
    if _noting:
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_tell_nobody)
