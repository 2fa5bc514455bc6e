"""Benchmarks from their names to what is printed and written."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.bench.bars import judge
from scripts.bench.data.annotations import bench_annotations
from scripts.bench.data.data_path import bench_data
from scripts.bench.document import save_document, show_document
from scripts.bench.losses.beside_plain import bench_losses
from scripts.bench.losses.costs import bench_costs
from scripts.bench.losses.cuda_checks import bench_cuda
from scripts.bench.losses.overhead import bench_overhead
from scripts.bench.losses.selection import bench_selection
from scripts.bench.measure.rows import Row
from scripts.bench.measure.settings import Settings, read_settings
from scripts.bench.scoring.evaluating import bench_scoring
from scripts.bench.scoring.predicting import bench_predicting
from scripts.bench.training.models import bench_models
from scripts.bench.training.outside import bench_outside
from scripts.bench.training.startup import bench_startup
from scripts.bench.training.step import bench_step
from scripts.bench.training.updates import bench_updates
from segkit.system.environment import environment

BENCHES = {
    "losses": bench_losses,
    "costs": bench_costs,
    "overhead": bench_overhead,
    "cuda": bench_cuda,
    "selection": bench_selection,
    "step": bench_step,
    "updates": bench_updates,
    "data": bench_data,
    "scoring": bench_scoring,
    "startup": bench_startup,
    "outside": bench_outside,
    "models": bench_models,
    "predicting": bench_predicting,
    "annotations": bench_annotations,
}


def run_benches(name: str, benches: Sequence[str], args: argparse.Namespace) -> int:
    """Measure, print Markdown, and write it with the JSON as `name` into `args.output` if there is one: after each of
    the benches, so that what was measured stays if a later one fails."""
    settings, machine = read_settings(args), environment()
    rows: list[Row] = []
    for bench in benches:
        rows += BENCHES[bench](settings, tell=_tell)
        verdicts = judge(rows, benches=benches, small=settings.small)
        if args.output is not None:
            save_document(Path(args.output), name, rows, verdicts, machine, settings)
    print(show_document(rows, verdicts, machine, settings), end="")
    return 0


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


__all__ = ["BENCHES", "Settings", "run_benches"]
