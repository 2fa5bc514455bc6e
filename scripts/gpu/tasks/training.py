"""A run by train.py: it ends well, computed as was asked, and learnt something.

python -m scripts.gpu.tasks.training --device cuda --folder FOLDER --expect "amp bf16" --config ohem.yaml KEY=VALUE ...
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="of this run alone")
    parser.add_argument("--config", required=True)
    parser.add_argument("--processes", type=int, default=0, help="by torchrun; without: by Python")
    parser.add_argument("--expect", default="", help="what train.log has to say")
    parser.add_argument("--least", type=float, default=0.0, help="mIoU of the last iteration, in percent")
    args, words = parser.parse_known_args(arguments)
    train(args.config, args.folder, *words, device=args.device, processes=args.processes)
    found, problem = look(find_run(args.folder), expect=args.expect, least=args.least)
    by = f", {args.processes} processes by torchrun" if args.processes else ""
    print(f"found: {found}{by}")
    if args.processes == 1:
        print("found: alone it opens no group of processes; the part nccl does")
    if problem:
        print(f"found: but {problem}")
    return 1 if problem else 0


def train(config: str, folder: Path, *words: str, device: str, processes: int = 0) -> None:
    """Run train.py to its end. Raises CalledProcessError if that is not a good one."""
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        if processes
        else []
    )
    subprocess.run([*command(config, folder, *words, device=device, launcher=launcher)], check=True)


def command(config: str, folder: Path, *words: str, device: str, launcher: Sequence[str] = ()) -> list[str]:
    """The command line of train.py."""
    fixed = ("--config", config, f"device={device}", f"log.dir={folder}")
    return [sys.executable, *launcher, str(ROOT / "train.py"), *fixed, *words]


def find_run(folder: Path) -> Path:
    """The only run folder below `folder`, which is log.dir."""
    (status,) = folder.glob("*/*/status.json")
    return status.parent


def look(run: Path, *, expect: str, least: float) -> tuple[str, str]:
    """What a finished run found, and what is wrong with it: an empty text if nothing is."""
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    log = (run / "train.log").read_text(encoding="utf-8")
    device = next(
        (line.removeprefix("device").strip() for line in log.splitlines() if line.startswith("device ")), ""
    )
    score = 100 * summary["last"]["mIoU"]
    found = (
        f"mIoU {score:.1f} after {summary['last']['iteration']} iterations, {summary['images_per_second']:.0f} img/s, "
        f"{summary['memory_gb']:.1f} GB, {' '.join(device.split())}"
    )
    if not summary["finished"]:
        return found, "it has not finished"
    if expect not in log:
        return found, f"train.log does not say {expect!r}"
    return found, "" if score >= least else f"mIoU {score:.1f} where at least {least:g} was to be seen"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
