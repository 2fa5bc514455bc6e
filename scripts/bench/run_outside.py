"""Wall time of a run outside of its updates, by what it goes to: python scripts/bench/run_outside.py

Trains configs/ohem.yaml with fewer updates, and as many validations, pictures and checkpoints as the whole run has, in
a process of its own. With `--baseline FOLDER`, a checkout of another version, both are run in turns, and the ratio of
their medians is printed too.

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

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

#: Methods of the loop, by what their time is counted as.
METHODS = {
    "update": "updates",
    "fetch": "updates",
    "evaluate_model": "validation",
    "panels": "panels",
    "save": "checkpoints",
}
PARTS = ("start", "updates", "validation", "panels", "checkpoints", "rest")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--baseline", type=Path, metavar="FOLDER", help="a checkout to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument(
        "--output", type=Path, help="also write what was measured as JSON; adds to what is there"
    )
    parser.add_argument("overrides", nargs="*", help="of the configuration, such as log.tensorboard=false")
    args = parser.parse_args(arguments)
    checkouts = {"this": ROOT} | ({"baseline": args.baseline.resolve()} if args.baseline else {})
    found: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    if args.output is not None and args.output.is_file():
        found |= json.loads(args.output.read_text())
    for _ in range(args.rounds):
        for name, checkout in checkouts.items():
            found[name].append(launch(args, checkout))
    medians = {name: medians_of(each) for name, each in found.items()}
    print(f"configs/ohem.yaml, {args.iterations} updates, {args.threads} threads; seconds, medians")
    for part in medians["this"]:
        text = "".join(f"  {name} {medians[name][part]:7.2f}" for name in medians)
        if "baseline" in medians:
            text += f"   {medians['this'][part] / max(1e-9, medians['baseline'][part]):.2f} x"
        print(f"{part:12}{text}")
    if args.output is not None:
        args.output.write_text(json.dumps(found, indent=2))
    return 0


def medians_of(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median of each part, and of what is outside of the updates."""
    whole = [
        run
        | {
            "outside": sum(run[part] for part in PARTS if part != "updates"),
            "after start": sum(run[part] for part in PARTS if part not in ("updates", "start")),
        }
        for run in runs
    ]
    return {part: statistics.median(run[part] for run in whole) for part in whole[0]}


def launch(args: argparse.Namespace, checkout: Path) -> dict[str, float]:
    """The seconds of each part of a run of that checkout."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"train.iterations={args.iterations}", f"log.dir={folder}/runs", *args.overrides]
        environment = {
            **os.environ,
            "PYTHONPATH": str(checkout),
            "OMP_NUM_THREADS": str(args.threads),
            "MEASURED": f"{folder}/seconds.json",
        }
        command = [sys.executable, "-c", f"import runpy; runpy.run_path({__file__!r}, run_name='worker')"]
        started = time.time()
        subprocess.run(
            [*command, *words], cwd=checkout, env=environment, stdout=subprocess.DEVNULL, check=True
        )
        ended = time.time()
        measured = json.loads(Path(f"{folder}/seconds.json").read_text())
    seconds = {**dict.fromkeys(PARTS, 0.0), **measured["seconds"], "start": measured["first"] - started}
    return seconds | {"rest": ended - started - sum(seconds.values())}


def work(overrides: Sequence[str]) -> None:
    """Train, and write the seconds of the loop's methods, without those within one another, to $MEASURED."""
    from segkit.cli import train
    from segkit.cli.run_command import run_command
    from segkit.training.trainer import Trainer

    clock = Clock()
    for name, part in METHODS.items():
        setattr(Trainer, name, clock.timed(part, getattr(Trainer, name)))
    status = run_command(train.main, ["--config", "ohem.yaml", *overrides])
    Path(os.environ["MEASURED"]).write_text(json.dumps({"first": clock.first, "seconds": clock.seconds}))
    sys.exit(status)


class Clock:
    """Seconds by part; only the innermost part counts. From the first update on: what is before is the start."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.seconds: dict[str, float] = {}
        self._within: list[float] = []  # seconds of the parts inside each that is open

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def measured(*arguments: Any, **options: Any) -> Any:
            if self.first is None and part == "updates":
                self.first = time.time()
            self._within.append(0.0)
            started = time.perf_counter()
            try:
                return call(*arguments, **options)
            finally:
                taken = time.perf_counter() - started
                inside = self._within.pop()
                if self._within:
                    self._within[-1] += taken
                if self.first is not None:
                    self.seconds[part] = self.seconds.get(part, 0.0) + taken - inside

        return measured


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
elif __name__ == "worker":
    work(sys.argv[1:])
