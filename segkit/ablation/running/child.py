"""One run of an ablation in a process of its own: training with a configuration file; its output goes to a log."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segkit.ablation.folder import AblationFiles
from segkit.ablation.running.slots import Slot
from segkit.ablation.running.state import RESUMES, RunState
from segkit.system.files import cannot_write, write_text
from segkit.system.interrupt import Interrupt
from segkit.system.typed import started

#: Exit statuses of a run that was asked to stop.
STOPPED = tuple(128 + number for number in Interrupt.signals)
#: Lines of a failed run that are shown again at the end.
TAIL_LINES = 6


@dataclass
class Child:
    """A run being trained. What it printed stands in `log` behind `log_start`; `earlier` are the run folders that were
    there before it."""

    state: RunState
    slot: Slot
    process: subprocess.Popen
    log: Path
    log_start: int
    earlier: frozenset[Path]
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
            self.process.send_signal(number)

    def explain_end(self, code: int) -> str:
        """The last lines that it wrote, and the signal that ended it if one did."""
        with self.log.open("rb") as file:
            file.seek(self.log_start)
            text = file.read().decode("utf-8", errors="replace")
        lines = [line for line in text.splitlines() if line.strip()][-TAIL_LINES:]
        names = {number.value: number.name for number in signal.Signals}
        if code - 128 in names and code not in STOPPED:
            advice = " (out of memory?)" if code - 128 == signal.SIGKILL else ""
            lines.append(f"ended by {names[code - 128]}{advice}")
        return "\n".join(lines)


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
    command = train_command(config, state, slot, imports=imports, train=train)
    earlier = frozenset(files.list_runs(name))
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
    return Child(state, slot, process, log, start, earlier)


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
