"""The numbers of an image file as they are stored: for files that Pillow shows in part, changed, or not at all."""

import logging
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segkit.data.decoding.opening import is_stack, opened_image
from segkit.data.decoding.parts import File, Samples, Stored
from segkit.data.decoding.tiff_facts import TiffFacts, read_tiff_facts
from segkit.errors import DataError
from segkit.system.printable import show_path

EXIF_ORIENTATION = 0x0112
_PNG = b"\x89PNG\r\n\x1a\n"
#: By PNG colour types of which Pillow shows 8 of 16 bits: how many numbers of a pixel are transparency, and how Pillow
#: calls the ways to take their first and their second bytes. Grey with alpha is as long as 8-bit colour with alpha.
_PNG_16 = {2: (0, ("RGB;16B", "RGB;16L")), 4: (1, ("RGBA",)), 6: (1, ("RGBA;16B", "RGBA;16L"))}
#: What a file may hold, 1 GB, by its tags, for memory that its decoder lacks to be the machine's fault.
_MOST_BITS = 8 * 2**30
#: Compressions that tifffile, where it is, decodes in half of Pillow's time: deflate, and of 16-bit grey also none and
#: Zstandard.
_DEFLATE = (8, 32946)
_DECODED_SOONER_16 = (1, *_DEFLATE, 50000)
#: Elements that are converted at once, so that they stay in the processor's cache.
_BLOCK = 1 << 16
_SILENT = logging.NullHandler()


@dataclass(frozen=True)
class Header:
    """What a file says before its pixels are read: the facts of a TIFF file, or, of a PNG file of 16 bits and several
    bands, its colour type; and the bits of a number, 8 if it has no more."""

    tiff: TiffFacts | None = None
    png16: int | None = None
    bits: int = 8

    @property
    def shown_by_pillow(self) -> bool:
        """Whether Pillow decodes every number of a pixel as it is stored."""
        return self.png16 is None and (self.tiff is None or self.tiff.shown_by_pillow)

    @property
    def read_by_pillow(self) -> bool:
        """Whether Pillow is to decode the pixels: whatever it shows, unless it takes twice as long as tifffile."""
        return self.shown_by_pillow and not (self._is_decoded_sooner and _has_tifffile())

    @property
    def _is_decoded_sooner(self) -> bool:
        """Whether tifffile decodes what Pillow shows, in half of the time."""
        tiff = self.tiff
        if tiff is None or tiff.format != "unsigned integers":
            return False
        if tiff.bits == 16:
            return tiff.compression in _DECODED_SOONER_16
        is_simple = tiff.samples == (3 if tiff.is_colour else 1) and not (
            tiff.is_palette or tiff.white_is_zero
        )
        return tiff.bits == 8 and is_simple and tiff.compression in _DEFLATE


@cache
def _has_tifffile() -> bool:
    """Whether the extra `formats` is installed, as a whole: alone, tifffile decodes hardly anything compressed."""
    return all(find_spec(name) is not None for name in ("tifffile", "imagecodecs"))


def read_header(path: File) -> Header:
    """Raises OSError, and struct.error for a file that is cut off."""
    with path.open("rb") as file:
        head = file.read(26)
    if head.startswith(_PNG):
        if len(head) < 26 or head[24] != 16:
            return Header()
        return Header(png16=head[25] if head[25] in _PNG_16 else None, bits=16)
    facts = read_tiff_facts(path)
    if facts is not None and isinstance(path, Stored):
        facts = replace(facts, slices=1)  # of the file that it is a page of
    return Header() if facts is None else Header(tiff=facts, bits=max(8, facts.bits))


def read_samples(path: File, header: Header, *, as_labels: bool = False) -> Samples:
    """The numbers of a file that Pillow does not show; of an image, those where 0 is white are inverted. Raises
    DataError if nothing here reads it."""
    if header.png16 is not None:
        return _read_png16(path, header.png16)
    assert header.tiff is not None
    return _read_tiff(path, header.tiff, as_labels=as_labels)


def _read_png16(path: File, colour_type: int) -> Samples:
    """Decoded once for each byte of a number."""
    alpha, ways = _PNG_16[colour_type]
    decoded, orientation = [], 1
    for way in ways:
        with opened_image(path) as image:
            tile: Any = (*image.tile[0][:3], way)
            image.tile = [tile]
            image.load()
            decoded.append(np.asarray(image))
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    if colour_type == 4:
        values = decoded[0].view(">u2").astype(np.uint16)
    else:
        values = decoded[0].astype(np.uint16) << 8 | decoded[1]
    return Samples(values, (values.shape[2] - 1,) if alpha else (), colour_type != 4, orientation)


def _read_tiff(path: File, facts: TiffFacts, *, as_labels: bool) -> Samples:
    try:
        import tifffile  # an extra, and only for the files that need it

        # Else Python prints what it logs of damaged tags, beside the message.
        logging.getLogger("tifffile").addHandler(_SILENT)
    except ImportError:
        raise DataError(
            f"cannot read {show_path(path)}: a TIFF file with {facts.describe()}\n"
            "   -> pip install tifffile imagecodecs   (the extra `formats`) reads it; or save it with 8 or 16 bits"
        ) from None
    _refuse_bomb(facts)
    with (
        nullcontext(path) if isinstance(path, Path) else path.open() as opened,
        tifffile.TiffFile(opened) as file,
    ):
        page = file.pages.first
        second = file.pages[1] if len(file.pages) > 1 else None
        if second is not None and second.shape == page.shape and not getattr(second, "is_reduced", False):
            raise is_stack(path, len(file.pages))
        try:
            values = _rows_first(page, page.asarray())
        except MemoryError as error:
            if facts.size[0] * facts.size[1] * facts.samples * facts.bits > _MOST_BITS:
                raise
            raise DataError(
                f"cannot read {show_path(path)}: damaged, what is compressed says {error}"
            ) from error
    if not as_labels:
        if facts.bits < 8 and values.dtype == np.uint8:
            values = values * np.uint8(0xFF // (2**facts.bits - 1))  # as Pillow shows grey of so few bits
        values = as_shown(values, facts)
    return Samples(turn(values, facts.orientation), facts.alpha, facts.is_colour)


def as_shown(values: np.ndarray, facts: TiffFacts | None) -> np.ndarray:
    """Numbers that Pillow has not shown, inverted where 0 is white, as it does it with those of 8 bits."""
    if facts is None or not facts.white_is_zero or values.dtype.kind not in "ub":
        return values
    return ~values


def _refuse_bomb(facts: TiffFacts) -> None:
    """Pillow's limit, for what Pillow does not open: a small file may say that it is of any size."""
    limit, pixels = Image.MAX_IMAGE_PIXELS, facts.size[0] * facts.size[1]
    if limit is not None and pixels > 2 * limit:
        raise Image.DecompressionBombError(f"{pixels:,} pixels are more than the limit of {2 * limit:,}")


def _rows_first(page: Any, values: np.ndarray) -> np.ndarray:
    """(H, W, S) of what tifffile gives, whatever the order in the file."""
    if page.axes not in ("YX", "YXS", "SYX"):
        raise DataError(f"a TIFF file whose pixels are laid out as {page.axes}, which is no image")
    values = np.moveaxis(values, 0, -1) if page.axes == "SYX" else values
    return values.reshape(*values.shape[:2], -1)


def turn(values: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, S) as the tag Orientation says that it is to be seen: Pillow turns TIFF files so when it reads them."""
    if orientation >= 5:
        values = values.transpose(1, 0, 2)
    # What the first row and the first column of the file are: top-left, top-right, bottom-right, bottom-left ...
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return values[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def scale_to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8 (S, H, W) of numbers (H, W, S): `low` and below is 0, `high` and above 255, between them in proportion,
    rounded. What is no number is 0."""
    height, width, count = values.shape
    result = np.empty((count, height, width), dtype=np.uint8)
    exact = np.float32 if values.dtype.itemsize <= 2 else np.float64
    rows = max(1, _BLOCK // max(1, width))
    for top in range(0, height, rows):
        block = values[top : top + rows]
        is_float = values.dtype.kind == "f"
        # Of integers, the ends are found in less time than it takes to clip what lies between them.
        is_inside = not is_float and block.size > 0 and block.min() >= low and block.max() <= high
        for channel in range(count):
            part = block[..., channel].astype(exact)
            if low:
                part -= low
            part *= 255.0 / (high - low)
            if not is_inside:
                np.clip(part, 0.0, 255.0, out=part)
            part += 0.5
            if is_float:
                np.nan_to_num(part, copy=False, nan=0.0)
            result[channel, top : top + rows] = part
    return result
