"""Segment images: python scripts/predict.py --weights runs/ohem/TIME --source PATH"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from segkit.arguments import CommandParser
from segkit.cli import import_user_code, run_command
from segkit.system.environment import require_torch_pair


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(prog="predict.py", description="Segment images with trained weights.")
    parser.add_argument("--weights", required=True, metavar="RUN", help="a run folder or a checkpoint")
    parser.add_argument(
        "--source", required=True, type=Path, metavar="PATH", help="an image or a folder of images"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to write (predictions/ in the run folder)"
    )
    parser.add_argument(
        "--save",
        nargs="+",
        choices=("overlay", "palette", "ids"),
        default=["overlay", "palette"],
        help="overlay: the image under the classes' colours; palette: PNG of ids with colours; ids: grey PNG",
    )
    parser.add_argument("--opacity", type=float, default=0.5, help="of the colours in an overlay (0.5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.commands.predict import predict_images  # needs torch

    return predict_images(
        args.weights,
        args.source,
        output=args.output,
        forms=args.save,
        opacity=args.opacity,
        device=args.device,
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
