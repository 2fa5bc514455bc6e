"""Images per second of a CPU's updates beside a plain loop in fp32: python scripts/bench/run_update.py

Each network in a process of its own, the sides in turns, several times; medians. Sides: segkit at its defaults; the
loop of a tutorial (fp32, F.cross_entropy on upsampled logits), with glibc's defaults and with freed memory kept; and
with `--baseline FOLDER` the updates of another checkout.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout without installing

from scripts.bench.process import ALLOCATORS, ROOT

#: By name: the model, the size of its images, how many, and the least ratio of images/s to another checkout's.
NETWORKS: dict[str, tuple[dict[str, Any], int, int, float]] = {
    "ohem.yaml": ({"name": "unet", "width": 16, "depth": 3}, 128, 8, 2.2),
    "deeplabv3_mobilenet_v3_large": ({"name": "deeplabv3_mobilenet_v3_large"}, 256, 4, 1.8),
    "camvid/ohem.yaml": ({"name": "unet", "width": 32, "depth": 4}, 160, 8, 1.8),
}
#: Run in a fresh process of a checkout: prints seconds per update. Only what all checkouts have is used.
OURS = """
import json, statistics, sys, time
from segkit.config.load import config_from_mapping
from segkit.runs.preflight import SilentRecorder
from segkit.training.build import build

mapping, updates = json.loads(sys.argv[1]), int(sys.argv[2])
experiment = build(config_from_mapping(mapping, origin="bench"))
batch = next(iter(experiment.train_batches(0, num_batches=1, workers=0)))
trainer = experiment.trainer(recorder=SilentRecorder(), save=lambda *arguments: None)
step = lambda: trainer.update([batch])
"""
PLAIN = """
import json, statistics, sys, time
import torch
from torch.nn import functional as F
from segkit.config.load import config_from_mapping
from segkit.registry import MODELS
from segkit.training.build import build_data

mapping, updates = json.loads(sys.argv[1]), int(sys.argv[2])
config = config_from_mapping(mapping, origin="bench")
data, n = build_data(config).train, config.train.batch_size
image = torch.stack([torch.as_tensor(data[i].image) for i in range(n)]).float() / 255
target = torch.stack([torch.as_tensor(data[i].target) for i in range(n)]).long()
model = MODELS.get(config.model.name)(data.num_classes, 3, **config.model.params)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

def step():
    output = model(image)
    parts = list(output.values()) if isinstance(output, dict) else [output]
    wide = [F.interpolate(each, target.shape[-2:], mode="bilinear", align_corners=False) for each in parts]
    losses = [F.cross_entropy(each, target, ignore_index=255) for each in wide]
    loss = losses[0] + sum(0.4 * each for each in losses[1:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
TIMING = """
step(); step()
taken = []
for _ in range(updates):
    start = time.perf_counter()
    step()
    taken.append(time.perf_counter() - start)
print(json.dumps(statistics.median(taken)))
"""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--baseline", type=Path, metavar="FOLDER", help="another checkout to compare with")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side (%(default)s)")
    parser.add_argument("--updates", type=int, default=8, help="in each process (%(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--loss", default="ohem_ce", help="of segkit's sides (%(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write what was measured as JSON")
    args = parser.parse_args(arguments)
    found = {name: measure(name, args) for name in args.networks}
    if args.output is not None:
        args.output.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def measure(name: str, args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds per update of each side, one per process; prints a table of their medians."""
    model, size, images, least = NETWORKS[name]
    mapping = {
        "name": "bench",
        "device": "cpu",
        "data": {"name": "shapes", "size": size, "train_size": 2 * images, "val_size": 1},
        "model": model,
        "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9},
        "loss": {"name": args.loss},
        "train": {"iterations": 1000, "batch_size": images, "workers": 0},
    }
    sides = {
        "segkit": (OURS, ROOT, "default"),
        "plain loop, fp32": (PLAIN, ROOT, "default"),
        "plain loop, fp32, memory kept": (PLAIN, ROOT, "retained"),
    }
    if args.baseline is not None:
        sides["baseline"] = (OURS, args.baseline.resolve(), "default")
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(args.rounds):
        for side, (program, folder, allocator) in sides.items():
            taken[side].append(
                seconds_of(program, folder, mapping, args.updates, threads=args.threads, allocator=allocator)
            )
    print(f"{name}: {images} images of {size} x {size}, {args.loss}, {args.threads} threads")
    ours = statistics.median(taken["segkit"])
    for side, values in taken.items():
        ratios = [theirs / own for theirs, own in zip(values, taken["segkit"], strict=True)]
        text = f"  {side:<32}{images / statistics.median(values):8.1f} images/s"
        if side != "segkit":
            ratio = statistics.median(values) / ours
            text += f"   segkit has {ratio:.2f} x ({min(ratios):.2f}-{max(ratios):.2f})"
        if side == "baseline":
            text += f"   at least {least}: {'pass' if ratio >= least else 'short'}"
        print(text, flush=True)
    return taken


def seconds_of(
    program: str, folder: Path, mapping: dict, updates: int, *, threads: int, allocator: str
) -> float:
    """The median time of an update, in a fresh process that imports what is in `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment = {
        **kept,
        **ALLOCATORS[allocator],
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": str(folder),
    }
    command = [sys.executable, "-c", program + TIMING, json.dumps(mapping), str(updates)]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
