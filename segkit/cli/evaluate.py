"""`segkit evaluate`: score trained weights."""

import argparse
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from segkit.cli.compare import count_or_pattern
from segkit.cli.parser import CommandParser, as_given
from segkit.cli.run_command import import_user_code, refuse_launcher
from segkit.evaluation.objects.request import ObjectRequest
from segkit.system.environment import require_torch_pair
from segkit.system.run_files import RunFiles
from segkit.system.typed import program

#: `data.root=elsewhere`; in a path, the "=" comes after a "/".
_OVERRIDE = re.compile(r"[\w.]+=")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments; `weights` is a list, of one run without `per_image`, and `overrides` holds every `key=value`.
    `objects` is a list of classes, empty without the option."""
    parser = _make_parser()
    args = parser.parse_intermixed_args(arguments)
    # `--weights RUN RUN data.root=elsewhere`: an option with several values takes what follows it.
    first, *others = args.weights
    taken = [value for value in others if _OVERRIDE.match(value)]
    args.weights = [first, *(value for value in others if value not in taken)]
    first, *others = args.objects or [""]
    behind = [value for value in others if _OVERRIDE.match(value)]
    args.objects = [value for value in (first, *others) if value and value not in behind]
    taken += behind
    args.overrides = as_given([*args.overrides, *taken], arguments)
    if len(args.weights) > 1 and not args.per_image:
        parser.error(f"--weights: one run at a time, got {len(args.weights)}; several only with --per-image")
    if len(args.weights) > 1 and args.output is not None:
        parser.error(f"--output is for the scores of one run, got {len(args.weights)}; leave it out")
    if args.min_size is not None and not args.objects:
        parser.error("--min-size is of objects: say of which class with --objects CLASS, or leave it out")
    if args.group_by is not None and not args.calibrate:
        parser.error("--group-by is for the halves of --calibrate; leave it out")
    for name in ("per_image", "boundary", "output", "objects", "report"):
        if args.calibrate and getattr(args, name):
            parser.error(f"--{name.replace('_', '-')} is not for --calibrate; leave one of them out")
    if args.report is not None and args.per_image:
        parser.error("--report is not made with --per-image; leave one of them out")
    if args.report is None and (args.worst, args.worst_by) != (None, None):
        parser.error("--worst and --worst-by are of the page that --report writes")
    return args


def _make_parser() -> CommandParser:
    parser = CommandParser(
        prog=program("evaluate"),
        description="Score trained weights on a data set.",
        epilog="exit codes: 0 done, 2 configuration or usage, 3 data, 4 checkpoint, 6 in use by another process, "
        "7 cannot write; of several runs, that of those that failed (1 if they differ)",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. data.root=elsewhere")
    parser.add_argument(
        "--weights",
        nargs="+",
        required=True,
        metavar="RUN",
        help="a run folder, a checkpoint, a packed run or an .onnx file; several runs with --per-image",
    )
    parser.add_argument(
        "--split", choices=("val", "train"), default="val", help="which part of the data (val)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument(
        "--per-image",
        action="store_true",
        help=f"score the last weights of each run and write its {RunFiles.per_image.name}, for runs of an older segkit",
    )
    parser.add_argument(
        "--boundary",
        type=float,
        metavar="PIXELS",
        help="also score the borders between classes, with this tolerance; with --per-image, of every image",
    )
    parser.add_argument(
        "--calibration",
        nargs="?",
        const=True,
        default=False,
        choices=("classwise",),
        help="also score how far confidence and accuracy are apart, and with `classwise` the probability of each class "
        "and its share of the labels; with --per-image, of every image",
    )
    parser.add_argument(
        "--objects",
        nargs="+",
        metavar="CLASS",
        help="also score the objects of these classes, which are their connected pixels: those found (F1 at IoU 0.5 "
        "to 0.95), adapted Rand error, variation of information; with --per-image, of every image",
    )
    parser.add_argument(
        "--min-size", type=int, metavar="PIXELS", help="with --objects: fewer pixels are no object (0)"
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help=f"fit a temperature on half of the images, score it on the others, and write {RunFiles.temperature.name}",
    )
    parser.add_argument(
        "--group-by",
        type=count_or_pattern,
        metavar="REGEX|COUNT",
        help="with --calibrate: images that are not independent and stay in one half, as in compare",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the scores as JSON")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="also write a page that shows the errors, for a browser; includes --calibration",
    )
    parser.add_argument(
        "--worst", type=int, metavar="N", help="images that the page of --report shows, the worst (12)"
    )
    parser.add_argument(
        "--worst-by",
        choices=("miou", "wrong"),
        help="rank images by the mIoU of each, or by their share of wrong pixels (miou)",
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    require_torch_pair()
    import_user_code(args.imports)
    objects = ObjectRequest(tuple(args.objects), args.min_size or 0) if args.objects else None
    options = {
        "split": args.split,
        "device": args.device,
        "output": args.output,
        "boundary": args.boundary,
        "calibration": args.calibration,
        "objects": objects,
    }
    if args.calibrate:
        from segkit.ablation.statistics.groups import group_images  # these need NumPy and torch
        from segkit.commands.calibrate import calibrate

        refuse_launcher("--calibrate")
        group = partial(group_images, group_by=args.group_by)
        return calibrate(args.weights[0], args.overrides, split=args.split, device=args.device, group=group)
    if args.per_image:
        from segkit.commands.evaluate_per_image import evaluate_per_image  # needs torch

        refuse_launcher("--per-image")
        return evaluate_per_image(args.weights, args.overrides, **options)

    from segkit.commands.error_report.options import ReportOptions
    from segkit.commands.evaluate import evaluate_weights  # these need torch
    from segkit.distributed.ranks import joined_ranks

    chosen = {"worst": args.worst, "rank": args.worst_by}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    report = None if args.report is None else ReportOptions(args.report, **chosen)
    with joined_ranks() as ranks:
        return evaluate_weights(args.weights[0], args.overrides, **options, report=report, ranks=ranks)
