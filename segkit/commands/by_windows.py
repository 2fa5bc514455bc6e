"""Segmenting a TIFF file that is larger than memory: read, shown to the network and written window by window."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from segkit.data.decoding.images_and_masks import from_samples
from segkit.data.decoding.opening import explained, refuse_colours, refuse_hidden_stack, refuse_thumbnail
from segkit.data.decoding.samples import Samples, as_shown, read_header
from segkit.data.decoding.tiff_facts import TiffFacts
from segkit.errors import ConfigError, DataError
from segkit.evaluation.views import predict_blocks
from segkit.runs.predictor import Predictor
from segkit.system.cpu.allocator import large_blocks_given_back
from segkit.system.device import weights_cast_once
from segkit.system.files import write_atomically
from segkit.system.printable import show_path

#: What reads and writes parts of TIFF files, and the packages that it needs: the first that is installed is taken.
LIBRARIES = {"by_rasterio": ("rasterio",), "by_tifffile": ("tifffile", "imagecodecs")}


class WindowedImage:
    """An open TIFF file as a uint8 tensor (1, C, H, W) that is read where it is sliced: `image[..., rows, columns]`.

    What is read of a window is what `read_image` makes of the whole file.
    """

    def __init__(self, file: Any, path: Path, facts: TiffFacts, predictor: Predictor):
        self.file, self.path, self.facts, self.predictor = file, path, facts, predictor
        self.device = predictor.device
        self.shape = torch.Size((1, predictor.channels, file.height, file.width))

    def __getitem__(self, part: tuple[Any, slice, slice]) -> Tensor:
        _, rows, columns = part
        window = (
            slice(rows.start, min(rows.stop, self.shape[2])),
            slice(columns.start, min(columns.stop, self.shape[3])),
        )
        values = self.file.read(*window)
        samples = Samples(as_shown(values, self.facts), self.facts.alpha, self.facts.is_colour)
        channels, value_range = self.predictor.channels, self.predictor.value_range
        advice = f"the weights were trained on images of {channels} channels: bring it to that"
        image = from_samples(samples, self.path, channels, value_range, advice)
        return torch.from_numpy(image)[None].to(self.device)


def require_windows(predictor: Predictor) -> Any:
    """The library that reads and writes windows. Raises ConfigError if it is missing, or if the network is to see
    something else than windows."""
    if predictor.views.tile is None:
        raise ConfigError("--save geotiff goes through an image tile by tile -> predict.tile=[512,512]")
    if predictor.resize is not None:
        raise ConfigError(
            f"--save geotiff: the network was trained on whole images that were resized to "
            f"{predictor.resize[0]} x {predictor.resize[1]}, and windows of a larger one would look different to it "
            "-> --save ids"
        )
    for name, packages in LIBRARIES.items():
        try:
            for package in packages:
                importlib.import_module(package)
        except ImportError:
            continue
        return importlib.import_module(f"segkit.commands.tiff_files.{name}")
    raise ConfigError(
        "--save geotiff needs rasterio, or tifffile and imagecodecs, which are not installed "
        "-> pip install 'segkit[geo]'"
    )


def predict_by_windows(predictor: Predictor, source: Path, result: Path, *, quiet: bool = False) -> None:
    """Write the class ids of a TIFF file as another, with colours where a byte holds the ids, and its georeference.

    What is in memory are the logits of a tile and of the rows that the next tiles have a part in, and the ids of a row
    of tiles. Raises ConfigError as `require_windows`, DataError for a file that cannot be read in this way, and
    CannotWrite.
    """
    library = require_windows(predictor)
    facts = read_facts(source)
    with large_blocks_given_back(), library.opened(source, predictor.views.tile or (1, 1)) as file:
        image = WindowedImage(file, source, facts, predictor)
        rows = tqdm(total=file.height, unit="row", leave=False, disable=True if quiet else None)

        def parts() -> Iterator[tuple[int, np.ndarray]]:
            for first, part in rows_of_ids(predictor, image):
                yield first, part
                rows.update(len(part))

        def write(target: BinaryIO) -> None:
            with rows, weights_cast_once(image.device):
                library.write_ids(target.name, parts(), file, predictor.labels)

        write_atomically(result, write, durable=False)


def read_facts(path: Path) -> TiffFacts:
    """Raises DataError for what is no TIFF file, or one whose windows are not what the whole image shows."""
    with explained(path):
        facts = read_header(path).tiff
    if facts is None:
        raise DataError(f"cannot read {show_path(path)} by windows: it is no TIFF file -> --save ids")
    refuse_hidden_stack(path, facts)
    refuse_thumbnail(path, facts)
    refuse_colours(path, facts)
    if facts.orientation not in (0, 1):
        raise DataError(
            f"cannot read {show_path(path)} by windows: it says that it is to be turned (orientation "
            f"{facts.orientation}) -> save it upright, or --save ids"
        )
    return facts


def rows_of_ids(predictor: Predictor, image: Any) -> Iterator[tuple[int, np.ndarray]]:
    """The class ids (h, W) of an image (1, C, H, W), a few rows at a time, each with the number of its first row."""
    width = image.shape[-1]
    depth = np.uint8 if len(predictor.labels.class_names) <= 256 else np.uint16
    band: np.ndarray | None = None
    for (rows, columns), ids in predict_blocks(predictor.forward, image, predictor.views):
        if band is None:
            band = np.empty((rows.stop - rows.start, width), dtype=depth)
        band[:, columns] = ids[0].cpu().numpy()
        if columns.stop == width:
            yield rows.start, band
            band = None
