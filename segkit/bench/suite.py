"""Benchmarks from their names to what is printed and written."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from segkit.bench.bars import judge
from segkit.bench.cuda_checks import bench_cuda
from segkit.bench.data_path import bench_data
from segkit.bench.document import save_document, show_document
from segkit.bench.losses import bench_losses
from segkit.bench.scoring import bench_scoring
from segkit.bench.selection import bench_selection
from segkit.bench.settings import Settings, read_settings
from segkit.bench.step import bench_step
from segkit.environment import environment

BENCHES = {
    "losses": bench_losses,
    "cuda": bench_cuda,
    "selection": bench_selection,
    "step": bench_step,
    "data": bench_data,
    "scoring": bench_scoring,
}


def run_benches(name: str, benches: Sequence[str], args: argparse.Namespace) -> int:
    """Measure, print Markdown, and write it with the JSON as `name` into `args.output` if there is one."""
    settings = read_settings(args)
    rows = [row for bench in benches for row in BENCHES[bench](settings, tell=_tell)]
    verdicts, machine = judge(rows, benches=benches, small=settings.small), environment()
    print(show_document(rows, verdicts, machine, settings), end="")
    if args.output is not None:
        save_document(Path(args.output), name, rows, verdicts, machine, settings)
    return 0


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


__all__ = ["BENCHES", "Settings", "run_benches"]
