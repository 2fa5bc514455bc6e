"""`segkit check-loss`: check a loss, your own included."""

import argparse
from collections.abc import Sequence

from segkit.cli.parser import CommandParser
from segkit.cli.run_command import import_user_code
from segkit.system.environment import require_torch_pair
from segkit.system.typed import program, typed


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=program("check_loss"),
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
        parser.error(f"a loss is needed, for example: {typed('check_loss')} ohem_ce thresh=0.6")
    return args


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.commands.check_loss import check_loss  # needs torch

    return check_loss(args.words, config=args.config, device=args.device)
