"""Reading images and label files without changing what they say.

Pillow is asked for the raw values: converting a palette image to grey, for one, would turn ids 0-3 into the grey
values of their colours. What it shows in part, changed, or not at all, is read by `segkit.data.decoding.samples`.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from segkit.data.decoding.opening import (
    explained,
    opened_image,
    refuse_colours,
    refuse_hidden_stack,
    refuse_stack,
)
from segkit.data.decoding.parts import File, Numbers, Samples, Source
from segkit.data.decoding.samples import (
    EXIF_ORIENTATION,
    as_shown,
    read_header,
    read_samples,
    scale_to_bytes,
    turn,
)
from segkit.data.decoding.tiff_facts import TiffFacts
from segkit.errors import DataError
from segkit.system.printable import show_path

#: Pillow's modes whose pixels have more than 8 bits.
WIDE_MODES = ("I", "F")
_BANDS = {3: "RGB", 4: "RGBA", 2: "LA", 1: "L"}

#: Which numbers of pixels with more than 8 bits become 0 and 255: two, or all that the type of the file has; None is
#: not known.
ValueRange = tuple[float, float] | Literal["dtype"] | None


def common_range(ranges: Iterable[ValueRange]) -> ValueRange:
    """The one of several data sets that are trained on as one: that of those with more than 8 bits, None where they
    are not the same. Images of 8 bits stay what they are, whatever it is."""
    known = [each for each in ranges if each is not None]
    return known[0] if known and all(each == known[0] for each in known) else None


def read_image(
    path: Source, *, channels: int, value_range: ValueRange = None, advice: str | None = None
) -> tuple[np.ndarray, bool]:
    """The image as uint8 (channels, H, W), upright and to be written to, and whether EXIF data turned it. In memory it
    may lie pixel by pixel.

    Greyscale and colour are converted into each other where `channels` is 1 or 3, and alpha is dropped; other bands
    must be as many as `channels`. Of more than 8 bits, `value_range` says which numbers become 0 and 255, without which
    they are refused; 8 bits stay what they are. Raises DataError for a file that is missing, cut short or no image; for
    one of other bands, or of more bits than are known of, with `advice` in place of the setting to change.
    """
    if isinstance(path, Numbers):
        with explained(path):
            return from_samples(path.read(), path, channels, value_range, advice), False
    with explained(path):
        header = read_header(path)
        if not header.read_by_pillow:
            refuse_hidden_stack(path, header.tiff)
            if header.tiff is not None:
                refuse_colours(path, header.tiff)
            samples = read_samples(path, header)
            turned = samples.orientation not in (0, 1)
            if turned:
                samples = replace(samples, values=turn(samples.values, samples.orientation))
            return from_samples(samples, path, channels, value_range, advice), turned
    with opened_image(path) as image:
        refuse_stack(image, path, header.tiff)
        image.load()
        turned = image.getexif().get(EXIF_ORIENTATION, 1) not in (0, 1)
        if turned:
            image = ImageOps.exif_transpose(image)
    if image.mode.startswith(WIDE_MODES):  # "I;16" and, in older Pillow, "I" for 16-bit greyscale
        values = as_shown(as_stored(np.asarray(image), header.tiff), header.tiff)
        samples = Samples(values[..., None], alpha=(), is_colour=False)
        return from_samples(samples, path, channels, value_range, advice), turned
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "LAB":  # which Pillow makes nothing else of
        image = image.convert("RGB")
    bands = image.getbands()
    if len(bands) != channels or bands == ("P",):
        mode = _BANDS.get(channels) if channels in (1, 3) else None
        if mode is None:
            raise _wrong_channels(path, len(bands), alpha=bands[-1] == "A", channels=channels, advice=advice)
        image = image.convert(mode)
    elif channels in (1, 3) and image.mode != _BANDS[channels]:
        image = image.convert(_BANDS[channels])
    # As Pillow has them, pixel by pixel in memory: turning them around takes longer than what comes next.
    values = np.frombuffer(bytearray(image.tobytes()), dtype=np.uint8)
    return values.reshape(image.height, image.width, channels).transpose(2, 0, 1), turned


def read_labels(path: Source, *, colours: bool = False) -> tuple[np.ndarray, bool]:
    """The values of a label file (H, W), integers, and whether they are colours, packed as 0xRRGGBB.

    Palette and single-channel files of any number of bits give their raw values, floating-point ones if all are whole;
    EXIF data is not applied, alpha is dropped. A palette file gives its colours instead if `colours` is true. A GIF
    file gives greys, or colours if it has some. The array is not to be written to. Raises DataError for a file that is
    missing, cut short or no mask.
    """
    with explained(path):
        state = path.stat()
    return _read_labels(path, colours, (state.st_size, state.st_mtime_ns, state.st_ino))


@lru_cache(maxsize=1)  # a check looks at a file and at what the data set makes of it, one after the other
def _read_labels(path: Source, colours: bool, state: tuple[int, ...]) -> tuple[np.ndarray, bool]:
    with explained(path):
        if isinstance(path, Numbers):
            return _labels_of_samples(path.read(), path)
        header = read_header(path)
        if not header.read_by_pillow:
            refuse_hidden_stack(path, header.tiff)
            return _labels_of_samples(read_samples(path, header, as_labels=True), path)
    image, packing = _open(path, header.tiff)
    if image.format == "GIF":
        return _labels_of_gif(image, colours=colours)
    # The alpha channel says nothing about the label.
    if image.mode in ("LA", "PA"):
        image = image.getchannel(0)
    if image.mode in ("RGB", "RGBA") or (image.mode == "P" and colours):
        return _pack(np.asarray(image.convert("RGB"))), True
    if image.mode == "1":
        ink = np.asarray(image).astype(np.uint8)
        # A number, as programs for arrays write it; but fax codes are of black and white.
        inverted = "I" in packing and not (header.tiff is not None and header.tiff.is_fax)
        return (1 - ink if inverted else ink), False
    if image.mode in ("L", "P"):
        return _undo_scaling(np.asarray(image), packing), False
    if image.mode.startswith(WIDE_MODES):
        return _whole(as_stored(np.asarray(image), header.tiff), path), False
    raise DataError(
        f"cannot use {show_path(path)} as a mask: its pixels are of type {image.mode} "
        "-> save class ids as an 8-bit or 16-bit single-channel PNG"
    )


def read_numbers(path: Path) -> np.ndarray:
    """The raw values of an 8-bit or 16-bit single-channel image, float32 (H, W). Raises DataError."""
    with explained(path):
        tiff = read_header(path).tiff
    image, packing = _open(path, tiff)
    if image.mode not in ("L", "I") and not image.mode.startswith("I;16"):
        raise DataError(
            f"cannot use {show_path(path)}: expected 8-bit or 16-bit greyscale, found pixels of type {image.mode}"
        )
    return _undo_scaling(np.asarray(image), packing).astype(np.float32)


def _open(path: File, tiff: TiffFacts | None = None) -> tuple[Image.Image, str]:
    """The decoded image, and how Pillow calls the form its pixels have in the file ("L;4": 4-bit greyscale)."""
    with opened_image(path) as image:
        refuse_stack(image, path, tiff)
        packing: Any = image.tile[0][3] if image.tile else ""
        # This reads every byte; opening alone would accept a file cut in half.
        image.load()
        return image, packing if isinstance(packing, str) else str(packing[0])


def from_samples(
    samples: Samples, path: Source, channels: int, value_range: ValueRange, advice: str | None
) -> np.ndarray:
    """Numbers of an image, or of a part of it, as uint8 (channels, H, W). The rest as for `read_image`."""
    values = _choose_bands(samples, path, channels, advice)
    if values.dtype == np.uint8:
        planes = np.moveaxis(values, 2, 0).copy(order="C")
    elif values.dtype == bool:
        planes = np.moveaxis(values, 2, 0).astype(np.uint8) * 0xFF
    elif value_range == "dtype" and values.dtype == np.uint16:
        planes = np.moveaxis(values >> 8, 2, 0).astype(np.uint8)  # as Pillow makes 8 bits of 16
    else:
        planes = scale_to_bytes(values, *_ends_of(value_range, values.dtype, path, advice))
    if len(planes) == channels:
        return planes
    if len(planes) == 1:
        return planes.repeat(channels, axis=0)
    red, green, blue = planes.astype(np.int32)  # to grey, as Pillow does it (ITU-R 601-2)
    grey = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return grey.astype(np.uint8)[None]


def _choose_bands(samples: Samples, path: Source, channels: int, advice: str | None) -> np.ndarray:
    """The bands (H, W, S) that are wanted: all, or all but transparency, or those that grey or colour is made of."""
    count = samples.values.shape[2]
    plain = count - len(samples.alpha)
    if count == channels:
        return samples.values
    if (
        plain == channels
        or (plain, channels) == (1, 3)
        or (samples.is_colour and (plain, channels) == (3, 1))
    ):
        return samples.plain
    raise _wrong_channels(path, count, alpha=bool(samples.alpha), channels=channels, advice=advice)


def _wrong_channels(path: Source, count: int, *, alpha: bool, channels: int, advice: str | None) -> DataError:
    has = f"{count} bands, one of which is transparency" if alpha else f"{count} band{'s' * (count != 1)}"
    usable = f"{count - 1} or {count}" if alpha else f"{count}"
    return DataError(
        f"wrong number of bands: {show_path(path)} has {has}, and data.channels is {channels} "
        f"-> {advice or f'data.channels={usable}'}"
    )


def _ends_of(
    value_range: ValueRange, dtype: np.dtype, path: Source, advice: str | None
) -> tuple[float, float]:
    if value_range is None:
        raise DataError(
            f"cannot use {show_path(path)}: its pixels are of type {dtype}, and nothing says which numbers are black "
            f"and white\n   -> {advice or 'data.value_range: [LOW, HIGH], or dtype for all that the type has'}"
        )
    if value_range != "dtype":
        return value_range
    return (0.0, 1.0) if dtype.kind == "f" else (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))


def _labels_of_samples(samples: Samples, path: Source) -> tuple[np.ndarray, bool]:
    values = samples.plain
    count = values.shape[2]
    if count == 1:
        return _whole(values[..., 0], path), False
    if count == 3 and samples.is_colour:
        if values.dtype == np.uint16 and (values % 257 == 0).all():  # 8 bits that were spread over 16
            values = (values // 257).astype(np.uint8)
        if values.dtype == np.uint8:
            return _pack(values), True
        if (values == values[..., :1]).all():
            return _whole(values[..., 0], path), False
    raise DataError(
        f"cannot use {show_path(path)} as a mask: {count} bands of type {values.dtype} "
        "-> save class ids as an 8-bit or 16-bit single-channel PNG"
    )


def _labels_of_gif(image: Image.Image, *, colours: bool) -> tuple[np.ndarray, bool]:
    """The greys of a GIF file, or its colours. Whoever writes one leaves out of its palette what does not occur: by
    their places there, 0 and 255 would be 0 and 1, and 255 alone would be 0."""
    shown = np.asarray(image.convert("RGB"))
    if not colours and (shown == shown[..., :1]).all():
        return shown[..., 0], False
    return _pack(shown), True


def _pack(colours: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(colours.astype(np.int32), 2, 0)
    return red << 16 | green << 8 | blue


def _whole(values: np.ndarray, path: Source) -> np.ndarray:
    """Labels as integers: uint8 where they are that, int32, or int64 where they need it."""
    if values.dtype.kind == "f":
        values = values.astype(np.float64, copy=False)
        if not (
            np.isfinite(values).all() and (values == np.rint(values)).all() and np.abs(values).max() < 2**53
        ):
            raise DataError(
                f"cannot use {show_path(path)} as a mask: floating-point numbers that are not whole, such as "
                f"{_first_odd(values)} -> save class ids as an 8-bit or 16-bit single-channel PNG"
            )
        values = values.astype(np.int64)
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "b" or values.dtype.itemsize == 1:
        return values.astype(np.int32 if values.dtype.kind == "i" else np.uint8)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if high >= 2**63:
        raise DataError(f"cannot use {show_path(path)} as a mask: its value {high} is beyond 63 bits")
    return values.astype(np.int32 if low >= -(2**31) and high < 2**31 else np.int64)


def _first_odd(values: np.ndarray) -> float:
    odd = values[~np.isfinite(values) | (values != np.rint(values)) | (np.abs(values) >= 2**53)]
    return float(odd.flat[0])


def as_stored(values: np.ndarray, tiff: TiffFacts | None) -> np.ndarray:
    """The numbers of a file of more than 8 bits in the type that it has them in, which Pillow widens."""
    if values.dtype == np.int32 and tiff is not None and tiff.bits == 16:
        return values.astype(np.int16 if tiff.format == "signed integers" else np.uint16)
    return values


def _undo_scaling(values: np.ndarray, packing: str) -> np.ndarray:
    """The numbers in the file, of which Pillow makes brightness: 4 bits become 0, 17 ... 255, and a TIFF file in which
    0 is white is inverted."""
    channel, _, form = packing.partition(";")
    if channel != "L":
        return values
    if "I" in form:
        values = 0xFF - values
    bits = form.strip("IR")
    return values // (0xFF // (2 ** int(bits) - 1)) if bits else values
