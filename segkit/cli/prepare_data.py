"""`segkit prepare-data`: get a published data set."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from segkit.cli.parser import CommandParser
from segkit.cli.run_command import import_user_code
from segkit.data.sources import list_sources
from segkit.system.environment import require_torch_pair
from segkit.system.typed import program


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=program("prepare_data"),
        description="Say how a published data set is got, fetch it where licence and host allow, and check it.",
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


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    if args.list:
        print(list_sources())
        return 0
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.commands.prepare_data import prepare_data  # needs torch

    return prepare_data(args.name, args.root, yes=args.yes, dry_run=args.dry_run)
