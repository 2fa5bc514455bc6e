"""Opening a data set of very many files: python scripts/bench/run_many_files.py --count 1000000

Makes a folder of so many image and mask pairs of 8 x 8 pixels (links to a few files, so that they take inodes and next
to no space), and opens it as `folder` twice: listed for the first time, and from what was kept of that. Each in a fresh
process: seconds, and how much memory it takes beyond that of the imports, at most and in the end, as the system
counts it. Then what a start asks of all files (the fingerprint), the order of an epoch, and what loader processes have
for themselves after some batches, with and without the data set's own names and paths.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # runs from a checkout without installing

LINKS = 50_000  # to one file: ext4 allows 65,000
SETTLE = 3.0  # seconds after which what is kept of a new folder is relied on
FEW = 1_000  # samples of the set that workers are compared with
MB = 2**20


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1_000_000, help="pairs (%(default)s)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to make them; kept, and used again if it is there")
    parser.add_argument("--task", choices=("open", "start"), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.task is not None:
        print(json.dumps({"open": measure_opening, "start": measure_start}[args.task](args)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "files"
        if not folder.is_dir():
            make_files(folder, args.count)
            time.sleep(SETTLE)
        environment = {**os.environ, "SEGKIT_CACHE": f"{temporary}/cache"}
        print(f"{args.count:,} pairs of files; memory beyond that of the imports, at most and in the end")
        for name in ("first", "again"):
            found = launch("open", folder, args, environment)
            print(
                f"{name:6} opened in {found['seconds']:.1f} s   {found['peak']:.0f}   {found['kept']:.0f} MB"
            )
        found = launch("start", folder, args, environment)
        print(
            f"fingerprint of all files in {found['fingerprint']:.1f} s, the order of an epoch in {found['order']:.2f} s"
        )
        print(f"main process with its batches: {found['main']:.0f} MB")
        print(
            f"a worker's own memory: {found['worker']:.0f} MB, and {found['few']:.0f} MB with {FEW:,} samples only"
        )
        if args.folder is None:
            shutil.rmtree(folder)
    return 0


def launch(
    task: str, folder: Path, args: argparse.Namespace, environment: dict[str, str]
) -> dict[str, float]:
    """What a fresh process measures."""
    words = [
        "--task",
        task,
        "--folder",
        str(folder),
        "--count",
        str(args.count),
        "--workers",
        str(args.workers),
    ]
    command = [sys.executable, __file__, *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def make_files(folder: Path, count: int) -> None:
    """Image and mask pairs, as links to a file for each LINKS of them."""
    import numpy as np
    from PIL import Image

    for kind, suffix, shape in (("images", ".jpg", (8, 8, 3)), ("masks", ".png", (8, 8))):
        place = folder / kind / "train"
        place.mkdir(parents=True)
        for first in range(0, count, LINKS):
            original = place / f"frame_{first:09d}{suffix}"
            Image.fromarray(np.zeros(shape, dtype=np.uint8)).save(original)
            for number in range(first + 1, min(first + LINKS, count)):
                os.link(original, place / f"frame_{number:09d}{suffix}")


def open_files(folder: Path) -> Any:
    from segkit.data.datasets.folder import Folder

    return Folder("train", root=str(folder), classes=["background", "object"])


def measure_opening(args: argparse.Namespace) -> dict[str, float]:
    import segkit.data.datasets.folder  # noqa: F401  (its memory does not count)

    before, began = memory("VmRSS"), time.perf_counter()
    dataset = open_files(args.folder)
    seconds = time.perf_counter() - began
    assert len(dataset) == args.count
    return {"seconds": seconds, "peak": memory("VmHWM") - before, "kept": memory("VmRSS") - before}


def measure_start(args: argparse.Namespace) -> dict[str, float]:
    from segkit.data.augments.none import NoAugment
    from segkit.data.loading.loader import train_batches
    from segkit.data.loading.sampler import EpochBatches
    from segkit.data.loading.view import Subset

    before, dataset, found = memory("VmRSS"), open_files(args.folder), {}
    began = time.perf_counter()
    dataset.fingerprint()
    found["fingerprint"] = time.perf_counter() - began
    began = time.perf_counter()
    EpochBatches(len(dataset), batch_size=8, seed=0, num_batches=1).order(0)
    found["order"] = time.perf_counter() - began

    def own_memory(samples: Any) -> float:
        batches = iter(
            train_batches(
                samples, augment=NoAugment(), batch_size=8, seed=0, num_batches=50, workers=args.workers
            )
        )
        for _ in range(40):
            next(batches)
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return max(private(int(child)) for child in children)

    found["worker"] = own_memory(dataset)
    found["main"] = memory("VmRSS") - before
    found["few"] = own_memory(Subset(dataset, range(FEW)))
    return found


def memory(key: str, process: int | str = "self") -> float:
    """MB that the system counts for a process under `key`."""
    found = re.search(rf"^{key}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / MB


def private(process: int) -> float:
    """MB of a process that it shares with no other."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text()
    return (
        sum(int(kilobytes) for kilobytes in re.findall(r"^Private_\w+:\s+(\d+) kB", lines, re.MULTILINE))
        / 1024
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
