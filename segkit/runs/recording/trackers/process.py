"""The run's end of a tracker: it starts the tracker's process, feeds it, and never waits for it but at the end."""

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from segkit.runs.recording.trackers.protocol import Report, Task, decode_report, encode_task

#: Bytes that may wait for the process to read them; what comes then is dropped, with a warning.
MOST_WAITING = 64 * 2**20
#: Seconds that training waits at most, each time, for a process that has not read what it was sent.
GLANCE = 0.005
#: Seconds without any progress after which the end of a run waits no longer.
PATIENCE = 90.0
#: Seconds that the process then has to end, and those until it has that has closed its end of the socket.
LEAVE, GONE = 10.0, 1.0

#: What the process is started with: where this one finds its modules, it does too.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[5]); "
    "from segkit.runs.recording.trackers.worker import main; "
    "main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])"
)
#: Environment variables of the process, unless they are set. Its arithmetic is for one core; a server that is down is
#: given up soon, since it is tried again; neither package reports on its use, nor on errors, to its makers.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_INIT_TIMEOUT": "45",
}


class TrackerProcess:
    """A process that hands what it is given on to a tracker. It keeps its files, and what it prints, in `folder`.

    Nothing here raises: what goes wrong is among the `reports`.
    """

    def __init__(self, kind: str, folder: Path, *, patience: float = PATIENCE):
        self.kind, self.folder, self.patience = kind, folder.absolute(), patience
        self.reports: list[Report] = []
        self.lost = 0
        self._outbox: deque[memoryview] = deque()
        self._waiting = 0
        self._answers = b""
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen | None = None
        self._moved = 0
        self._ended = False

    @property
    def log(self) -> Path:
        """What the process prints."""
        return self.folder / f"{self.kind.partition(':')[0]}.log"

    def begin(self, run: Mapping[str, Any]) -> None:
        """Start the process, and tell it what the run is."""
        try:
            self._start()
        except OSError as error:
            self.reports.append(Report("problem", f"its process cannot be started: {error}"))
            return
        self.give("begin", dict(run))

    def give(self, method: str, *arguments: Any) -> None:
        """Have the worker's method called, unless too much waits already."""
        if self._channel is None:
            return
        self.look()
        task = encode_task(Task(method, arguments))
        if self._waiting + len(task) > MOST_WAITING and method != "end":
            self._note_lost()
            return
        self._outbox.append(memoryview(task))
        self._waiting += len(task)
        self._send(GLANCE)

    def look(self) -> None:
        """Send what waits, and read what the process says, without waiting for it."""
        self._send(0)
        self._read()

    def end(self, state: str, code: int, error: str = "", *, wait: bool = True) -> None:
        """Say how the run has ended, and, to `wait`, let the process do what it has left; not for ever."""
        self.give("end", state, code, error)
        patience = self.patience if wait else LEAVE
        deadline, before = time.monotonic() + patience, self._moved
        while self._channel is not None and not self._ended and (wait or self._outbox):
            self._await_word()
            self.look()
            if before != self._moved:
                deadline, before = time.monotonic() + patience, self._moved
            elif time.monotonic() > deadline:
                text = f"it did not finish within {patience:g} s; what it has is in {self.folder}"
                self.reports.append(Report("problem", text))
                self._close()
                if self._process is not None:
                    self._process.kill()
        if wait:
            self._close()
            self._reap()

    # --- inside

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        with theirs, self.log.open("ab") as log:
            words = [
                str(theirs.fileno()),
                str(os.getpid()),
                self.kind,
                str(self.folder),
                json.dumps(sys.path),
            ]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**_ENVIRONMENT, "WANDB_DATA_DIR": str(self.folder), **os.environ},
                    start_new_session=True,  # neither Ctrl-C nor a closed terminal reaches it, or what it starts
                    pass_fds=[theirs.fileno()],
                )
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        self._channel = ours

    def _send(self, patience: float) -> None:
        """Send what waits, as far as the process reads it; `patience` is in seconds, for each part."""
        while self._outbox and self._channel is not None:
            try:
                sent = self._channel.send(self._outbox[0])
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._channel, select.POLLOUT)
                if not (patience and poll.poll(1000 * patience)):
                    return
                continue
            except OSError:  # what it said last is still to be read
                self._outbox.clear()
                self._waiting = 0
                return
            self._waiting -= sent
            self._moved += sent
            rest = self._outbox.popleft()[sent:]
            if rest:
                self._outbox.appendleft(rest)

    def _await_word(self) -> None:
        """Wait a moment, unless the process says something, or reads."""
        if self._channel is not None:
            poll = select.poll()
            poll.register(self._channel, select.POLLIN | (select.POLLOUT if self._outbox else 0))
            poll.poll(200)

    def _read(self) -> None:
        while self._channel is not None:
            try:
                part = self._channel.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                part = b""
            if not part:
                self._note_gone()
                return
            *lines, self._answers = (self._answers + part).split(b"\n")
            for line in lines:
                self._take(decode_report(line))

    def _take(self, report: Report) -> None:
        self._moved += 1
        if report.what == "ended":
            self._ended = True
        elif report.what == "off":
            self._close()
        elif report.what != "done":
            self.reports.append(report)

    def _note_lost(self) -> None:
        self.lost += 1
        if self.lost == 1:
            self.reports.append(
                Report("problem", "it does not keep up: it lacks what is logged until it does")
            )

    def _note_gone(self) -> None:
        """The process has closed its end, which is right after the end of the run alone."""
        self._close()
        if not self._ended and self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GONE)
            code = self._process.returncode
            self.reports.append(
                Report("problem", f"its process has ended, exit status {code}, see {self.log}")
            )

    def _close(self) -> None:
        """Nothing more is sent; the process ends once it has read that."""
        if self._channel is not None:
            self._channel.close()
        self._channel = None
        self._outbox.clear()
        self._waiting = 0

    def _reap(self) -> None:
        """Let the process end, by force after a few seconds."""
        if self._process is None:
            return
        try:
            self._process.wait(LEAVE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
