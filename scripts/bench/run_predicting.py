"""A folder segmented beside a plain loop, time and memory: python scripts/bench/run_predicting.py --output DIR"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout without installing

from scripts.bench.command import bench
from segkit.cli.run_command import run_command

BENCHES = ("predicting",)


def main(arguments: Sequence[str]) -> int:
    return bench("bench_predicting", BENCHES, __doc__.partition(":")[0], arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
