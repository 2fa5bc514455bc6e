"""Get a published data set: python scripts/prepare_data.py NAME [--root DIR] [--dry-run]"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from segkit.arguments import CommandParser
from segkit.cli import import_user_code, run_command
from segkit.data.sources import list_sources
from segkit.system.environment import require_torch_pair


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="prepare_data.py",
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


if __name__ == "__main__":
    sys.exit(run_command(main))
