"""What image and label files say about themselves, before anything is made of their values."""

from dataclasses import dataclass, field

import numpy as np

from segkit.data.decoding.images_and_masks import read_labels
from segkit.data.decoding.opening import explained, opened_image, refuse_colours, refuse_thumbnail
from segkit.data.decoding.parts import File, Numbers, Source
from segkit.data.decoding.samples import EXIF_ORIENTATION, Header, read_header

#: Distinct colours of one mask that are kept; more of them are no labels.
MOST_COLOURS = 512
#: Values of one mask that lie only in edges, from which on it is anti-aliased rather than full of thin things.
SOFT_VALUES = 4
#: Such a value has at least this share of its pixels between two others, and at most that share among its own kind.
SOFT_BETWEEN, SOFT_SOLID = 0.4, 0.02
#: Share of the pixels of a value that lie among their own kind if it fills areas.
SOLID = 0.2


@dataclass(frozen=True)
class ImageFacts:
    """An image file by its header: format, Pillow's mode or the type of its numbers, (H, W) as it will be shown,
    whether EXIF turned it, its bands without transparency, and whether it has that."""

    format: str
    mode: str
    size: tuple[int, int]
    turned: bool
    bands: int
    alpha: bool = False

    @property
    def is_grey(self) -> bool:
        """Whether it is without colour."""
        return self.bands == 1 and self.mode != "P"


@dataclass(frozen=True)
class MaskFacts:
    """A label file: its header, and what its values are.

    counts   pixels by raw value, or by colour, packed as 0xRRGGBB, if `colours`
    soft     values that hardly occur but in between two others, as on the edges of a smoothed mask
    solid    values that fill areas
    palette  the colours of the values that occur, for a palette file
    lossy    how the file is compressed, if that changes values near edges
    nodata   the value that GDAL's tag calls no data
    """

    format: str
    mode: str
    size: tuple[int, int]
    colours: bool
    counts: dict[int, int]
    distinct: int
    soft: tuple[int, ...] = ()
    solid: tuple[int, ...] = ()
    palette: dict[int, int] = field(default_factory=dict)
    lossy: str | None = None
    nodata: int | None = None

    @property
    def is_soft(self) -> bool:
        """Whether so many values lie only on edges that the mask was smoothed or resized."""
        return len(self.soft) >= SOFT_VALUES


def read_image_facts(path: Source) -> ImageFacts:
    """The header of an image file. Raises DataError for a file that is missing or no image."""
    if isinstance(path, Numbers):
        with explained(path):
            samples = path.read()
        height, width, count = samples.values.shape
        mode = f"{samples.values.dtype}{f' x {count}' if count > 1 else ''}"
        alpha = len(samples.alpha)
        return ImageFacts(path.format, mode, (height, width), False, count - alpha, bool(alpha))
    with explained(path):
        header = read_header(path)
    tiff = header.tiff
    if tiff is not None:
        refuse_thumbnail(path, tiff)
    if tiff is not None and not header.shown_by_pillow:
        refuse_colours(path, tiff)
        height, width = tiff.size[::-1] if tiff.orientation >= 5 else tiff.size
        return ImageFacts(
            "TIFF", tiff.mode, (height, width), False, tiff.samples - len(tiff.alpha), bool(tiff.alpha)
        )
    with opened_image(path) as image:
        width, height = image.size
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
        if orientation in (5, 6, 7, 8) and header.tiff is None:  # of TIFF files, Pillow has done it
            width, height = height, width
        turned = orientation not in (0, 1) and header.tiff is None
        bands = image.getbands()
        alpha = bands[-1] == "A" or "transparency" in image.info
        mode = f"{image.mode};16" if header.png16 is not None else image.mode
        count = 3 if image.mode == "CMYK" else len(bands) - (bands[-1] == "A")
        if header.png16 == 4:  # grey with alpha, which Pillow makes colour
            mode, count = "LA;16", 1
        return ImageFacts(image.format or "", mode, (height, width), turned, count, alpha)


def read_mask_facts(path: Source) -> MaskFacts:
    """The header and the raw values of a label file. Raises DataError for a file that cannot be read."""
    palette, lossy = None, None
    with explained(path):
        header = Header() if isinstance(path, Numbers) else read_header(path)
    if isinstance(path, Numbers):
        format, mode = path.format, str(read_labels(path)[0].dtype)
    elif header.shown_by_pillow:
        with opened_image(path) as image:
            format, mode = image.format or "", image.mode
            palette = image.getpalette("RGB") if mode == "P" and format != "GIF" else None
        lossy = _find_loss(path, format)
    else:
        format, mode = ("PNG", "16-bit") if header.tiff is None else ("TIFF", header.tiff.mode)
    if header.tiff is not None:
        lossy = header.tiff.codec if header.tiff.is_lossy else None
    values, colours = read_labels(path)  # (H, W)
    ids, counts = _count(values)
    most = np.sort(np.argsort(-counts, kind="stable")[:MOST_COLOURS])
    found = {int(ids[n]): int(counts[n]) for n in most}
    soft, solid = find_soft_and_solid(values, colours=colours, counted=(ids, counts))
    nodata = None if header.tiff is None else header.tiff.nodata
    return MaskFacts(
        format=format,
        mode=mode,
        size=values.shape,
        colours=colours,
        counts=found,
        distinct=len(ids),
        soft=soft,
        solid=solid,
        palette={} if palette is None else _used_colours(palette, found),
        lossy=lossy,
        nodata=int(nodata) if nodata is not None and nodata.is_integer() else None,
    )


def _find_loss(path: File, format: str) -> str | None:
    """JPEG, or WebP if the file says that its pixels are not kept: whole files are read, so values are no guess."""
    if format != "WEBP":
        return "JPEG" if format == "JPEG" else None
    with path.open("rb") as file:
        head = file.read(16)
        if head[12:16] != b"VP8X":
            return "WebP" if head[12:16] == b"VP8 " else None
        content = file.read()
    return None if b"VP8L" in content else "WebP"


def find_soft_and_solid(
    values: np.ndarray, *, colours: bool, counted: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Values of a mask (H, W) that lie in between those on their two sides and nearly never among their own kind, and
    values that do lie among their own. `counted` are the distinct values and how often each occurs, if that is known.

    Smoothing and resizing put the first on every edge; drawn labels have hardly any. Thin things are neither.
    """
    if min(values.shape) < 3:
        return (), ()
    channels = [values >> shift & 0xFF for shift in (16, 8, 0)] if colours else [values]
    between, solid = np.zeros(values.shape, dtype=bool), np.zeros(values.shape, dtype=bool)
    sides = [((slice(None), slice(1, -1)), (slice(None), slice(None, -2)), (slice(None), slice(2, None)))]
    sides += [tuple(tuple(reversed(place)) for place in sides[0])]
    for middle, before, after in sides:
        # Whether each channel is in between counts, and that some channel differs from both sides.
        inside = np.ones(values[middle].shape, dtype=bool)
        for channel in channels:
            low = np.minimum(channel[before], channel[after])
            inside &= (low <= channel[middle]) & (
                channel[middle] <= np.maximum(channel[before], channel[after])
            )
        inside &= (values[middle] != values[before]) & (values[middle] != values[after])
        between[middle] |= inside
    inner = values[1:-1, 1:-1]
    solid[1:-1, 1:-1] = (
        (inner == values[1:-1, :-2])
        & (inner == values[1:-1, 2:])
        & (inner == values[:-2, 1:-1])
        & (inner == values[2:, 1:-1])
    )
    pixels = dict(zip(*(part.tolist() for part in counted or _count(values)), strict=True))
    betweens, solids = (
        dict(zip(*(part.tolist() for part in _count(values[where])), strict=True))
        for where in (between, solid)
    )
    shares = {v: (betweens.get(v, 0) / count, solids.get(v, 0) / count) for v, count in pixels.items()}
    return (
        tuple(v for v, (between, among) in shares.items() if between >= SOFT_BETWEEN and among <= SOFT_SOLID),
        tuple(v for v, (_, among) in shares.items() if among >= SOLID),
    )


def _count(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values, sorted, and how often each occurs; for small values without sorting them all."""
    if values.size and (values.max() > 0xFFFF or values.min() < 0):
        return np.unique(values, return_counts=True)
    counts = np.bincount(values.reshape(-1))
    ids = np.flatnonzero(counts)
    return ids, counts[ids]


def _used_colours(palette: list[int], values: dict[int, int]) -> dict[int, int]:
    return {
        value: palette[3 * value] << 16 | palette[3 * value + 1] << 8 | palette[3 * value + 2]
        for value in values
        if 3 * value + 2 < len(palette)
    }
