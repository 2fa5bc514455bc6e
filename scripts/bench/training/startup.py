"""Time from a command to what it is for, on a CPU, beside what cannot be avoided.

`--help`, `--list losses` and `--print-config` beside a number of seconds; `--check`, and training until the console
shows the first update, beside `import torch, torchvision` alone and beside the same command of another checkout. Every
command is started anew in every round, all in turns, with one thread.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.bench.measure.process import ROOT, MeasurementFailed
from scripts.bench.measure.rows import Row, rows_of
from scripts.bench.measure.settings import Settings

CONFIG = ("--config", "debug.yaml")
SHOWING = {
    "--help": ("--help",),
    "--list losses": ("--list", "losses"),
    "--print-config": ("--print-config", *CONFIG),
}
STARTING = {"--check": ("--check", *CONFIG), "first update": (*CONFIG, "log.every=1")}
IMPORTS, BEFORE = "import torch, torchvision", "baseline"
#: A number instead of another command: what showing may take.
LIMIT, LIMIT_SECONDS = "0.6 s", 0.6
#: What the line of the first update begins with.
UPDATE = "iter"


@dataclass(frozen=True)
class Taken:
    """Seconds by the clock until a command did what it is for, and busy seconds of its processors until its end."""

    seconds: float
    busy: float


def bench_startup(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Rows for each command; their ranges are over the rounds."""
    showing, starting = dict(SHOWING), dict(STARTING)
    rounds = settings.rounds
    if settings.small:
        showing, starting, rounds = {"--help": SHOWING["--help"]}, {}, 1
    commands = showing | starting
    if not settings.small:
        measure_turn(
            commands, settings.baseline
        )  # what is read from the disk for the first time does not count
    turns = []
    for turn in range(rounds):
        tell(f"startup: round {turn + 1} of {rounds}")
        turns.append(measure_turn(commands, settings.baseline))
    rows = _rows_beside(LIMIT, turns, "showing, 1 thread", showing)
    for beside in (BEFORE, IMPORTS):
        rows += _rows_beside(beside, turns, "starting, 1 thread", starting)
    return rows


def measure_turn(commands: dict[str, tuple[str, ...]], baseline: Path | None) -> dict[tuple[str, str], Taken]:
    """What each command took, by its name and what it is beside: "" is this checkout."""
    found = {("", LIMIT): Taken(LIMIT_SECONDS, LIMIT_SECONDS)}
    for name, words in commands.items():
        until = UPDATE if name == "first update" else None
        found[name, ""] = start(ROOT, words, until=until)
        if baseline is not None and name in STARTING:
            found[name, BEFORE] = start(baseline, words, until=until)
    if any(name in STARTING for name in commands):
        found["", IMPORTS] = run([sys.executable, "-c", IMPORTS], ROOT, until=None)
    return found


def _rows_beside(
    beside: str, turns: Sequence[dict[tuple[str, str], Taken]], case: str, names: Sequence[str]
) -> list[Row]:
    """A row for each of these commands, beside one thing; none where that was not measured."""
    rows = []
    for name in names:
        # A number and an import are the same for every command.
        key = (name, beside) if beside == BEFORE else ("", beside)
        if key not in turns[0]:
            continue
        found = [{"seconds": {name: turn[name, ""].seconds, beside: turn[key].seconds}} for turn in turns]
        busy = statistics.median(turn[name, ""].busy for turn in turns)
        rows += [
            replace(row, note=f"{busy:.2f} s of processors")
            for row in rows_of(found, bench="startup", case=case, baselines=(beside,))
            if row.entry == name
        ]
    return rows


def start(folder: Path, words: Sequence[str], *, until: str | None) -> Taken:
    """What train.py of a checkout takes with these words; see `run`."""
    with tempfile.TemporaryDirectory() as runs:
        logs = () if until is None else (f"log.dir={runs}",)
        return run([sys.executable, str(folder / "train.py"), *words, *logs], folder, until=until)


def run(command: Sequence[str], folder: Path, *, until: str | None) -> Taken:
    """Until the command ends or, with `until`, prints a line that begins so. Raises MeasurementFailed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    before, began = _busy(), time.perf_counter()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    taken, lines = None, []
    with subprocess.Popen(command, cwd=folder, env=environment, **pipes) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if taken is None and until is not None and line.startswith(until):
                taken = time.perf_counter() - began
        status = process.wait()
    ended = time.perf_counter() - began
    if status or (until is not None and taken is None):
        raise MeasurementFailed(f"{' '.join(command)} ended with status {status}:\n{''.join(lines[-10:])}")
    return Taken(taken or ended, _busy() - before)


def _busy() -> float:
    """Seconds of processors that all finished children of this process took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
