"""Check a loss, your own included: python scripts/check_loss.py ohem_ce thresh=0.6"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from segkit.arguments import CommandParser
from segkit.cli import import_user_code, run_command
from segkit.system.environment import require_torch_pair


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="check_loss.py",
        description="Say what of segkit's rules a loss keeps: edges, gradient, precision, ignored pixels, schedule.",
        epilog="exit codes: 0 all that applies holds, 1 something does not, 2 configuration or usage",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="NAME key=value",
        help="a registered loss and its parameters; with --config, overrides such as loss.thresh=0.6",
    )
    parser.add_argument("--config", metavar="FILE", help="check the loss block of a configuration")
    parser.add_argument("--device", default="cpu", help="cpu, auto, cuda, cuda:N or mps")
    args = parser.parse_intermixed_args(arguments)
    if not (args.words or args.config):
        parser.error("a loss is needed, for example: python scripts/check_loss.py ohem_ce thresh=0.6")
    return args


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.commands.check_loss import check_loss  # needs torch

    return check_loss(args.words, config=args.config, device=args.device)


if __name__ == "__main__":
    sys.exit(run_command(main))
