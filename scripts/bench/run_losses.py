"""Time and memory of the losses, beside plain PyTorch and others: python scripts/bench/run_losses.py --output DIR"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout without installing

from scripts.bench.command import bench
from segkit.cli.run_command import run_command

BENCHES = ("losses", "overhead", "cuda")


def main(arguments: Sequence[str]) -> int:
    return bench("bench_losses", BENCHES, __doc__.partition(":")[0], arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
