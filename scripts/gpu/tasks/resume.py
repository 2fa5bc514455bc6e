"""A run that is killed and resumed, beside one left alone, with `train.determinism: strict`: equal to the bit.

python -m scripts.gpu.tasks.resume --device cuda --folder FOLDER
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from scripts.gpu.tasks.training import command, find_run, train
from segkit.runs.checkpoint import load_checkpoint
from segkit.system.run_files import RunFiles, list_checkpoints

TOTAL = 100  # iterations
FEW = 20  # in a rehearsal
PATIENCE = 100.0  # seconds for the first checkpoint
WORDS = (
    *("train.checkpoint_every=20%", "train.keep_checkpoints=9", "train.determinism=strict", "train.ema=0.9"),
    *("train.workers=2", "eval.every=50%", "log.tensorboard=false"),
)
#: What of a checkpoint names the folder of the run.
UNLIKE_ANYWAY = ("config",)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args(arguments)
    config, total = ("debug.yaml", FEW) if args.device == "cpu" else ("ohem.yaml", TOTAL)
    words = (f"train.iterations={total}", *WORDS)
    killed, alone = args.folder / "killed", args.folder / "alone"
    at = kill_after_a_checkpoint(command(config, killed, *words, device=args.device), killed, total)
    train(config, killed, *words, "--resume", "auto", device=args.device)
    train(config, alone, *words, device=args.device)
    compared, unlike = compare(find_run(killed), find_run(alone))
    print(
        f"found: killed after iteration {at} of {total}, {compared} tensors and numbers compared, {len(unlike)} unlike"
    )
    if unlike:
        print(f"found: {', '.join(unlike[:3])}")
    return 1 if unlike else 0


def kill_after_a_checkpoint(words: Sequence[str], folder: Path, total: int) -> int:
    """Start a run, kill it once it has a checkpoint, and return that one's iteration. Raises RuntimeError if it has
    none in time, or is done before: then nothing was tried."""
    process = subprocess.Popen(words)
    end = time.monotonic() + PATIENCE
    try:
        while not (found := saved(folder)):
            if process.poll() is not None:
                raise RuntimeError(f"the run ended with status {process.returncode} before it was killed")
            if time.monotonic() > end:
                raise RuntimeError(f"no checkpoint in {PATIENCE:.0f} s")
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    if total in (reached := saved(folder)):
        raise RuntimeError(f"the run was done before it was killed: it has checkpoints of {reached}")
    return max(found)


def saved(folder: Path) -> list[int]:
    """The iterations of the checkpoints of the only run in `folder`, which may not be there yet."""
    return [int(path.stem) for run in folder.glob("*/*/checkpoints") for path in list_checkpoints(run)]


def compare(one: Path, other: Path) -> tuple[int, list[str]]:
    """How much was compared of the last checkpoints of two runs, and the names of what is unlike."""
    first, second = (
        dict(flatten(load_checkpoint(list_checkpoints(RunFiles(run).checkpoints)[0]))) for run in (one, other)
    )
    unlike = sorted(first.keys() ^ second.keys())
    for name in sorted(first.keys() & second.keys()):
        if not equal(first[name], second[name]):
            unlike.append(name)
    return len(first), unlike


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor and plain value of a checkpoint with its name, but for what differs anyway."""
    if isinstance(value, dict):
        for key, each in value.items():
            if name or key not in UNLIKE_ANYWAY:
                yield from flatten(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from flatten(each, f"{name}.{index}")
    else:
        yield name, value


def equal(one: Any, other: Any) -> bool:
    """Equal to the bit: NaN too, and zeros of one sign."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        alike = one.dtype == other.dtype and one.shape == other.shape
        return alike and torch.equal(*(each.reshape(-1).view(torch.uint8) for each in (one, other)))
    return type(one) is type(other) and one == other


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
