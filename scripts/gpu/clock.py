"""Parts as processes under their time limits, some of them side by side."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.gpu.commands import Place
from scripts.gpu.parts import ALONE, INSTALL, Part
from scripts.gpu.table import CUT, FAILED, RUNNING, SKIPPED, WAITING, Table

GRACE = 5.0  # seconds between asking a process to end and killing it
LEAST = 5.0  # seconds that must be left for a part to begin
PAUSE = 0.1

#: The last line of a log, where a task has no better one.
_FOUND = re.compile(r"^found: (.*)$", re.MULTILINE)


@dataclass
class Started:
    """A part's process, the leader of a group of its own; `end` is when its time is over."""

    part: Part
    process: subprocess.Popen
    log: Path
    begun: float
    end: float
    over: float | None = None  # when it was asked to end


class Clock:
    """Runs parts within `seconds` in all, `jobs` side by side unless they are timed.

    `variables` are added to the environment of every part.
    """

    def __init__(
        self,
        table: Table,
        place: Place,
        *,
        seconds: float,
        jobs: int,
        variables: Mapping[str, str],
        root: Path,
    ):
        self.table, self.place, self.jobs, self.root = table, place, jobs, root
        self.variables = {**os.environ, **variables}
        self.end = time.monotonic() + seconds
        self.running: list[Started] = []

    def run(self, parts: Sequence[Part]) -> None:
        """All of them, in their order; what is left when the time is over stays "not run". A process that is told to
        end, or an error, leaves none of them running, and the table says "cut off" of those."""
        waiting = list(parts)
        try:
            while waiting or self.running:
                while waiting and self._has_room(waiting[0]):
                    self._start(waiting.pop(0))
                self._look()
                if self.running:
                    time.sleep(PAUSE)
        finally:
            for started in self.running:
                self._stop(started, signal.SIGKILL)
                started.process.wait()
                self._finish(started, cut="the call was ended")
            self.running = []
            self.table.pack()

    def _has_room(self, part: Part) -> bool:
        """Whether it may begin now: a timed part when nothing else runs, and what comes after it when it is done."""
        if any(started.part.group != part.group for started in self.running):
            return False
        return len(self.running) < (1 if part.group in ALONE else self.jobs)

    def _start(self, part: Part) -> None:
        reason = part.refuse(self.place)
        if reason is not None:
            self.table.set(part.name, SKIPPED, found=reason)
            return
        now = time.monotonic()
        if self.end - now < LEAST:
            self.table.set(part.name, WAITING, found="no time was left")
            return
        self.table.set(part.name, RUNNING, found="if nothing else is said here later, it did not end")
        log = self.place.work / "logs" / f"{part.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            process = subprocess.Popen(
                [
                    str(self.place.base if part.name == INSTALL else self.place.python),
                    *part.words(self.place),
                ],
                cwd=self.root,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                process_group=0,  # not a session: whoever ends the call's can then end these too
            )
        self.running.append(Started(part, process, log, now, min(now + part.limit, self.end)))

    def _look(self) -> None:
        """See which have ended, and end those whose time is over."""
        now = time.monotonic()
        for started in list(self.running):
            if started.process.poll() is not None:
                self.running.remove(started)
                self._stop(started, signal.SIGKILL)  # what it may have left behind
                limit = started.end - started.begun
                self._finish(started, cut=None if started.over is None else f"after {limit:.0f} s")
                self.table.pack()
            elif started.over is not None and now > started.over + GRACE:
                self._stop(started, signal.SIGKILL)
            elif started.over is None and now > started.end:
                started.over = now
                self._stop(started, signal.SIGTERM)

    def _stop(self, started: Started, number: signal.Signals) -> None:
        try:
            os.killpg(started.process.pid, number)
        except ProcessLookupError:
            return  # all of them have ended already

    def _finish(self, started: Started, *, cut: str | None) -> None:
        text = started.log.read_text(encoding="utf-8", errors="replace")
        result, found = judge(started.part, started.process.returncode, text, cut=cut, dry=self.place.dry)
        self.table.set(started.part.name, result, seconds=time.monotonic() - started.begun, found=found)


def judge(part: Part, status: int, text: str, *, cut: str | None, dry: bool) -> tuple[str, str]:
    """The result of a part and what to say of it, from its exit status and its log; `cut` is why it was ended."""
    said = last_words(text)
    if cut is not None:
        return CUT, f"{cut}; {said}"
    if status:
        what = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return FAILED, f"{what}: {said}"
    if part.wants and not re.search(part.wants, text):
        return FAILED, f"its log has nothing that it was to find: {said}"
    shown = re.search(part.never, text) if part.never and not dry else None
    if shown:
        return FAILED, f"left out on this GPU ({shown[0]}): {said}"
    return part.good, said


def last_words(text: str) -> str:
    """The lines of a log that begin with `found:`, without that; else its last line that is not empty."""
    found = _FOUND.findall(text)
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(found) if found else lines[-1].strip(" =") if lines else "no output"
