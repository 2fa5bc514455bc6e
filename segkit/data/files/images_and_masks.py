"""Reading images and label files without changing what they say.

Pillow is asked for the raw values: converting a palette image to grey, for one, would turn ids 0-3 into the grey
values of their colours.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from segkit.errors import DataError
from segkit.system.printable import show_path

#: The formats that are decoded, whatever a file calls itself, and the suffixes that are looked for.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
EXIF_ORIENTATION = 0x0112
TIFF_SUBFILE_TYPE = 0x00FE
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_image(path: Path, *, channels: int) -> tuple[torch.Tensor, bool]:
    """The image as uint8 (channels, H, W), upright, and whether EXIF data turned it.

    Greyscale and colour are converted into each other as `channels` (1 or 3) asks, transparency is dropped, 16-bit
    values lose their lower byte. Raises DataError for a file that is missing, cut short or no image.
    """
    with opened_image(path) as image:
        _refuse_stack(image, path)
        image.load()
        turned = image.getexif().get(EXIF_ORIENTATION, 1) not in (0, 1)
        if turned:
            image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # "I;16" and, in older Pillow, "I" for 16-bit greyscale
        image = Image.fromarray(_high_byte(np.asarray(image), path))
    elif image.mode == "F":
        raise DataError(
            f"cannot use {show_path(path)}: floating-point pixels -> save it with 8 or 16 bits per channel"
        )
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:  # convert() would copy what it need not change
        image = image.convert(mode)
    # Channel by channel, as Pillow packs them: turning (H, W, 3) around takes longer.
    planes = bytearray().join([image.tobytes("raw", channel) for channel in mode])
    pixels = torch.frombuffer(planes, dtype=torch.uint8).reshape(channels, image.height, image.width)
    return pixels, turned


def read_labels(path: Path, *, colours: bool = False) -> tuple[np.ndarray, bool]:
    """The values of a label file (H, W), uint8 or int32, and whether they are colours, packed as 0xRRGGBB.

    Palette and single-channel files of any number of bits give their raw values; EXIF data is not applied, alpha is
    dropped. A palette file gives its colours instead if `colours` is true. Raises DataError for a file that is
    missing, cut short or no mask.
    """
    image, packing = _open(path)
    if packing == "LA;16B":  # decoded as 8-bit colour
        raise DataError(
            f"cannot use {show_path(path)} as a mask: 16-bit greyscale with alpha -> save it without alpha"
        )
    # The alpha channel says nothing about the label.
    if image.mode in ("LA", "PA"):
        image = image.getchannel(0)
    if image.mode in ("RGB", "RGBA") or (image.mode == "P" and colours):
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")).astype(np.int32), 2, 0)
        return red << 16 | green << 8 | blue, True
    if image.mode in ("1", "L", "P"):
        return _undo_scaling(np.asarray(image).astype(np.uint8, copy=False), packing), False
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.int32), False
    raise DataError(
        f"cannot use {show_path(path)} as a mask: its pixels are of type {image.mode} "
        "-> save class ids as an 8-bit or 16-bit single-channel PNG"
    )


def read_numbers(path: Path) -> np.ndarray:
    """The raw values of an 8-bit or 16-bit single-channel image, float32 (H, W). Raises DataError."""
    image, packing = _open(path)
    if image.mode not in ("L", "I") and not image.mode.startswith("I;16"):
        raise DataError(
            f"cannot use {show_path(path)}: expected 8-bit or 16-bit greyscale, found pixels of type {image.mode}"
        )
    return _undo_scaling(np.asarray(image), packing).astype(np.float32)


def _open(path: Path) -> tuple[Image.Image, str]:
    """The decoded image, and how Pillow calls the form its pixels have in the file ("L;4": 4-bit greyscale)."""
    with opened_image(path) as image:
        _refuse_stack(image, path)
        packing: Any = image.tile[0][3] if image.tile else ""
        # This reads every byte; opening alone would accept a file cut in half.
        image.load()
        return image, packing if isinstance(packing, str) else str(packing[0])


@contextmanager
def opened_image(path: Path) -> Generator[ImageFile]:
    """An image file, open. Raises DataError for one that is missing or no image, and for whatever Pillow raises while
    something is read of it: of a damaged file, nearly anything."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"cannot read {show_path(path)}: no such file") from None
    except Image.UnidentifiedImageError:
        raise DataError(f"cannot read {show_path(path)}: {_describe_unknown(path)}") from None
    except OSError as error:
        raise DataError(f"cannot read {show_path(path)}: {error.strerror or error}") from error
    except MemoryError:  # which says nothing about the file
        raise
    except Exception as error:
        raise DataError(f"cannot read {show_path(path)}: {error}") from error


def _refuse_stack(image: Image.Image, path: Path) -> None:
    """A TIFF file with further images of the same size is a volume, of which one slice would be used."""
    if not isinstance(image, TiffImageFile) or image.n_frames == 1:
        return
    first = image.size
    image.seek(1)
    is_page, second = image.tag_v2.get(TIFF_SUBFILE_TYPE, 0) == 0, image.size
    image.seek(0)
    if is_page and second == first:
        raise DataError(
            f"cannot use {show_path(path)}: it holds {image.n_frames} images of one size "
            "-> save each as a file of its own"
        )


def _describe_unknown(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4)
        if not head:
            return "the file is empty"
        if head in TIFF_HEADS:
            return "a TIFF file of a kind that is not read, such as 64 bits -> save it with 8 or 16 bits"
    return f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"


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


def _high_byte(values: np.ndarray, path: Path) -> np.ndarray:
    if values.min() < 0 or values.max() > 0xFFFF:
        raise DataError(
            f"cannot use {show_path(path)}: values beyond 16 bits -> save it with 8 or 16 bits per channel"
        )
    return (values >> 8).astype(np.uint8)
