"""Parts of TIFF files, and their georeference, by rasterio (GDAL)."""

import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from segkit.data.palette import Legend
from segkit.errors import DataError
from segkit.system.printable import show_path

#: Bytes of blocks that are kept, if those of a window are no more. By itself GDAL takes a share of the memory.
CACHE = 2**24
#: Rows of a strip of what is written; tiles begin at multiples of it.
STRIP = 32


class RasterioFile:
    """An open TIFF file."""

    def __init__(self, file: Any, path: Path):
        self.file, self.path = file, path
        self.height, self.width = file.height, file.width

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """The numbers of a part of the image, which lies in it: (h, w, S). Raises DataError."""
        try:
            window = ((rows.start, rows.stop), (columns.start, columns.stop))
            return np.moveaxis(self.file.read(window=window), 0, 2)  # (S, h, w) -> (h, w, S)
        except OSError as error:  # rasterio's is one
            reason = error.__cause__ or error  # "see previous exception"
            raise DataError(f"cannot read {show_path(self.path)}: {reason}") from error


@contextmanager
def opened(path: Path, tile: tuple[int, int]) -> Generator[RasterioFile]:
    """The file, of which windows of the size `tile` will be read from left to right. Raises DataError."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    with rasterio.Env(GDAL_CACHEMAX=CACHE), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # most images are not
        try:
            with (
                rasterio.open(path, driver="GTiff") as file,
                rasterio.Env(GDAL_CACHEMAX=choose_cache(file, tile)),
            ):
                yield RasterioFile(file, path)
        except RasterioIOError as error:
            raise DataError(f"cannot read {show_path(path)}: {error}") from error


def choose_cache(file: Any, tile: tuple[int, int]) -> int:
    """Bytes of the blocks that windows of this size and the next ones to their right have a part in: with fewer each
    would be decoded for every window in it, which of strips as wide as the image are all of a row."""
    (height, width), rows, columns = file.block_shapes[0], tile[0], 2 * tile[1]
    most = [
        min(-(-pixels // block) + 1, -(-whole // block)) * block
        for pixels, block, whole in ((rows, height, file.height), (columns, width, file.width))
    ]
    return max(CACHE, most[0] * most[1] * file.count * np.dtype(file.dtypes[0]).itemsize)


def write_ids(
    target: str, parts: Iterable[tuple[int, np.ndarray]], source: RasterioFile, labels: Legend
) -> None:
    """Write class ids that come as (first row, ids (h, W)), from top to bottom, with the colours of the classes where
    a byte holds them, and the georeference of the source."""
    with _created(target, source.file, labels) as out:
        for first, part in parts:
            out.write(part, 1, window=((first, first + len(part)), (0, source.width)))


def _created(target: str, source: Any, labels: Legend) -> Any:
    import rasterio

    count = len(labels.class_names)
    out = rasterio.open(
        target,
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
        out.write_colormap(1, dict(enumerate(labels.palette)))
    return out
