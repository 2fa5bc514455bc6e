"""Updates of whole networks on a CPU, segkit at its defaults, each in a process of its own.

Beside a plain loop in fp32, with glibc's defaults and with freed memory kept, and beside another checkout."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.bench.measure.process import MeasurementFailed
from scripts.bench.measure.rows import Row, rows_of
from scripts.bench.measure.settings import Settings
from scripts.bench.training import update_sides

TASK = "scripts.bench.training.update_sides:measure"
OURS, PLAIN, KEPT, BEFORE = "segkit", "plain loop, fp32", "plain loop, fp32, memory kept", "baseline"
#: By the configuration whose network it is: the model, the size of its images, and how many.
NETWORKS: dict[str, tuple[dict[str, Any], int, int]] = {
    "ohem.yaml": ({"name": "unet", "width": 16, "depth": 3}, 128, 8),
    "deeplabv3_mobilenet_v3_large": ({"name": "deeplabv3_mobilenet_v3_large"}, 256, 4),
    "camvid/ohem.yaml": ({"name": "unet", "width": 32, "depth": 4}, 160, 8),
}
SMALL = {"ohem.yaml": ({"name": "unet", "width": 4, "depth": 2}, 32, 2)}


def bench_updates(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Rows of time per update; images/s are the batch divided by it."""
    rows = []
    updates = 1 if settings.small else 2 * settings.rounds
    for name, (model, size, images) in (SMALL if settings.small else NETWORKS).items():
        case = f"{name}, {images} images of {size} x {size}"
        tell(f"updates: {case}")
        mapping = make_mapping(model, size, images)
        found = [measure(settings, mapping, updates) for _ in range(max(1, settings.processes))]
        rows += [
            row
            for row in rows_of(found, bench="updates", case=case, baselines=(PLAIN, KEPT, BEFORE))
            if row.entry in (OURS, row.baseline)
        ]
    return rows


def make_mapping(model: Mapping[str, Any], size: int, images: int) -> dict[str, Any]:
    """A configuration of generated shapes."""
    return {
        "name": "bench",
        "device": "cpu",
        "data": {"name": "shapes", "size": size, "train_size": 2 * images, "val_size": 1},
        "model": dict(model),
        "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9},
        "loss": {"name": "ohem_ce"},
        "train": {"iterations": 1000, "batch_size": images, "workers": 0},
    }


def measure(settings: Settings, mapping: dict[str, Any], updates: int) -> dict[str, dict[str, float]]:
    """Seconds per update of each side, once."""
    alone = Settings(threads=settings.threads, processes=min(1, settings.processes))

    def ours(side: str, allocator: str = "default") -> float:
        arguments = {"side": side, "mapping": mapping, "updates": updates}
        return alone.measure(TASK, arguments, allocator=allocator)[0]["seconds"]

    seconds = {OURS: ours("segkit"), PLAIN: ours("plain loop"), KEPT: ours("plain loop", "retained")}
    if settings.baseline is not None:
        seconds[BEFORE] = measure_checkout(settings.baseline, mapping, updates, threads=settings.threads)
    return {"seconds": seconds}


def measure_checkout(folder: Path, mapping: dict[str, Any], updates: int, *, threads: int) -> float:
    """Seconds per update by the segkit in another checkout. Raises MeasurementFailed."""
    arguments = json.dumps({"side": "segkit", "mapping": mapping, "updates": updates})
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    variables = {**kept, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(folder)}
    command = [sys.executable, update_sides.__file__, arguments]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MeasurementFailed(f"{folder} ended with status {done.returncode}:\n{done.stderr[-1000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])["seconds"]
