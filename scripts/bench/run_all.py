"""Every benchmark, and the bars of docs/performance.md: python scripts/bench/run_all.py --output runs/bench"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout without installing

from scripts.bench.command import bench
from segkit.cli.run_command import run_command

BENCHES = (
    "losses",
    "costs",
    "overhead",
    "cuda",
    "selection",
    "step",
    "updates",
    "data",
    "scoring",
    "startup",
    "outside",
    "models",
    "predicting",
    "annotations",
)


def main(arguments: Sequence[str]) -> int:
    return bench("bench", BENCHES, __doc__.partition(":")[0], arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
