"""Segmenting a TIFF file that is larger than memory: read, shown to the network and written window by window."""

import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
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
from segkit.system.device import weights_cast_once
from segkit.system.files import write_atomically
from segkit.system.printable import show_path

#: Bytes of blocks that GDAL keeps, if those of a window are no more. By itself it takes a share of the memory.
CACHE = 2**24
#: Rows of a strip of what is written; tiles begin at multiples of it.
STRIP = 32


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
            (rows.start, min(rows.stop, self.shape[2])),
            (columns.start, min(columns.stop, self.shape[3])),
        )
        try:
            values = np.moveaxis(self.file.read(window=window), 0, 2)  # (S, h, w) -> (h, w, S)
        except OSError as error:  # rasterio's is one
            reason = error.__cause__ or error  # "see previous exception"
            raise DataError(f"cannot read {show_path(self.path)}: {reason}") from error
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
    try:
        import rasterio
    except ImportError as error:
        raise ConfigError(
            "--save geotiff needs rasterio, which is not installed -> pip install 'segkit[geo]'"
        ) from error
    return rasterio


def predict_by_windows(predictor: Predictor, source: Path, result: Path, *, quiet: bool = False) -> None:
    """Write the class ids of a TIFF file as another, with colours where a byte holds the ids, and its georeference.

    What is in memory are the logits of a tile and of the rows that the next tiles have a part in, and the ids of a row
    of tiles. Raises ConfigError as `require_windows`, DataError for a file that cannot be read in this way, and
    CannotWrite.
    """
    rasterio = require_windows(predictor)
    facts = read_facts(source)
    with _opened(rasterio, source, predictor.views.tile or (1, 1)) as file:
        image = WindowedImage(file, source, facts, predictor)
        ids = rows_of_ids(predictor, image)
        rows = tqdm(total=file.height, unit="row", leave=False, disable=True if quiet else None)

        def write(target: BinaryIO) -> None:
            with (
                _created(rasterio, target.name, file, predictor) as out,
                rows,
                weights_cast_once(image.device),
            ):
                for first, part in ids:
                    out.write(part, 1, window=((first, first + len(part)), (0, file.width)))
                    rows.update(len(part))

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


def choose_cache(file: Any, tile: tuple[int, int]) -> int:
    """Bytes of the blocks that windows of this size and the next ones to their right have a part in: with fewer each
    would be decoded for every window in it, which of strips as wide as the image are all of a row."""
    (height, width), rows, columns = file.block_shapes[0], tile[0], 2 * tile[1]
    most = [
        min(-(-pixels // block) + 1, -(-whole // block)) * block
        for pixels, block, whole in ((rows, height, file.height), (columns, width, file.width))
    ]
    return max(CACHE, most[0] * most[1] * file.count * np.dtype(file.dtypes[0]).itemsize)


@contextmanager
def _opened(rasterio: Any, path: Path, tile: tuple[int, int]) -> Generator[Any]:
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    with rasterio.Env(GDAL_CACHEMAX=CACHE), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # most images are not
        try:
            with (
                rasterio.open(path, driver="GTiff") as file,
                rasterio.Env(GDAL_CACHEMAX=choose_cache(file, tile)),
            ):
                yield file
        except RasterioIOError as error:
            raise DataError(f"cannot read {show_path(path)}: {error}") from error


def _created(rasterio: Any, path: str, source: Any, predictor: Predictor) -> Any:
    """The file for the result, with the colours of the classes and the georeference of the source."""
    count = len(predictor.labels.class_names)
    out = rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=source.height,
        width=source.width,
        count=1,
        dtype="uint8" if count <= 256 else "uint16",
        compress="deflate",
        blockysize=STRIP,
        BIGTIFF="IF_SAFER",
    )
    points, system = source.gcps
    if points:
        out.gcps = points, system
    elif not source.transform.is_identity:
        out.transform = source.transform
    if source.crs is not None:
        out.crs = source.crs
    if count <= 256:
        out.write_colormap(1, dict(enumerate(predictor.labels.palette)))
    return out
