"""`segkit pack`: write a run as one file to hand over."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from segkit.cli.parser import CommandParser
from segkit.cli.run_command import import_user_code
from segkit.system.environment import require_torch_pair
from segkit.system.packed.members import is_packed
from segkit.system.run_files import RunFiles
from segkit.system.typed import program


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=program("pack"),
        description="Write a run as one zip file to hand over: weights, configuration without places of this machine, "
        "scores, pictures and a card. predict, evaluate and export take it as --weights, train as --config. Of a "
        "packed run, show what is in it, and whether it is as it was packed.",
    )
    parser.add_argument(
        "run", metavar="RUN", help="a run folder, a checkpoint in one, or a packed run to look into"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE.zip",
        help=f"where to write ({RunFiles.packed.name} in the run folder)",
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument(
        "--onnx",
        type=Path,
        metavar="FILE",
        help=f"an exported network to pack ({RunFiles.onnx.name} of the run)",
    )
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        choices=("pictures", "per-image", "onnx"),
        help="leave out: pictures, which show images of the data; the scores of single images, with their names; onnx",
    )
    parser.add_argument(
        "--license",
        metavar="ID",
        help="for the card: the licence, as the Hugging Face Hub calls it (none is said)",
    )
    parser.add_argument(
        "--dataset",
        metavar="ID",
        help="for the card: the data set on the Hugging Face Hub, such as OWNER/NAME",
    )
    args = parser.parse_intermixed_args(arguments)
    given = [
        name for name in ("output", "force", "onnx", "without", "license", "dataset") if getattr(args, name)
    ]
    if is_packed(args.run) and Path(args.run).is_file() and given:
        parser.error(f"--{given[0]}: {args.run} is packed already, and is only looked into")
    return args


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.commands.pack.pack import look_into, pack_run  # needs torch

    if is_packed(args.run) and not Path(args.run).is_dir():
        return look_into(Path(args.run))
    return pack_run(
        args.run,
        output=args.output,
        onnx=args.onnx,
        without=args.without,
        licence=args.license,
        dataset=args.dataset,
        force=args.force,
    )
