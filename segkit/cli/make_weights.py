"""`segkit make-weights`: make weight maps as files."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from segkit.cli.parser import CommandParser
from segkit.cli.run_command import import_user_code
from segkit.system.environment import require_torch_pair, usable_cpus
from segkit.system.typed import program


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=program("make_weights"),
        description="Make data.weight_map for every image, as weights/{split}/{name}.png beside the images. Maps that "
        "are there and were made from the same labels by the same settings are kept.",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="e.g. data.weight_map='{name: unet_border}'"
    )
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="the configuration with data.weight_map"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=usable_cpus(),
        metavar="N",
        help="processes that make maps (all cores)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write DIR/weights instead, for data that are read-only"
    )
    parser.add_argument(
        "--format",
        choices=("png", "npy"),
        default="png",
        help="16-bit PNG (default), or exact and larger .npy",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="make all maps anew, also those that this script did not make",
    )
    args = parser.parse_intermixed_args(arguments)
    if args.workers < 0:
        parser.error(f"--workers must be at least 0, got {args.workers}")
    return args


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.commands.weights.make import make_weights  # needs torch
    from segkit.config.load import load_config

    return make_weights(
        # What is written are the files; copies of them in a cache would serve nobody.
        load_config(args.config, [*args.overrides, "data.cache=off"]),
        source=" + ".join([args.config, *args.overrides]),
        output=args.output,
        workers=args.workers,
        suffix=f".{args.format}",
        overwrite=args.overwrite,
    )
