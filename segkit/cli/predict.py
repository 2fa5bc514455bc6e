"""`segkit predict`: segment images."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from segkit.cli.parser import CommandParser
from segkit.cli.run_command import import_user_code
from segkit.system.environment import require_torch_pair
from segkit.system.run_files import RunFiles
from segkit.system.typed import program


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(prog=program("predict"), description="Segment images with trained weights.")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="predict.key=value",
        help="how images are shown to the network, e.g. predict.tile=[512,512] predict.flip=true",
    )
    parser.add_argument(
        "--weights",
        required=True,
        metavar="RUN",
        help="a run folder, a checkpoint, a packed run or an .onnx file",
    )
    parser.add_argument(
        "--source",
        required=True,
        type=Path,
        metavar="PATH",
        help="an image, a folder of images, or what training reads: a stack of pages, .npy or FILE.npz#ARRAY, a "
        "volume, a folder of tables of Hugging Face's",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"where to write ({RunFiles.predictions.name}/ in the run folder)",
    )
    parser.add_argument(
        "--save",
        nargs="+",
        choices=("overlay", "palette", "ids", "confidence", "probabilities", "volume", "geotiff"),
        help="overlay: the image under the classes' colours; palette: PNG of ids with colours, of up to 256 classes; "
        "ids: grey PNG; confidence: grey PNG of the probability of what is predicted; probabilities: .npz of those "
        "of all classes; volume: one file of ids of the same kind for all images of a stack, an array or a volume; "
        "geotiff: TIFF of ids for TIFF files of any size, with their georeference, needs predict.tile "
        "(overlay and palette; overlay and ids of more classes)",
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="overlays show the colours of these classes alone, and probabilities are of them alone (all)",
    )
    parser.add_argument("--opacity", type=float, default=0.5, help="of the colours in an overlay (0.5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return parser.parse_intermixed_args(arguments)


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.commands.predict import predict_images  # these need torch
    from segkit.distributed.ranks import joined_ranks

    with joined_ranks() as ranks:
        return predict_images(
            args.weights,
            args.source,
            args.overrides,
            output=args.output,
            forms=args.save,
            opacity=args.opacity,
            device=args.device,
            classes=args.classes,
            ranks=ranks,
        )
