"""Training the runs of an ablation, as many at a time as there are slots.

A run that fails does not stop the others. Ctrl-C, SIGTERM and a closed terminal are passed on to the runs, which save
and end.
"""

import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from segkit.ablation.plan.plan import AblationPlan
from segkit.ablation.running.child import STOPPED, Child, spawn
from segkit.ablation.running.progress import LINE_EVERY, Progress, read_iteration
from segkit.ablation.running.slots import Slot
from segkit.ablation.running.state import FINISHED, IN_USE, RESUMES, RunState, inspect_run
from segkit.errors import RunFolderInUse
from segkit.system.console import duration
from segkit.system.interrupt import Interrupt
from segkit.system.locks import take_lock
from segkit.system.run_files import RunFiles

#: Seconds between two looks at the processes.
POLL = 0.5


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `done`, `stopped`, `failed`, or `skip` for one that needed or could get no training here.

    `code` is its exit status, None where another process has the run; `note` is the score or the reason.
    """

    name: str
    kind: str
    code: int | None
    note: str
    seconds: float = 0.0

    @property
    def line(self) -> str:
        note = f"exit status {self.code}" if self.kind == "failed" else self.note
        took = "" if self.kind == "skip" else duration(self.seconds)
        return f"{self.kind:8}  " + "  ".join(word for word in (self.name, note, took) if word)


class Launcher:
    """Trains runs of one plan.

    `iterations` maps a run's name to its length. `train` starts the program that trains, by default segkit's.
    """

    def __init__(
        self,
        plan: AblationPlan,
        slots: Sequence[Slot],
        *,
        iterations: Mapping[str, int],
        train: Sequence[str] = (),
        poll: float = POLL,
        stream: TextIO | None = None,
        line_every: float = LINE_EVERY,
    ):
        self.plan, self.slots, self.iterations = plan, list(slots), iterations
        self.train, self.poll = train, poll
        self.stream, self.line_every = stream or sys.stdout, line_every
        self.locks: dict[str, int] = {}
        self.children: list[Child] = []
        self.outcomes: dict[str, Outcome] = {}
        self.reached: dict[str, int] = {}
        self.signals: list[int] = []

    @property
    def stopped_by(self) -> int | None:
        """The first signal that asked to stop, None if there was none."""
        return self.signals[0] if self.signals else None

    def launch(self, states: Sequence[RunState]) -> list[Outcome]:
        """Train those of `states` that are not finished or in use, to their ends or until a signal. Returns the
        outcomes of those that were started or skipped."""
        waiting = deque(state for state in states if state.kind not in (FINISHED, IN_USE))
        self.reached = {state.run.name: state.iteration for state in waiting}
        self.progress = Progress(
            self.stream,
            runs=len(waiting),
            total=sum(self.iterations[name] for name in self.reached),
            done=sum(self.reached.values()),
            line_every=self.line_every,
        )
        ignored = [
            number for number in Interrupt.signals if signal.getsignal(number) == signal.SIG_IGN
        ]  # nohup
        wanted = [number for number in Interrupt.signals if number not in ignored or number != signal.SIGHUP]
        earlier = {number: signal.signal(number, self._pass_on) for number in wanted}
        try:
            while (waiting and not self.signals) or self.children:
                while waiting and not self.signals and len(self.children) < len(self.slots):
                    self._start(waiting.popleft())
                if self.children:
                    time.sleep(self.poll)
                self._look()
        finally:
            self._end_children()  # there are some only after an error of our own
            self.progress.close()
            for number, handler in earlier.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
        return [self.outcomes[name] for name in self.reached if name in self.outcomes]

    def _start(self, state: RunState) -> None:
        """Start a run, unless another process has it or has finished it since the plan was made."""
        name, folder = state.run.name, self.plan.folder
        try:
            self.locks[name] = take_lock(self.plan.files.run_lock(name), f"the run {name}", "wait for it")
        except RunFolderInUse as error:
            self._note(Outcome(name, "skip", None, str(error).partition("\n")[0]))
            return
        state = inspect_run(folder, state.run, locked=True)
        if state.kind in (FINISHED, IN_USE):
            self._let_go(name)
            self._note(Outcome(name, "skip", 0 if state.kind == FINISHED else None, state.words))
            return
        seen = len(self.signals)
        # The run inherits its lock and so holds it even if this process is killed.
        lock, slot = self.locks[name], self._free_slot()
        child = spawn(folder, state, slot, imports=self.plan.imports, train=self.train, inherit=[lock])
        self.children.append(child)
        for number in self.signals[seen:]:  # came before it was among the children
            child.send(number)
        where = slot.device or state.run.config.device
        number = f"{len(self.outcomes) + len(self.children)} of {self.progress.runs}"
        resumed = f"  {state.words}" if state.kind == RESUMES else ""
        self.progress.line(f"start     {name}  {number}  {where}{resumed}   {child.log}")

    def _free_slot(self) -> Slot:
        free = list(self.slots)
        for child in self.children:
            free.remove(child.slot)
        return free[0]

    def _look(self) -> None:
        """Take note of the runs that have ended, and of how far the others are."""
        for child in list(self.children):
            ended = child.process.poll() is not None  # asked first: its folder is there by now if it made one
            folder = child.folder(self.plan.folder)
            code = child.exit_code(folder) if ended else None
            if folder is not None:
                self.reached[child.name] = max(child.state.iteration, read_iteration(folder))
            if code is not None:
                self.children.remove(child)
                outcome = self._judge(child, code, folder)
                self._let_go(child.name)
                self._note(outcome)
        self.progress.update(sum(self.reached.values()), len(self.outcomes))

    def _judge(self, child: Child, code: int, folder: Path | None) -> Outcome:
        """How a run ended, from its exit status and its run folder."""
        name, seconds = child.name, time.monotonic() - child.started
        state = inspect_run(self.plan.folder, child.state.run, locked=True)
        if code in STOPPED:
            saved = (
                f"saved at {state.iteration:,}" if state.kind == RESUMES else "before its first checkpoint"
            )
            return Outcome(name, "stopped", code, saved, seconds)
        if code:
            return Outcome(name, "failed", code, child.explain_end(code, folder), seconds)
        if state.kind != FINISHED:
            note = f"it ended, but is not finished: {state.words}   {child.log}"
            return Outcome(name, "failed", 1, note, seconds)
        self.reached[name] = self.iterations[name]
        return Outcome(name, "done", 0, _describe_score(state.run_folder), seconds)

    def _note(self, outcome: Outcome) -> None:
        self.outcomes[outcome.name] = outcome
        self.progress.line(outcome.line)

    def _let_go(self, name: str) -> None:
        os.close(self.locks.pop(name))

    def _pass_on(self, number: int, _frame: object) -> None:
        """The signal handler: every run gets what this process gets, a second signal too."""
        self.signals.append(number)
        for child in self.children:
            child.send(number)

    def _end_children(self) -> None:
        for child in self.children if not self.signals else []:  # a second signal would keep them from saving
            child.send(signal.SIGTERM)
        for child in self.children:
            child.process.wait()
        self.children = []
        for name in list(self.locks):
            self._let_go(name)


def exit_code(outcomes: Sequence[Outcome], stopped_by: int | None) -> int:
    """130, 143 or 129 after a signal; else the exit status that all runs which are not done share, 1 if they differ."""
    if stopped_by is not None:
        return 128 + stopped_by
    codes = {RunFolderInUse.exit_code if outcome.code is None else outcome.code for outcome in outcomes} - {0}
    return codes.pop() if len(codes) == 1 else int(bool(codes))


def _describe_score(folder: Path) -> str:
    """`mIoU 60.4` of a finished run, empty if it has no score."""
    try:
        value = json.loads(RunFiles(folder).summary.read_text(encoding="utf-8"))["last"]["mIoU"]
        return "" if value is None else f"mIoU {100 * value:.1f}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
