"""Look for mistakes in a whole data set: python scripts/check_data.py --config X [key=value ...] | ROOT"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from segkit.arguments import CommandParser
from segkit.cli import import_user_code, run_command
from segkit.environment import require_torch_pair


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="check_data.py",
        description="Read every image and mask and list what is wrong. Exit status 0, or 3 if there are problems.",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. data.root=elsewhere")
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="the configuration whose data are checked"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="processes that read (all cores)",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write (runs/check/NAME)")
    return parser.parse_intermixed_args(arguments)


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.check_data_run import check_config  # needs torch

    return check_config(args.config, args.overrides, workers=args.workers, output=args.output)


if __name__ == "__main__":
    sys.exit(run_command(main))
