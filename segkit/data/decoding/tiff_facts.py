"""What the tags of a TIFF file say of its pixels, also of kinds that Pillow cannot open or does not show in full."""

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from segkit.data.decoding.parts import File

#: First bytes of a TIFF file, classic and big, with the order of its bytes.
TIFF_HEADS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}

# Tags and values of the TIFF 6.0 specification, and of GDAL.
_INTEGERS = {
    1: "B",
    3: "H",
    4: "I",
    6: "b",
    8: "h",
    9: "i",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}  # by type of field
_TEXT = 2
_MOST_VALUES = 100_000  # of a field: a description may be long
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_DESCRIPTION, _ORIENTATION, _SAMPLES, _EXTRA, _FORMAT, _NODATA = 270, 274, 277, 338, 339, 42113
_SUBFILE, _OLD_SUBFILE, _SUB_PAGES, _INKS, _STRIPS, _TILES = 254, 255, 330, 332, 273, 324
_WANTED = {
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION, _ORIENTATION, _SAMPLES, _EXTRA, _FORMAT, _NODATA,
    _SUBFILE, _OLD_SUBFILE, _SUB_PAGES, _INKS, _STRIPS, _TILES,
}  # fmt: skip
_MOST_PAGES = 1000  # that are looked through for the image of which the first page is a thumbnail
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = range(4)
#: Samples of a pixel without extra ones, by photometric interpretation; one of any other.
_INK, _YCBCR = 5, 6
_BASE = {_RGB: 3, _INK: 4, _YCBCR: 3, 8: 3}
#: Photometric interpretations whose numbers are neither grey nor red, green and blue.
_COLOUR_SPACES = {
    _PALETTE: "those of a palette",
    _INK: "CMYK",
    _YCBCR: "YCbCr",
    8: "CIELab",
    9: "ICC Lab",
    10: "ITU Lab",
    32845: "CIE Luv",
}
_CMYK_INKS = 1
_ALPHA = (1, 2)  # associated and unassociated
_FAX = (2, 3, 4)
_FORMATS = {1: "unsigned integers", 2: "signed integers", 3: "floating-point numbers"}
_CODECS = {
    1: "none", 2: "fax", 3: "fax", 4: "fax", 5: "LZW", 6: "JPEG", 7: "JPEG", 8: "deflate", 32773: "PackBits",
    32946: "deflate", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG",
    34925: "LZMA", 34933: "PNG", 34934: "JPEG XR", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL",
    52546: "JPEG XL",
}  # fmt: skip
_LOSSY = ("JPEG", "lossy JPEG", "WebP", "JPEG XR")
#: What Pillow decodes with the libtiff that its wheels have.
_DECODED = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000, 50001)


@dataclass(frozen=True)
class TiffFacts:
    """The first page of a TIFF file.

    size         (H, W) as stored
    samples      numbers of a pixel, of which those at the places `alpha` are transparency
    bits         of a number; `format` is "unsigned integers", "signed integers" or "floating-point numbers"
    nodata       the value that GDAL's tag says means no data
    slices       pages that ImageJ describes although the file lists one
    colour_space what the numbers of a pixel are if not grey, red, green and blue, nor bands: "CMYK"
    is_sparse    whether parts of the image are left out, as GDAL does with what has no data
    full_page    where the first page is a thumbnail, the one, from 1, that has the image: 0 if that lies below another
    """

    size: tuple[int, int]
    samples: int
    alpha: tuple[int, ...]
    bits: int
    format: str
    photometric: int
    compression: int
    orientation: int
    nodata: float | None
    slices: int
    colour_space: str | None = None
    is_sparse: bool = False
    full_page: int | None = None

    @property
    def white_is_zero(self) -> bool:
        """Whether a drawing program would show the numbers inverted."""
        return self.photometric == _WHITE_IS_ZERO

    @property
    def is_palette(self) -> bool:
        """Whether the numbers stand for the colours of a list."""
        return self.photometric == _PALETTE

    @property
    def is_fax(self) -> bool:
        """Whether the pixels are coded as black and white rather than as numbers."""
        return self.compression in _FAX

    @property
    def is_colour(self) -> bool:
        """Whether the first three numbers of a pixel are red, green and blue, or decoded to that."""
        is_decoded = self.photometric == _YCBCR and self.compression in (6, 7)
        return self.photometric == _RGB or is_decoded

    @property
    def codec(self) -> str:
        """How the pixels are compressed."""
        return _CODECS.get(self.compression, f"compression {self.compression}")

    @property
    def shown_by_pillow(self) -> bool:
        """Whether Pillow decodes every number of a pixel as it is stored."""
        base, whole = _BASE.get(self.photometric, 1), self.format == _FORMATS[1]
        last_only = self.alpha in ((), (self.samples - 1,))
        is_usual = self.samples == base + len(self.alpha) and last_only
        if self.is_sparse or self.compression not in _DECODED or not is_usual:
            return False
        if self.samples > 1 or self.photometric == _PALETTE:
            return whole and (self.bits == 8 or (self.samples == 1 and self.bits < 8))
        if self.format == _FORMATS[3]:
            return self.bits == 32
        # Of 32 bits, Pillow has signed numbers only.
        return self.bits in (1, 2, 4, 8, 16) if whole else self.bits in (16, 32)

    @property
    def is_lossy(self) -> bool:
        """Whether the codec changes values, as its writers are usually set; LERC, JPEG 2000 and JPEG XL then do not."""
        return self.codec in _LOSSY

    @property
    def mode(self) -> str:
        """`uint16 x 4`: what Pillow has no mode for."""
        kind = {"unsigned integers": "uint", "signed integers": "int"}.get(self.format, "float")
        return f"{kind}{self.bits}{f' x {self.samples}' if self.samples > 1 else ''}"

    def describe(self) -> str:
        """`4 bands of 16-bit unsigned integers, LZW`."""
        bands = f"{self.samples} bands of " if self.samples > 1 else ""
        packed = "" if self.compression == 1 else f", compressed as {self.codec}"
        sparse = ", of which parts are left out" if self.is_sparse else ""
        return f"{bands}{self.bits}-bit {self.format}{packed}{sparse}"


def read_tiff_facts(path: File) -> TiffFacts | None:
    """The facts of a TIFF file; None for a file of another format. Raises OSError, and struct.error for tags that are
    cut off."""
    with path.open("rb") as file:
        head = file.read(4)
        if head not in TIFF_HEADS:
            return None
        directories = Directories(file, TIFF_HEADS[head], big=b"+" in head)
        tags, following = directories.read(directories.first())
        full_page = _find_full_page(directories, tags, following) if is_reduced(tags) else None
    samples = _number(tags, _SAMPLES, 1)
    photometric = _number(tags, _PHOTOMETRIC, _BLACK_IS_ZERO)
    extra = tags.get(_EXTRA, ())
    first = samples - len(extra)
    alpha = [] if isinstance(extra, str) else [first + n for n, kind in enumerate(extra) if kind in _ALPHA]
    return TiffFacts(
        size=(_number(tags, _HEIGHT, 0), _number(tags, _WIDTH, 0)),
        samples=samples,
        alpha=tuple(place for place in alpha if place >= _BASE.get(photometric, 1)),
        bits=_number(tags, _BITS, 1),
        format=_FORMATS.get(_number(tags, _FORMAT, 1), _FORMATS[1]),
        photometric=photometric,
        compression=_number(tags, _COMPRESSION, 1),
        orientation=_number(tags, _ORIENTATION, 1),
        nodata=_read_nodata(tags.get(_NODATA)),
        slices=_count_slices(tags.get(_DESCRIPTION, "")),
        colour_space=_name_colour_space(tags, photometric, samples - len(alpha)),
        is_sparse=any(_has_gaps(tags.get(tag)) for tag in (_STRIPS, _TILES)),
        full_page=full_page,
    )


Tags = dict[int, tuple[int, ...] | str]


class Directories:
    """The directories of a TIFF file, one for each page."""

    def __init__(self, file: BinaryIO, order: str, *, big: bool):
        self.file, self.order, self.big = file, order, big

    def first(self) -> int:
        """Where the first one is."""
        self.file.seek(8 if self.big else 4)
        return self._take("Q" if self.big else "I")[0]

    def read(self, place: int) -> tuple[Tags, int]:
        """The integers and texts of the directory at `place`, by tag, and where the next one is; 0 for the last."""
        big, order = self.big, self.order
        self.file.seek(place)
        (count,) = self._take("Q" if big else "H")
        entries = [self._take("HHQ8s" if big else "HHI4s") for _ in range(min(count, _MOST_VALUES))]
        following = self.file.read(8 if big else 4)
        tags: Tags = {}
        for tag, kind, length, inline in entries:
            form = "s" if kind == _TEXT else _INTEGERS.get(kind)
            if form is None or tag not in _WANTED:
                continue
            form = f"{order}{min(length, _MOST_VALUES)}{form}"
            content = bytes(inline)
            if struct.calcsize(form) > len(content):
                self.file.seek(struct.unpack(order + ("Q" if big else "I"), content)[0])
                content = self.file.read(struct.calcsize(form))
            values = struct.unpack_from(form, content)
            tags[tag] = values[0].decode("latin-1") if kind == _TEXT else values
        return tags, int.from_bytes(following, "little" if order == "<" else "big")

    def link_of(self, place: int) -> int:
        """Where the directory at `place` says which is next."""
        self.file.seek(place)
        (count,) = self._take("Q" if self.big else "H")
        return place + (8 + 20 * count if self.big else 2 + 12 * count)

    def _take(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(self.order + form, self.file.read(struct.calcsize(self.order + form)))


def is_reduced(tags: Tags) -> bool:
    """Whether a page is a smaller copy of another."""
    return bool(_number(tags, _SUBFILE, 0) & 1) or _number(tags, _OLD_SUBFILE, 1) == 2


def _has_gaps(places: tuple[int, ...] | str | None) -> bool:
    """Whether some of the places of strips or tiles are none: at 0, the file begins."""
    return not isinstance(places, str) and 0 in (places or ())


def _find_full_page(directories: Directories, tags: Tags, following: int) -> int | None:
    """The first page, from 1, that is no copy of another, 0 if one lies below the first; None if there is none."""
    for number in range(2, _MOST_PAGES):
        if not following:
            break
        others, following = directories.read(following)
        if not is_reduced(others):
            return number
    below = tags.get(_SUB_PAGES, ())
    places = () if isinstance(below, str) else below[:_MOST_PAGES]
    return 0 if any(not is_reduced(directories.read(place)[0]) for place in places) else None


def _name_colour_space(tags: Tags, photometric: int, count: int) -> str | None:
    """What `count` numbers of a pixel are if not grey or red, green and blue; ink may also be of any other kinds."""
    is_ink = count == 4 and _number(tags, _INKS, _CMYK_INKS) == _CMYK_INKS
    is_space = is_ink if photometric == _INK else count == (1 if photometric == _PALETTE else 3)
    return _COLOUR_SPACES.get(photometric) if is_space else None


def _number(tags: Tags, tag: int, default: int) -> int:
    """The first number of a field."""
    values = tags.get(tag)
    return default if not values or isinstance(values, str) else values[0]


def _read_nodata(text: object) -> float | None:
    try:
        return float(text.strip().strip("\0")) if isinstance(text, str) else None
    except ValueError:
        return None


def _count_slices(description: object) -> int:
    """ImageJ lists one page of a large stack and writes the others behind it."""
    if not isinstance(description, str):
        return 1
    lines = dict(line.split("=", 1) for line in description.strip("\0").splitlines() if "=" in line)
    return int(lines["images"]) if "ImageJ" in lines and lines.get("images", "").isdecimal() else 1
