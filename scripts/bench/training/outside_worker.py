"""Trains configs/ohem.yaml and writes the seconds of its parts: a program, so that any checkout can be run by it.

PYTHONPATH=CHECKOUT python scripts/bench/training/outside_worker.py SECONDS.json train.iterations=60

So it takes nothing from scripts/, and of segkit what all versions have.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

#: Methods of the loop, by what their time is counted as.
METHODS = {
    "update": "updates",
    "fetch": "updates",
    "evaluate_model": "validation",
    "panels": "panels",
    "save": "checkpoints",
}


class Clock:
    """Seconds by part; only the innermost part counts. From the first update on: what is before is the start."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.seconds: dict[str, float] = {}
        self._within: list[float] = []  # seconds of the parts inside each that is open

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, with its time counted as of this part."""

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


def work(output: Path, overrides: Sequence[str]) -> int:
    """Train, and write the seconds of the loop's methods, without those within one another, and when the first update
    began. Returns the exit status."""
    from segkit.cli import train
    from segkit.cli.run_command import run_command

    clock = Clock()
    start = train.train

    def start_timed(*arguments: Any, **options: Any) -> int:
        # Not before: the command loads torch itself, in its own way.
        from segkit.training.trainer import Trainer

        for name, part in METHODS.items():
            setattr(Trainer, name, clock.timed(part, getattr(Trainer, name)))
        return start(*arguments, **options)

    train.train = start_timed
    status = run_command(train.main, ["--config", "ohem.yaml", *overrides])
    output.write_text(json.dumps({"first": clock.first, "seconds": clock.seconds}))
    return status


if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1]), sys.argv[2:]))
