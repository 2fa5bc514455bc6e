"""Parts of TIFF files by tifffile, which decodes the strips or tiles of a file one by one.

Of the georeference what lies in tags of the file is copied as it is; what lies in files beside it (world files,
`.aux.xml`) is rasterio's.
"""

import zlib
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from segkit.commands.tiff_files.by_rasterio import CACHE, STRIP
from segkit.data.decoding.opening import explained
from segkit.data.palette import Legend
from segkit.errors import DataError
from segkit.system.printable import show_path

#: The size of a pixel, tie points, the matrix, and the keys of GeoTIFF with their numbers and texts.
GEOREFERENCE = (33550, 33922, 34264, 34735, 34736, 34737)
_SEPARATE = 2
#: Bytes from which on the places in a file have 64 bits.
_LARGE = 2**32 - 2**25


class TifffileFile:
    """An open TIFF file. The segments that were decoded last are kept: of strips, all that a row of windows shows."""

    def __init__(self, page: Any, path: Path, tile: tuple[int, int]):
        self.page, self.path = page, path
        self.height, self.width = page.imagelength, page.imagewidth
        self.samples, self.separate = page.samplesperpixel, int(page.planarconfig) == _SEPARATE
        if page.is_tiled:
            self.block = page.tilelength, page.tilewidth
        else:
            self.block = min(page.rowsperstrip, self.height), self.width
        self.grid = -(-self.height // self.block[0]), -(-self.width // self.block[1])
        self._kept: OrderedDict[int, np.ndarray | None] = OrderedDict()
        segment = self.block[0] * self.block[1] * page.dtype.itemsize * (1 if self.separate else self.samples)
        self._most = max(CACHE // max(1, segment), self._count_segments(tile))

    def _count_segments(self, tile: tuple[int, int]) -> int:
        """Those that a window and the next one to its right have a part in."""
        across = [
            min(-(-pixels // block) + 1, whole)
            for pixels, block, whole in zip((tile[0], 2 * tile[1]), self.block, self.grid, strict=True)
        ]
        return across[0] * across[1] * (self.samples if self.separate else 1)

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """The numbers of a part of the image, which lies in it: (h, w, S). Raises DataError."""
        shape = rows.stop - rows.start, columns.stop - columns.start, self.samples
        values = np.full(shape, self.page.nodata, dtype=self.page.dtype.newbyteorder("="))
        height, width = self.block
        with explained(self.path):
            for plane in range(self.samples if self.separate else 1):
                place = slice(plane, plane + 1) if self.separate else slice(None)
                for row in range(rows.start // height, -(-rows.stop // height)):
                    for column in range(columns.start // width, -(-columns.stop // width)):
                        segment = self._decode((plane * self.grid[0] + row) * self.grid[1] + column)
                        if segment is None:  # left out: nothing but nodata
                            continue
                        y, x = row * height, column * width
                        above, left = max(rows.start, y), max(columns.start, x)
                        below = min(rows.stop, y + len(segment))
                        right = min(columns.stop, x + segment.shape[1])
                        values[
                            above - rows.start : below - rows.start,
                            left - columns.start : right - columns.start,
                            place,
                        ] = segment[above - y : below - y, left - x : right - x]
        return values

    def _decode(self, index: int) -> np.ndarray | None:
        """A segment (h, w, S), cut off at the border of the image; None if it is left out."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        page = self.page
        offset, size = page.dataoffsets[index], page.databytecounts[index]
        segment = None
        if offset and size:
            file = page.parent.filehandle
            file.seek(offset)
            encoded = file.read(size)
            if len(encoded) < size:
                raise DataError(f"cannot read {show_path(self.path)}: it is cut off")
            found, _, (_, rows, columns, _) = page.decode(encoded, index, jpegtables=page.jpegtables)
            if found is None:
                raise DataError(f"cannot read {show_path(self.path)}: a part of it cannot be decoded")
            segment = found[0, :rows, :columns]  # (depth, h, w, S)
        self._kept[index] = segment
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return segment


@contextmanager
def opened(path: Path, tile: tuple[int, int]) -> Generator[TifffileFile]:
    """The file, of which windows of the size `tile` will be read from left to right. Raises DataError."""
    import tifffile

    with explained(path):
        file = tifffile.TiffFile(path)
    with file:
        with explained(path):
            page = file.pages[0]
            if page.axes not in ("YX", "YXS", "SYX"):
                raise DataError(f"a TIFF file whose pixels are laid out as {page.axes}, which is no image")
            found = TifffileFile(page, path, tile)
        yield found


def write_ids(
    target: str, parts: Iterable[tuple[int, np.ndarray]], source: TifffileFile, labels: Legend
) -> None:
    """Write class ids that come as (first row, ids (h, W)), from top to bottom, with the colours of the classes where
    a byte holds them, and the georeference that lies in tags of the source."""
    import tifffile

    count = len(labels.class_names)
    dtype = np.dtype(np.uint8 if count <= 256 else np.uint16)
    colours: dict[str, Any] = {"photometric": "minisblack"}
    if count <= 256:
        table = np.zeros((3, 256), dtype=np.uint16)
        table[:, : len(labels.palette)] = np.array(labels.palette, dtype=np.uint16).T * 257
        colours = {"photometric": "palette", "colormap": table}
    tags = [source.page.tags[code] for code in GEOREFERENCE if code in source.page.tags]
    size = source.height * source.width * dtype.itemsize
    with tifffile.TiffWriter(target, bigtiff=size > _LARGE) as file:
        file.write(
            (zlib.compress(strip.tobytes()) for strip in cut_into_strips(parts)),  # arrays it takes as pages
            shape=(source.height, source.width),
            dtype=dtype,
            rowsperstrip=STRIP,
            compression="zlib",
            metadata=None,
            software=False,
            extratags=[(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in tags],
            **colours,
        )


def cut_into_strips(parts: Iterable[tuple[int, np.ndarray]]) -> Iterator[np.ndarray]:
    """The same rows, STRIP of them at a time, the last ones aside."""
    left: np.ndarray | None = None
    for _, part in parts:
        rows = part if left is None else np.concatenate([left, part])
        whole = len(rows) // STRIP * STRIP
        for start in range(0, whole, STRIP):
            yield rows[start : start + STRIP]
        left = rows[whole:].copy()
    if left is not None and len(left):
        yield left
