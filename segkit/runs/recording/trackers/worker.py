"""What the process of a tracker does: it takes tasks from the run and hands them to the tracker's package.

It is a process so that the package is nowhere near the training: not its threads, its signal handlers, what it does at
exit, to the environment, to the console or to random numbers, nor a server that does not answer.
"""

import importlib
import os
import signal
import socket
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from segkit.config.problem import shorten
from segkit.runs.recording.trackers.memory import Memory
from segkit.runs.recording.trackers.protocol import (
    Report,
    Task,
    Tracker,
    encode_report,
    read_tasks,
)

#: Where the class of each kind is. It gets what a run begins with, its Memory, and what tells of problems.
TRACKERS = {
    "wandb": "segkit.runs.recording.trackers.to_wandb:ToWandb",
    "mlflow": "segkit.runs.recording.trackers.to_mlflow:ToMlflow",
}
#: Bytes of tasks that are read ahead; the rest waits in the run, which drops what gets too much.
MOST_AHEAD = 64 * 2**20
#: The exit status of a run that said nothing of its end.
KILLED = 128 + signal.SIGKILL
#: Letters of a reason.
LONGEST_REASON = 300
#: How far the process stands back where there are not cores enough.
NICENESS = 10
#: Seconds between two looks at the run, and until this process ends once the run is gone.
LOOK_EVERY, LINGER = 0.5, 5.0

Tell = Callable[[Report], None]


def main(handle: int, run: int, kind: str, folder: str) -> None:
    """Do what comes through the socket `handle` from the process `run`, until it says that this is the end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the run decides when it ends
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    channel = socket.socket(fileno=handle)
    ahead = ReadAhead()
    threading.Thread(target=_end_with_run, args=(run, ahead), daemon=True).start()
    threading.Thread(target=ahead.read, args=(channel.makefile("rb"),), daemon=True).start()
    telling = threading.Lock()

    def tell(report: Report) -> None:
        with telling, suppress(OSError):  # the run is gone, or does not listen any more
            channel.sendall(encode_report(report))

    work(Worker(kind, Path(folder), tell), ahead.tasks(), tell)


def work(worker: "Worker", tasks: Iterator[Task], tell: Tell) -> None:
    """Do the tasks in their order, to the end of the run, or that of the tasks if it says nothing. What
    fails is told with its reason; the traceback goes to stderr, once for a reason that stays."""
    said = ""
    for method, arguments in chain(tasks, [Task("end", ("failed", KILLED, "its process is gone"))]):
        try:
            getattr(worker, method)(*arguments)
        except BaseException as error:  # whatever a package may raise, SystemExit too
            reason = describe(error)
            if reason != said:
                traceback.print_exc()
                tell(Report("problem", reason))
            said = reason
            if worker.tracker is None:
                tell(Report("off"))  # last, since the run listens no longer
        tell(Report("ended" if method == "end" else "done"))
        if method == "end":
            return


def describe(error: BaseException) -> str:
    """The error on one line, which is not long."""
    text = " ".join(str(error).split())
    return shorten(f"{type(error).__name__}: {text}" if text else type(error).__name__, LONGEST_REASON)


class Worker:
    """The tasks that a run gives, for one tracker. All may raise whatever the tracker's package does."""

    def __init__(self, kind: str, folder: Path, tell: Tell):
        self.kind, self.tell = kind, tell
        self.tracker: Tracker | None = None
        self.memory = Memory(folder / f"{kind.partition(':')[0]}.json")

    def begin(self, run: Mapping[str, Any]) -> None:
        """Begin, or go on with, what the tracker calls a run."""
        if run["elsewhere"]:
            self.memory.log_again()
        module, _, name = TRACKERS.get(self.kind, self.kind).partition(":")
        try:
            make = getattr(importlib.import_module(module), name)
            self.tracker = tracker = make(run, self.memory, self.tell)
            tracker.begin()
        except BaseException:
            if self.tracker is None or not self.tracker.keeps_trying:
                self.tracker = None
            raise

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """A point of each curve."""
        fresh = self.memory.fresh(iteration, values)
        if self.tracker is not None and fresh:
            self.tracker.scalars(iteration, fresh)
            self.memory.note(iteration, fresh)

    def picture(self, iteration: int, name: str, png: bytes) -> None:
        """A picture."""
        fresh = self.memory.fresh(iteration, {name: png})
        if self.tracker is not None and fresh:
            self.tracker.picture(iteration, name, png)
            self.memory.note(iteration, fresh)

    def summary(self, values: Mapping[str, Any]) -> None:
        """The final numbers."""
        if self.tracker is not None:
            self.tracker.summary(values)

    def tables(self, tables: Mapping[str, tuple[list[str], list[list[Any]]]]) -> None:
        """Tables by name: columns, and rows."""
        if self.tracker is not None:
            self.tracker.tables(tables)

    def files(self, paths: list[str]) -> None:
        """Files that are to be seen there too."""
        if self.tracker is not None:
            self.tracker.files(paths)

    def end(self, state: str, code: int, error: str) -> None:
        """The run has ended: `state` is done, stopped or failed, `code` its exit status."""
        if self.tracker is not None:
            self.tracker.end(state, code, error)


class ReadAhead:
    """Reads tasks in a thread, so that the run need not wait for the tracker; up to MOST_AHEAD bytes."""

    def __init__(self, most: int = MOST_AHEAD):
        self.most = most
        self._waiting: deque[tuple[Task, int] | None] = deque()
        self._bytes = 0
        self._changed = threading.Condition()

    def read(self, stream: Any) -> None:
        """Read until the stream ends."""
        try:
            for task, size in read_tasks(stream):
                with self._changed:
                    self._changed.wait_for(lambda: self._bytes < self.most)
                    self._waiting.append((task, size))
                    self._bytes += size
                    self._changed.notify_all()
        except OSError:  # the run is gone
            pass
        finally:
            self.stop()

    def stop(self) -> None:
        """Nothing more is to come."""
        with self._changed:
            self._waiting.append(None)
            self._changed.notify_all()

    def tasks(self) -> Iterator[Task]:
        """What was read, in its order."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                first = self._waiting.popleft()
                if first is None:
                    return
                self._bytes -= first[1]
                self._changed.notify_all()
            yield first[0]


def _end_with_run(run: int, ahead: ReadAhead) -> None:
    """End this process soon after the run is gone: another may go on in its folder. The end of the socket would tell as
    well, but for processes that the run has forked, which may outlive it and keep it open."""
    waiting = threading.Event()
    while os.getppid() == run:
        waiting.wait(LOOK_EVERY)
    ahead.stop()
    waiting.wait(LINGER)
    os._exit(1)
