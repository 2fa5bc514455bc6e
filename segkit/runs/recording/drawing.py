"""Who draws: a process beside the run, so that training goes on meanwhile, or this process at once."""

import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from multiprocessing import connection
from typing import Any, NamedTuple

import torch

from segkit.errors import CannotWrite
from segkit.runs.recording.events.event_sketches import EventSketches, Sketch
from segkit.system.interrupt import leave_signals_to_parent

#: Drawings that may wait for the process; who gives it another waits for the first of them.
MOST_WAITING = 8
#: How far the process stands back where there are not cores enough for it and for training.
NICENESS = 10
#: Seconds that the process has to end, with nothing left to do, before it is killed.
PATIENCE = 5.0

#: Draws, and adds what TensorBoard is to show to what it is given first.
Draw = Callable[..., None]


class Drawn(NamedTuple):
    """What came of a drawing: what TensorBoard is to show, and what went wrong, "" for nothing.

    `details` is the traceback of an error that is no CannotWrite, which is a bug.
    """

    what: str
    sketches: list[Sketch]
    problem: str = ""
    details: str = ""


class DrawAtOnce:
    """Draws in this process, before `give` returns."""

    def __init__(self, *, tensorboard: bool = False):
        self.tensorboard = tensorboard
        self._drawn: list[Drawn] = []

    def give(self, what: str, draw: Draw, *arguments: Any) -> None:
        """Do `draw(sketches, *arguments)`, which draws `what` (such as "plots")."""
        self._drawn.append(_do(what, draw, arguments, tensorboard=self.tensorboard))

    def take(self, *, until: str | None = None, all_of_them: bool = False) -> list[Drawn]:
        """What was done since, in the order in which it was given."""
        drawn, self._drawn = self._drawn, []
        return drawn

    def end(self, *, at_once: bool = False) -> None:
        """There is nothing to end."""


class DrawBeside:
    """Draws in a process of its own, one after the other in the order given.

    Everything is handed over by value when it is given: what changes afterwards changes no drawing. At most
    MOST_WAITING drawings wait; `give` then waits for the first of them. No error ends the process. If the system does,
    the drawing it was at is lost, which its `problem` says, and another process does the others. Where no process can
    be started, this one draws.
    """

    def __init__(self, *, tensorboard: bool = False):
        self.tensorboard = tensorboard
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._drawn: list[Drawn] = []
        self._process: _Process | None = None

    def give(self, what: str, draw: Draw, *arguments: Any) -> None:
        """Have `draw(sketches, *arguments)` done, which draws `what` (such as "plots")."""
        while len(self._waiting) >= MOST_WAITING:
            self._receive()
        task = pickle.dumps((what, draw, arguments, self.tensorboard), protocol=pickle.HIGHEST_PROTOCOL)
        self._waiting.append((what, task))
        if self._process is None:
            self._start()
        else:
            self._process.send(task)

    def take(self, *, until: str | None = None, all_of_them: bool = False) -> list[Drawn]:
        """What was done since, in the order in which it was given; first waits for `all_of_them`, or until every
        drawing of what `until` names is done."""
        while self._waiting and (
            all_of_them or until in [what for what, _ in self._waiting] or self._process_has_news()
        ):
            self._receive()
        drawn, self._drawn = self._drawn, []
        return drawn

    def end(self, *, at_once: bool = False) -> None:
        """Let the process end; `at_once`, whatever it has left to do."""
        if self._process is not None:
            self._process.end(at_once=at_once)
        self._process = None
        self._waiting.clear()

    def _process_has_news(self) -> bool:
        return self._process is not None and self._process.has_news()

    def _receive(self) -> None:
        """Wait for the first of the drawings that wait."""
        assert self._process is not None  # else nothing would wait
        what, _ = self._waiting.popleft()
        drawn = self._process.receive()
        if drawn is None:
            how = self._process.describe_end()
            drawn = Drawn(what, [], f"the process that draws is {how}")
            self._process = None
        self._drawn.append(drawn)
        if self._process is None and self._waiting:
            self._start()

    def _start(self) -> None:
        """Start a process and give it all that waits; draw that here if the system refuses one."""
        try:
            self._process = _Process()
        except OSError:  # too little memory, or too many processes: drawing takes neither of a new one here
            while self._waiting:
                self._drawn.append(_do_pickled(self._waiting.popleft()[1]))
            return
        for _, task in self._waiting:
            self._process.send(task)


class _Process:
    """A process that does what it is sent, and sends what came of it, in this order."""

    def __init__(self) -> None:
        theirs, self._tasks = multiprocessing.Pipe(duplex=False)
        self._results, sent = multiprocessing.Pipe(duplex=False)
        # Closed here at once, and before another process inherits them: then the pipes end when the process does.
        with theirs, sent:
            self._process = multiprocessing.Process(target=_draw_all, args=(theirs, sent), daemon=True)
            try:
                self._process.start()
            except OSError:
                self._tasks.close()
                self._results.close()
                raise

    def send(self, task: bytes) -> None:
        try:
            self._tasks.send_bytes(task)
        except OSError:  # it is gone, as whoever waits for a result will find; then the task goes to another
            return

    def has_news(self) -> bool:
        """Whether `receive` returns at once."""
        return self._results.poll()

    def receive(self) -> Drawn | None:
        """The next result; None if the process is gone."""
        try:
            return self._results.recv()
        except (EOFError, OSError):  # the latter in the middle of a result
            self._tasks.close()
            self._results.close()
            self._process.join(PATIENCE)
            return None

    def describe_end(self) -> str:
        code = self._process.exitcode or 0
        return f"killed by signal: {signal.strsignal(-code)}" if code < 0 else f"gone, exit status {code}"

    def end(self, *, at_once: bool) -> None:
        if at_once:
            self._process.kill()
        else:
            self.send(b"")
            self._process.join(PATIENCE)
            if self._process.is_alive():
                self._process.kill()
        self._process.join()
        self._tasks.close()
        self._results.close()


def _draw_all(tasks: connection.Connection, results: connection.Connection) -> None:
    """What the process does: one task after the other, until it gets an empty one."""
    leave_signals_to_parent()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)  # those of OpenMP do not outlive a fork
    os.nice(NICENESS)
    # Who sends a task waits until it is read, and reading needs its turn beside the drawing.
    sys.setswitchinterval(1e-4)
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_tasks, args=(tasks, waiting), daemon=True).start()
    while task := waiting.get():
        results.send(_do_pickled(task))


def _read_tasks(tasks: connection.Connection, waiting: "queue.SimpleQueue[bytes]") -> None:
    """Read tasks ahead, so that who sends them need not wait for a drawing."""
    try:
        while True:
            waiting.put(tasks.recv_bytes())
    except (EOFError, OSError):  # the parent is gone
        waiting.put(b"")


def _end_with_parent() -> None:
    """End this process when the main one is gone: another may go on in the run folder.

    What tells of that is a pipe, which processes that were forked later keep open; so the parent is looked at too.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a child
    forked = os.getppid() == parent.pid
    while not connection.wait([parent.sentinel], timeout=0.5 if forked else None):
        if forked and os.getppid() != parent.pid:
            break
    os._exit(1)


def _do_pickled(task: bytes) -> Drawn:
    what, draw, arguments, tensorboard = pickle.loads(task)
    return _do(what, draw, arguments, tensorboard=tensorboard)


def _do(what: str, draw: Draw, arguments: tuple, *, tensorboard: bool) -> Drawn:
    sketches = EventSketches(wanted=tensorboard)
    try:
        draw(sketches, *arguments)
    except CannotWrite as error:
        return Drawn(what, sketches.made, str(error).partition("\n")[0])
    except (
        Exception
    ) as error:  # of any kind: a picture is no reason to end a run; the traceback goes into the log
        text = str(error).partition("\n")[0]
        return Drawn(what, sketches.made, f"{type(error).__name__}: {text}", traceback.format_exc())
    return Drawn(what, sketches.made)
