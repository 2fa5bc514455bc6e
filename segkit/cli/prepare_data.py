"""`segkit prepare-data`: get a published data set, or convert any to files."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from segkit.cli.parser import CommandParser
from segkit.cli.run_command import import_user_code
from segkit.data.sources import list_sources
from segkit.system.environment import require_torch_pair, usable_cpus
from segkit.system.typed import program


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    if arguments[:1] == ["convert"]:
        return parse_convert(arguments[1:])
    parser = CommandParser(
        prog=program("prepare_data"),
        description="Say how a published data set is got, fetch it where licence and host allow, and check it. "
        "`convert --config FILE --to FOLDER` writes what a configuration reads as images and masks.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a data set that --list shows, such as voc")
    parser.add_argument("--root", type=Path, metavar="DIR", help="where it is or comes to be (data/NAME)")
    parser.add_argument("--list", action="store_true", help="the data sets, their sizes and licences")
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would be done and how to do it by hand"
    )
    parser.add_argument("--yes", action="store_true", help="fetch without asking")
    args = parser.parse_args(arguments)
    if args.list == (args.name is not None):
        parser.error("give the NAME of a data set, or --list for all of them")
    return args


def parse_convert(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=f"{program('prepare_data')} convert",
        description="Write the data that a configuration reads, whatever they are, as images and masks: PNG masks with "
        "a palette (16 bits for more than 255 classes), images as they are or as PNG, and a configuration that trains "
        "on them to the same result. What is there already and was made from the same files stays.",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="changes of the configuration, e.g. data.root=elsewhere",
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="the configuration with the data")
    parser.add_argument(
        "--to", type=Path, required=True, metavar="FOLDER", help="a new folder, or one from before"
    )
    parser.add_argument(
        "--shards",
        type=int,
        metavar="N",
        help="tar files of N samples instead of single files, for file servers (data.name: shards)",
    )
    parser.add_argument(
        "--workers", type=int, default=usable_cpus(), metavar="N", help="processes that write (all cores)"
    )
    args = parser.parse_intermixed_args(arguments)
    if args.workers < 0:
        parser.error(f"--workers must be at least 0, got {args.workers}")
    if args.shards is not None and args.shards < 1:
        parser.error(f"--shards must be at least 1, got {args.shards}")
    return args


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    if "to" in args:
        return convert_data(args)
    if args.list:
        print(list_sources())
        return 0
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.commands.prepare_data import prepare_data  # needs torch

    return prepare_data(args.name, args.root, yes=args.yes, dry_run=args.dry_run)


def convert_data(args: argparse.Namespace) -> int:
    """`prepare-data convert`."""
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.commands.convert.convert import convert  # needs torch
    from segkit.config.load import load_config

    # What is written are the files; copies of them in a cache would serve nobody.
    config = load_config(args.config, [*args.overrides, "data.cache=off"])
    return convert(config, args.to.expanduser(), workers=args.workers, shard_size=args.shards)
