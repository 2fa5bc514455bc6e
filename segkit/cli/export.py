"""`segkit export`: write trained weights as a file for other programs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from segkit.cli.parser import CommandParser
from segkit.cli.run_command import import_user_code
from segkit.system.environment import require_torch_pair
from segkit.system.run_files import RunFiles
from segkit.system.typed import program


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments; `size` is a pair (height, width) or None."""
    parser = CommandParser(
        prog=program("export"),
        description="Write a trained network as one file for other programs, and compare it with what it was made of; "
        "if they differ, nothing is kept. TorchScript, which torch gives up, is not offered.",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="data.key=value",
        help="where the validation images are that it is tried on, e.g. data.root=elsewhere",
    )
    parser.add_argument(
        "--weights", required=True, metavar="RUN", help="a run folder, a checkpoint or a packed run"
    )
    parser.add_argument(
        "--to",
        choices=("onnx", "pt2"),
        default="onnx",
        help="onnx: for ONNX Runtime and others; pt2: for torch.export.load (onnx)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help=f"where to write ({RunFiles.onnx.name} in the run folder)"
    )
    parser.add_argument(
        "--with-preprocessing",
        action="store_true",
        help="the file takes images in bytes and gives class ids: normalisation, upsampling and argmax are inside",
    )
    parser.add_argument(
        "--size",
        nargs=2,
        type=int,
        metavar=("H", "W"),
        help="images of this height and width alone, for networks that are made for one",
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="compute in 8 bits, by the ranges of values on training images; says what that costs in mIoU",
    )
    args = parser.parse_intermixed_args(arguments)
    if args.size is not None and min(args.size) < 1:
        parser.error(f"--size: a height and a width of at least 1 pixel, got {args.size[0]} {args.size[1]}")
    args.size = None if args.size is None else tuple(args.size)
    return args


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.commands.export.export import export_weights  # needs torch

    return export_weights(
        args.weights,
        args.overrides,
        to=args.to,
        output=args.output,
        with_preprocessing=args.with_preprocessing,
        size=args.size,
        int8=args.int8,
    )
