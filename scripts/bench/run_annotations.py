"""Time and memory of COCO's annotation files: python scripts/bench/run_annotations.py --output runs/bench"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout without installing

from scripts.bench.command import bench
from segkit.cli.run_command import run_command

BENCHES = ("annotations",)


def main(arguments: Sequence[str]) -> int:
    return bench("bench_annotations", BENCHES, __doc__.partition(":")[0], arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
