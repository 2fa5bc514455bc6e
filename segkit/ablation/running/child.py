"""One run of an ablation in a process of its own: training with a configuration file; its output goes to a log.

On a group of devices that process is torchrun, which has a process for each of them.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segkit.ablation.folder import AblationFiles
from segkit.ablation.running.slots import Slot
from segkit.ablation.running.state import RESUMES, RunState, read_intact_status
from segkit.ablation.running.torchrun_log import without_torchrun
from segkit.system.files import cannot_write, write_text
from segkit.system.interrupt import Interrupt
from segkit.system.locks import find_holder
from segkit.system.run_files import RunFiles
from segkit.system.typed import started

#: Exit statuses of a run that was asked to stop.
STOPPED = tuple(128 + number for number in Interrupt.signals)
#: Lines of a failed run that are shown again at the end.
TAIL_LINES = 6


@dataclass
class Child:
    """A run being trained. What it printed stands in `log` behind `log_start`; `earlier` are the run folders that were
    there before it, `status_before` is the status.json of the one that it resumes."""

    state: RunState
    slot: Slot
    process: subprocess.Popen
    log: Path
    log_start: int
    earlier: frozenset[Path]
    status_before: dict[str, Any] | None = None
    sent: list[int] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        return self.state.run.name

    def folder(self, parent: Path) -> Path | None:
        """Its run folder: the one it resumes, or the one that it has made below `parent` since."""
        if self.state.kind == RESUMES:
            return self.state.folder
        runs = AblationFiles(parent).list_runs(self.name)
        return next((path for path in runs if path not in self.earlier), None)

    def send(self, number: int) -> None:
        """Pass a signal on, if it still runs."""
        if self.process.poll() is None:
            self.sent.append(number)
            self.process.send_signal(number)

    def exit_code(self, folder: Path | None) -> int | None:
        """Its exit status, None while it runs; 128 + the signal that ended it. `folder` is its run folder.

        torchrun ends with 1 whatever happened, so that of a group is what the run itself has written down. Where it
        could write nothing, a run that was asked to stop has stopped.
        """
        code = self.process.poll()
        if code is None:
            return None
        code = 128 - code if code < 0 else code
        if not self.slot.grouped:
            return code
        if folder is not None and find_holder(RunFiles(folder).lock) is not None:
            return None  # torchrun was killed, and its processes, which see that, are about to save
        status = self._status(folder)
        if status is not None and status.get("exit_code") is not None:
            return status["exit_code"]
        return 128 + self.sent[0] if code and self.sent else code

    def explain_end(self, code: int, folder: Path | None) -> str:
        """Why it failed: what a run of several processes has written down, else the last lines that it printed, and
        the signal that ended it if one did."""
        status = self._status(folder) if self.slot.grouped else None
        if status is not None and status.get("error"):
            return status["error"]
        try:
            with self.log.open("rb") as file:
                file.seek(self.log_start)
                text = file.read().decode("utf-8", errors="replace")
        except OSError as error:  # somebody removed it
            text = f"{self.log} cannot be read: {error.strerror}"
        printed = without_torchrun(text.splitlines()) if self.slot.grouped else text.splitlines()
        lines = [line for line in printed if line.strip()][-TAIL_LINES:]
        names = {number.value: number.name for number in signal.Signals}
        if code - 128 in names and code not in STOPPED:
            advice = " (out of memory?)" if code - 128 == signal.SIGKILL else ""
            lines.append(f"ended by {names[code - 128]}{advice}")
        return "\n".join(lines)

    def _status(self, folder: Path | None) -> dict[str, Any] | None:
        """What this run has written into its status.json, None if that is of an earlier part of it."""
        status = None if folder is None else read_intact_status(folder)
        return None if status == self.status_before else status


def spawn(
    folder: Path,
    state: RunState,
    slot: Slot,
    *,
    imports: Sequence[str] = (),
    train: Sequence[str] = (),
    inherit: Sequence[int] = (),
) -> Child:
    """Start a run of the ablation in `folder`; it keeps the files `inherit` open until it ends. Raises CannotWrite."""
    name, files = state.run.name, AblationFiles(folder)
    log, config = files.log(name), files.config(name)
    command = [*slot.launcher, *train_command(config, state, slot, imports=imports, train=train)]
    earlier = frozenset(files.list_runs(name))
    before = read_intact_status(state.run_folder) if state.kind == RESUMES else None
    try:
        for path in (log, config):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_text(config, state.run.config.to_yaml())
        with log.open("ab") as file:
            start = file.tell()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=slot.environment(os.environ),
                start_new_session=True,  # Ctrl-C reaches it through its parent only, so once
                pass_fds=inherit,
            )
    except OSError as error:
        raise cannot_write(log, error) from error
    return Child(state, slot, process, log, start, earlier, before)


def train_command(
    config: Path, state: RunState, slot: Slot, *, imports: Sequence[str] = (), train: Sequence[str] = ()
) -> list[str]:
    """The command line that trains a run, or goes on with it; `train` starts the program (segkit's own)."""
    command = [*(train or started("train")), "--config", str(config)]
    if state.kind == RESUMES:
        command += ["--resume", str(state.folder)]
    for name in imports:
        command += ["--import", name]
    return command + slot.overrides
