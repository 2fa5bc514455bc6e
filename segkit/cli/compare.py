"""`segkit compare`: compare finished runs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from segkit.cli.parser import CommandParser
from segkit.cli.run_command import import_user_code
from segkit.system.environment import require_torch_pair
from segkit.system.typed import program, typed


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=program("compare"),
        description="The report of an ablation for any finished runs, sorted into variants.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a run folder, a folder above (all finished runs below it), or a packed study, whose own choices stand "
        "for those not made here",
    )
    parser.add_argument(
        "--baseline", metavar="NAME", help="the variant to compare with (that of the first RUN)"
    )
    parser.add_argument(
        "--group-by",
        type=count_or_pattern,
        metavar="REGEX|COUNT",
        help="images that are not independent: those whose name has the same text in the expression's group, "
        "or so many in a row (1: each by itself, where a packed study says otherwise)",
    )
    parser.add_argument(
        "--margin",
        type=float,
        metavar="POINTS",
        help="how many points of mIoU do not matter, so that a variant can be found no different "
        "(0: none, where a packed study says otherwise)",
    )
    parser.add_argument("--level", type=float, metavar="SHARE", help="the level of the intervals (0.95)")
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=[],
        metavar="NAME",
        help="what to compare by, the main one first (miou): miou, mdice, macc, accuracy, ce, ece, brier, "
        "boundary_iou, boundary_f1, objects_f1, objects_f1_50, objects_precision, objects_recall, rand_error, vi, "
        "vi_split, vi_merge; of one class iou/CLASS, dice/CLASS, recall/CLASS, and likewise those from boundary_iou on",
    )
    parser.add_argument(
        "--names", nargs="+", default=[], metavar="NAME", help="what to call the variants, in the order given"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to write (compare/TIME beside the runs)"
    )
    parser.add_argument("--pdf", action="store_true", help="the figures as PDF too, for a paper")
    parser.add_argument(
        "--pack",
        type=Path,
        metavar="FILE.zip",
        help="write the numbers of the runs as one file too, to publish; compare takes it as RUN",
    )
    return parser.parse_args(arguments)


def count_or_pattern(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    if args.imports:
        require_torch_pair()  # which code of a user's own imports; finished runs are read without
    import_user_code(args.imports)

    from segkit.ablation.compare import show_comparison  # needs NumPy, which a usage error need not wait for

    return show_comparison(
        args.runs,
        baseline=args.baseline,
        group_by=args.group_by,
        margin=args.margin,
        level=args.level,
        metrics=args.metrics,
        names=args.names,
        output=args.output,
        pdf=args.pdf,
        pack=args.pack,
        command=typed("compare", *arguments),
    )
