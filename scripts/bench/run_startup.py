"""Time from a command to what it is for, beside what cannot be avoided: python scripts/bench/run_startup.py

show   `--help`, `--list losses` and `--print-config`, in seconds
start  `--check`, and training until the console shows the first update, beside `import torch, torchvision` alone; with
       `--baseline FOLDER` beside the same command of another checkout

Every command is started anew `--rounds` times, all in turns, with one thread. Wall clock, and the time that its
processors were busy; medians.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CONFIG = ("--config", "debug.yaml")
SHOWING = {
    "--help": ("--help",),
    "--list losses": ("--list", "losses"),
    "--print-config": ("--print-config", *CONFIG),
}
STARTING = {"--check": ("--check", *CONFIG), "first update": (*CONFIG, "log.every=1")}
IMPORTS = "import torch, torchvision"
#: Seconds that showing may take, and the share of the baseline's time that starting may take.
MOST_SECONDS, MOST_SHARE = 0.6, 0.5
#: What the line of the first update begins with.
UPDATE = "iter"


@dataclass(frozen=True)
class Row:
    """Median seconds of a command, wall clock and busy; `ratio` to the baseline and `limit` where there are such."""

    command: str
    seconds: float
    busy: float
    ratio: float | None
    limit: float | None
    verdict: str


class Failed(RuntimeError):
    """A command that is measured did not do what it should."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="starts of each command (%(default)s)")
    parser.add_argument("--baseline", type=Path, metavar="FOLDER", help="another checkout to compare with")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write what was measured as JSON")
    args = parser.parse_args(arguments)
    if args.baseline is not None and not (args.baseline / "train.py").is_file():
        parser.error(f"--baseline {args.baseline}: there is no train.py in it")
    rows = measure(args.rounds, args.baseline)
    print("\n".join(describe(rows, args.baseline)))
    if args.output is not None:
        args.output.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return 0


def measure(rounds: int, baseline: Path | None) -> list[Row]:
    """A row for each command, after one start of each that does not count."""
    commands = {**SHOWING, **STARTING}
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for turn in range(rounds + 1):
        for name, words in commands.items():
            for side, folder in (("ours", ROOT), ("theirs", baseline)):
                if folder is not None:
                    found = start(folder, words, until=UPDATE if name == "first update" else None)
                    times.setdefault((name, side), []).extend([found] if turn else [])
        found = run([sys.executable, "-c", IMPORTS], ROOT, until=None)
        times.setdefault((IMPORTS, "theirs"), []).extend([found] if turn else [])
    medians = {key: tuple(map(statistics.median, zip(*taken, strict=True))) for key, taken in times.items()}
    return [_make_row(name, medians, compared=baseline is not None) for name in commands]


def _make_row(name: str, medians: dict[tuple[str, str], tuple[float, ...]], *, compared: bool) -> Row:
    seconds, busy = medians[name, "ours"]
    beside = medians.get((name, "theirs"), medians[IMPORTS, "theirs"])
    ratio = seconds / beside[0]
    if name in SHOWING:
        return Row(name, seconds, busy, ratio, MOST_SECONDS, _judge(seconds, MOST_SECONDS))
    limit = MOST_SHARE if compared else None
    return Row(name, seconds, busy, ratio, limit, "" if limit is None else _judge(ratio, limit))


def _judge(found: float, limit: float) -> str:
    return "pass" if found <= limit else "short"


def start(folder: Path, words: Sequence[str], *, until: str | None) -> tuple[float, float]:
    """Seconds that train.py of a checkout takes with these words, and busy ones; see `run`."""
    with tempfile.TemporaryDirectory() as runs:
        logs = () if until is None else (f"log.dir={runs}",)
        return run([sys.executable, str(folder / "train.py"), *words, *logs], folder, until=until)


def run(command: Sequence[str], folder: Path, *, until: str | None) -> tuple[float, float]:
    """Seconds until the command ends or, with `until`, prints a line that begins so; and the busy seconds of its
    processors until its end. Raises Failed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    before, began = _busy(), time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    taken, lines = None, []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if taken is None and until is not None and line.startswith(until):
            taken = time.perf_counter() - began
    status = process.wait()
    ended = time.perf_counter() - began
    if status or (until is not None and taken is None):
        raise Failed(f"{' '.join(command)} ended with status {status}:\n{''.join(lines[-10:])}")
    return taken or ended, _busy() - before


def _busy() -> float:
    """Seconds of processors that all finished children of this process took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def describe(rows: Sequence[Row], baseline: Path | None) -> list[str]:
    """The table, one line for each command."""
    beside = f"`{IMPORTS}`" if baseline is None else str(baseline)
    head = f"{'command':<16}{'seconds':>9}{'busy':>9}{'ratio':>9}{'limit':>11}"
    lines = [f"ratio: to {beside}", head]
    for row in rows:
        limit = "" if row.limit is None else f"{row.limit:g}{' s' if row.command in SHOWING else ' x'}"
        lines.append(
            f"{row.command:<16}{row.seconds:>9.2f}{row.busy:>9.2f}{row.ratio:>9.2f}{limit:>11}  {row.verdict}".rstrip()
        )
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
