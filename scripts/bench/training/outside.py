"""Wall time of a run outside of its updates, by what it goes to, beside another checkout.

Trains configs/ohem.yaml with fewer updates, and as many validations, pictures and checkpoints as the whole run has, in
a process of its own with one thread. With a baseline both are run in turns.

start        from the command to the first update
updates      loading and computing them
validation   computing the scores
panels       computing what the examples show
checkpoints  writing them
rest         pictures, plots, tables, events, the end of the run
outside      all but the updates
after start  all but the updates and the start

The plots that a long run draws every minute are hardly in it: a short one is through before.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.bench.measure.process import ROOT, MeasurementFailed
from scripts.bench.measure.rows import Row, rows_of
from scripts.bench.measure.settings import Settings
from scripts.bench.training import outside_worker

PARTS = ("start", "updates", "validation", "panels", "checkpoints", "rest")
OUTSIDE, AFTER_START, WHOLE, BEFORE = "outside", "after start", "whole run", "baseline"
ITERATIONS, SMALL_ITERATIONS = 60, 2
#: Of the configuration, with --small.
SMALL = ("data.train_size=16", "data.val_size=2", "data.size=32")


def bench_outside(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Rows for each part: its share of the whole run and, with a baseline, beside the same part there.

    Ranges are over the runs: one without a baseline, since a share decides nothing.
    """
    iterations, overrides = (SMALL_ITERATIONS, SMALL) if settings.small else (ITERATIONS, ())
    runs = 1 if settings.baseline is None or settings.small else max(1, settings.processes)
    ours, theirs = [], []
    for turn in range(runs):
        tell(f"outside: run {turn + 1} of {runs}")
        ours.append(add_sums(launch(ROOT, iterations, overrides)))
        if settings.baseline is not None:
            theirs.append(add_sums(launch(settings.baseline, iterations, overrides)))
    names = {"bench": "outside", "case": f"configs/ohem.yaml, {iterations} updates, 1 thread"}
    rows = rows_of([{"seconds": run} for run in ours], baselines=(WHOLE,), **names)
    if not theirs:
        return rows
    for part in ours[0]:
        found = [
            {"seconds": {part: run[part], BEFORE: max(1e-9, before[part])}}
            for run, before in zip(ours, theirs, strict=True)
        ]
        made = rows_of(found, baselines=(BEFORE,), **names)
        rows += [row for row in made if row.entry == part]
    return rows


def add_sums(run: dict[str, float]) -> dict[str, float]:
    """The seconds of each part, with those of the whole run and of what is outside of the updates."""
    whole = sum(run[part] for part in PARTS)
    outside = whole - run["updates"]
    return {WHOLE: whole, **run, OUTSIDE: outside, AFTER_START: outside - run["start"]}


def launch(checkout: Path, iterations: int, overrides: Sequence[str]) -> dict[str, float]:
    """The seconds of each part of a run of that checkout. Raises MeasurementFailed."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = Path(folder) / "seconds.json"
        words = [str(seconds), f"train.iterations={iterations}", f"log.dir={folder}/runs", *overrides]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        # Not as a script, whose folder would be searched for modules first.
        program = f"import runpy; runpy.run_path({outside_worker.__file__!r}, run_name='__main__')"
        started = time.time()
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        ended = time.time()
        if done.returncode:
            raise MeasurementFailed(
                f"{checkout} ended with status {done.returncode}:\n{(done.stderr or done.stdout)[-1000:]}"
            )
        measured = json.loads(seconds.read_text())
    found = {**dict.fromkeys(PARTS, 0.0), **measured["seconds"], "start": measured["first"] - started}
    return found | {"rest": ended - started - sum(found.values())}
