"""`segkit visualise`: see what training sees."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from segkit.cli.parser import CommandParser
from segkit.cli.run_command import import_user_code
from segkit.system.environment import require_torch_pair
from segkit.system.typed import program


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=program("visualise"),
        description="Write a contact sheet and a page of images, labels, weights and what augmentation makes of them.",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. data.root=elsewhere")
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="a file, a name in configs/ or a run folder"
    )
    parser.add_argument(
        "--split", choices=("train", "val"), default="train", help="which part of the data (train)"
    )
    parser.add_argument("--count", type=int, default=4, metavar="N", help="images, spread over the set (4)")
    parser.add_argument("--seed", type=int, metavar="N", help="the seed of the run (the configuration's)")
    parser.add_argument("--epoch", type=int, default=0, metavar="N", help="the first epoch shown (0)")
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="how many epochs are shown (3)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write (runs/visualise/NAME)")
    return parser.parse_intermixed_args(arguments)


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.commands.visualise.run import visualise  # needs torch

    return visualise(
        args.config,
        args.overrides,
        split=args.split,
        count=args.count,
        seed=args.seed,
        epoch=args.epoch,
        epochs=args.epochs,
        output=args.output,
    )
