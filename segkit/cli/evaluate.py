"""`segkit evaluate`: score trained weights."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from segkit.cli.parser import CommandParser
from segkit.cli.run_command import import_user_code
from segkit.system.environment import require_torch_pair
from segkit.system.run_files import RunFiles
from segkit.system.typed import program


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(prog=program("evaluate"), description="Score trained weights on a data set.")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. data.root=elsewhere")
    parser.add_argument("--weights", required=True, metavar="RUN", help="a run folder or a checkpoint")
    parser.add_argument(
        "--split", choices=("val", "train"), default="val", help="which part of the data (val)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument(
        "--per-image",
        action="store_true",
        help=f"score the last weights of a run and write its {RunFiles.per_image.name}, for runs of an older segkit",
    )
    parser.add_argument(
        "--boundary",
        type=float,
        metavar="PIXELS",
        help="also score the borders between classes, with this tolerance",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the scores as JSON")
    args = parser.parse_intermixed_args(arguments)
    if args.per_image and args.boundary is not None:
        parser.error(
            "--per-image repeats what training scores, which --boundary is no part of; leave one out"
        )
    return args


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.commands.evaluate import evaluate_per_image, evaluate_weights  # need torch

    options = {"split": args.split, "device": args.device, "output": args.output}
    if args.per_image:
        return evaluate_per_image(args.weights, args.overrides, **options)
    return evaluate_weights(args.weights, args.overrides, **options, boundary=args.boundary)
