"""Which numbers are black and white in images of more than 8 bits: found once, from the training images.

A camera of 12 bits saves numbers up to 4095 in files of 16 bits. Divided by 256, as such files are made 8-bit, its
pictures are nearly black, and a network sees 16 levels of grey.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from segkit.data.decoding.images_and_masks import WIDE_MODES, as_stored
from segkit.data.decoding.opening import explained, opened_image
from segkit.data.decoding.parts import File, Numbers, Source
from segkit.data.decoding.samples import Header, as_shown, read_header, read_samples
from segkit.errors import DataError

#: Images that are looked at, spread evenly over all, and pixels of each that the percentiles are of.
MOST_IMAGES, MOST_PIXELS = 200, 20_000
#: Share of the pixels at either end that may be beyond black or white, such as hot pixels of a sensor.
TAIL = 0.0005
#: Up to how many times the range without those pixels all numbers are taken, so that nothing is lost.
WIDEST = 1.5


def find_value_range(images: Sequence[Source]) -> tuple[float, float] | None:
    """The numbers that become 0 and 255; None if no image has more than 8 bits. Files that cannot be read are left out:
    who reads them to train says so.

    All numbers from the smallest to the largest, unless a few far outliers would make the rest dark: then without the
    0.05 % at either end. Numbers that GDAL's tag calls no data do not count.
    """
    looked = images[:: -(-len(images) // MOST_IMAGES) or 1]
    return _find(tuple((path, _state(path)) for path in looked))


@lru_cache(maxsize=32)  # both parts of a data set ask
def _find(images: tuple[tuple[Source, tuple[int, int]], ...]) -> tuple[float, float] | None:
    drawn, ends = [], []
    for path, _ in images:
        values = _read_wide(path)
        if values is not None and values.size:
            ends += [float(values.min()), float(values.max())]
            drawn.append(values[:: -(-len(values) // MOST_PIXELS)].astype(np.float64))
    if not drawn:
        return None
    low, high = np.quantile(np.concatenate(drawn), [TAIL, 1 - TAIL], method="nearest").tolist()
    smallest, largest = min(ends), max(ends)
    if largest - smallest <= WIDEST * (high - low):
        low, high = smallest, largest
    return (low, high) if high > low else (low, low + 1.0)


def _state(path: Source) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError:
        return 0, 0
    return state.st_size, state.st_mtime_ns


def _read_wide(path: Source) -> np.ndarray | None:
    """All numbers of an image of more than 8 bits but for transparency and no data, in one row; None of another."""
    try:
        with explained(path):
            if isinstance(path, Numbers):
                plain = path.read().plain
                return None if plain.dtype in (np.uint8, bool) else _finite(plain.reshape(-1))
            header = read_header(path)
            is_plain = header.tiff is None or header.tiff.format == "unsigned integers"
            if header.bits <= 8 and is_plain:
                return None
            values = _read_values(path, header)
    except DataError:
        return None
    values = _finite(values.reshape(-1))
    nodata = header.tiff.nodata if header.tiff is not None else None
    return values if nodata is None else values[values != nodata]


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def _read_values(path: File, header: Header) -> np.ndarray:
    if header.read_by_pillow:
        with opened_image(path) as image:
            image.load()
        if not image.mode.startswith(WIDE_MODES):
            return np.empty(0)
        return as_shown(as_stored(np.asarray(image), header.tiff), header.tiff)
    return read_samples(path, header).plain
