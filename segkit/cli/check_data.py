"""`segkit check-data`: look for mistakes in a whole data set."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from segkit.cli.parser import CommandParser
from segkit.cli.run_command import import_user_code
from segkit.system.typed import program


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    name = program("check_data")
    parser = CommandParser(
        prog=name,
        usage=f"{name} ROOT [--classes ...] [--ignore ...]\n       {name} --config X [key=value ...]",
        description="Read every image and mask and list what is wrong. For a folder, propose the data: block that "
        "reads it. Exit status 0; 3 if there are problems, or a question that one of the flags answers.",
    )
    parser.add_argument(
        "root", nargs="*", metavar="ROOT", help="a folder with images and masks; or key=value ..."
    )
    parser.add_argument("--config", metavar="X", help="check the data of this configuration")
    parser.add_argument(
        "--classes",
        nargs="+",
        default=[],
        metavar="NAME",
        help="with ROOT: the names of the classes in the order of their values, or a file with them",
    )
    parser.add_argument(
        "--ignore",
        nargs="+",
        default=[],
        metavar="VALUE",
        help="with ROOT: the values of the masks (or colours, '#rrggbb') that mean unknown; none: no value does",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read (one per core)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write (runs/check/NAME)")
    args = parser.parse_intermixed_args(arguments)
    if args.config is None and len(args.root) != 1:
        parser.error("give a folder, or --config X")
    if args.config is not None and (args.classes or args.ignore):
        parser.error(
            "--classes and --ignore are for a folder; a configuration has data.classes and data.label_map"
        )
    return args


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    import_user_code(args.imports)
    where = {"workers": args.workers, "output": args.output}
    if args.config is not None:
        from segkit.commands.check_data import check_configured  # slow to import

        return check_configured(args.config, args.root, **where)

    from segkit.commands.check_folder import check_folder  # slow to import

    return check_folder(Path(args.root[0]), classes=args.classes, ignored=args.ignore, **where)
