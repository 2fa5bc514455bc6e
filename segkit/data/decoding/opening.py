"""Opening image files: which formats, and what is said of a file that cannot be read."""

from collections.abc import Generator
from contextlib import contextmanager

from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from segkit.data.decoding.parts import File, Numbers, Source
from segkit.data.decoding.tiff_facts import TIFF_HEADS, TiffFacts
from segkit.errors import DataError
from segkit.system.printable import show_path

#: The formats that are decoded, whatever a file calls itself, and the suffixes that are looked for.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")
TIFF_SUBFILE_TYPE = 0x00FE


@contextmanager
def opened_image(path: File) -> Generator[ImageFile]:
    """An image file, open. Raises DataError as `explained` does."""
    # Not by its name: what Pillow then maps into memory, it reads wrongly if the tag Orientation turns it on its side.
    with explained(path), path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
        yield image


@contextmanager
def explained(path: Source) -> Generator[None]:
    """Raises DataError for a file that is missing or no image, and for whatever a decoder raises while something is
    read of it: of a damaged file, nearly anything."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"cannot read {show_path(path)}: no such file") from None
    except Image.UnidentifiedImageError:
        raise DataError(f"cannot read {show_path(path)}: {_describe_unknown(path)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"cannot read {show_path(path)}: {error}\n"
            "   -> cut it into tiles first; for a file that you trust, Pillow's limit can be raised in a file of yours "
            "for --import:\n      import PIL.Image; PIL.Image.MAX_IMAGE_PIXELS = 1_000_000_000"
        ) from None
    except OSError as error:
        raise DataError(f"cannot read {show_path(path)}: {error.strerror or error}") from error
    except MemoryError:  # which says nothing about the file
        raise
    except Exception as error:
        raise DataError(f"cannot read {show_path(path)}: {error}") from error


def refuse_stack(image: Image.Image, path: Source, tiff: TiffFacts | None) -> None:
    """A TIFF file with further images of the same size is a volume, of which one slice would be used; a GIF file with
    further ones is a film."""
    refuse_hidden_stack(path, tiff)
    if isinstance(image, GifImageFile) and image.n_frames > 1:
        raise is_stack(path, image.n_frames, but="")
    if not isinstance(image, TiffImageFile) or image.n_frames == 1:
        return
    first = image.size
    image.seek(1)
    is_page, second = image.tag_v2.get(TIFF_SUBFILE_TYPE, 0) == 0, image.size
    image.seek(0)
    if is_page and second == first:
        raise is_stack(path, image.n_frames)


def refuse_hidden_stack(path: Source, tiff: TiffFacts | None) -> None:
    """The same for images that only the description of a TIFF file tells of, and for one behind its thumbnail."""
    if tiff is None:
        return
    if tiff.slices > 1:
        raise is_stack(path, tiff.slices)
    refuse_thumbnail(path, tiff)


def refuse_thumbnail(path: Source, tiff: TiffFacts) -> None:
    """The image of a TIFF file is the first page that is no smaller copy of another; only the first page is read."""
    if tiff.full_page is None:
        return
    height, width = tiff.size
    where = f"page {tiff.full_page}" if tiff.full_page else "a page below it"
    raise DataError(
        f"cannot use {show_path(path)}: its first page is a thumbnail ({width}x{height}) of {where} "
        "-> save the image as a file of its own"
    )


def refuse_colours(path: Source, tiff: TiffFacts) -> None:
    """An image whose colours Pillow does not show, in another colour space than red, green and blue."""
    if tiff.colour_space is not None and not tiff.is_colour:
        raise DataError(
            f"cannot use {show_path(path)}: its colours are {tiff.colour_space}, as {tiff.describe()}, which are not "
            "converted -> save it as RGB"
        )


def is_stack(path: Source, count: int, *, but: str = ", or read all of them: data.name=stack") -> DataError:
    """The DataError to raise for a file of `count` images of one size; `but` is what else to do than to divide it."""
    return DataError(
        f"cannot use {show_path(path)}: it holds {count} images of one size -> save each as a file of its own{but}"
    )


def _describe_unknown(path: Source) -> str:
    assert not isinstance(path, Numbers)
    with path.open("rb") as file:
        head = file.read(4)
        if not head:
            return "the file is empty"
        if head in TIFF_HEADS:
            return "a TIFF file that Pillow cannot open -> save it with 8 or 16 bits"
    return f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"
