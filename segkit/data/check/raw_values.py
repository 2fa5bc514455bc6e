"""What the mask files of a folder hold, before anybody says what it means."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from segkit.data.check.file_facts import ImageFacts, MaskFacts, read_image_facts, read_mask_facts
from segkit.data.decoding.parts import Source
from segkit.data.loading.parallel import with_progress
from segkit.errors import DataError

#: In smoothed masks: the share of all pixels below which a value was not drawn, and how near another such values are.
RARE, BESIDE = 0.002, 12


@dataclass
class RawValues:
    """The values of all masks, or, if `are_colours`, their colours as 0xRRGGBB.

    pixels, masks   of each value: pixels, and masks that have it
    soft, solid     of each value: masks in which it lies only on edges, masks in which it fills areas
    palette         the colour of each value, of palette files
    smoothed        masks with many values that lie only on edges
    mixed           masks that hold colours where the first one holds values, or the other way round
    lossy           masks whose compression changes values, by its name
    nodata          values that GDAL's tag calls no data, and in how many masks
    facts           of every file that could be read
    bands           of the images: how many have so many bands; whether transparency is dropped from some
    """

    pixels: Counter = field(default_factory=Counter)
    masks: Counter = field(default_factory=Counter)
    soft: Counter = field(default_factory=Counter)
    solid: Counter = field(default_factory=Counter)
    palette: dict[int, int] = field(default_factory=dict)
    kinds: Counter = field(default_factory=Counter)
    image_kinds: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)
    are_colours: bool = False
    count: int = 0
    smoothed: list[Path] = field(default_factory=list)
    mixed: list[Path] = field(default_factory=list)
    lossy: dict[str, list[Path]] = field(default_factory=dict)
    nodata: Counter = field(default_factory=Counter)
    bands: Counter = field(default_factory=Counter)
    grey_images: int = 0
    unreadable: list[str] = field(default_factory=list)
    facts: dict[Source, ImageFacts | MaskFacts] = field(default_factory=dict)

    @property
    def are_grey(self) -> bool:
        """Whether all images are without colour."""
        return self.grey_images == self.bands.total() > 0

    @property
    def channels(self) -> int | None:
        """What `data.channels` has to be, if not 3; None if it may be that, or if no number fits all images."""
        if self.are_grey:
            return 1
        (only,) = self.bands if len(self.bands) == 1 else (3,)
        return None if only in (1, 3) else only

    @property
    def total(self) -> int:
        """All pixels."""
        return self.pixels.total()

    def add(self, path: Path, image: ImageFacts | None, mask: MaskFacts | None) -> None:
        """Count one more pair of files."""
        if image is not None:
            self.image_kinds[f"{image.mode} {image.format}"] += 1
            self.bands[image.bands] += 1
            self.grey_images += image.is_grey
        if mask is None:
            return
        self.kinds[f"{mask.mode} {mask.format}"] += 1
        self.sizes[mask.size] += 1
        if mask.lossy is not None:
            self.lossy.setdefault(mask.lossy, []).append(path)
        if self.count and mask.colours != self.are_colours:
            self.mixed.append(path)
            return
        self.are_colours = mask.colours
        self.count += 1
        self.pixels.update(mask.counts)
        self.masks.update(mask.counts.keys())
        self.palette |= mask.palette
        self.solid.update(mask.solid)
        if mask.nodata is not None and mask.nodata in mask.counts:
            self.nodata[mask.nodata] += 1
        if mask.is_soft:
            self.smoothed.append(path)
        if mask.is_soft or mask.lossy is not None:
            self.soft.update(mask.soft)

    def drawn_values(self) -> list[int]:
        """The values that somebody drew, sorted: all of them, without those that smoothing left on edges."""
        if not self.smoothed and not self.lossy:
            return sorted(self.pixels)
        enough = RARE * self.total
        often = [
            value
            for value, pixels in self.pixels.most_common()
            if 2 * self.soft[value] < self.masks[value] and pixels >= enough
        ]
        # Sharp filters and JPEG leave values beside a drawn one that fill no areas; WebP moves areas, too.
        apart = self._without_neighbours(often, but_solid=False) if self.lossy else []
        return apart if len(apart) > 1 else self._without_neighbours(often, but_solid=True)

    def _without_neighbours(self, values: list[int], *, but_solid: bool) -> list[int]:
        """The values, sorted, without those near one before it; `but_solid`: unless they fill areas of their own."""
        drawn: list[int] = []
        for value in values:
            beside = any(self._distance(value, other) <= BESIDE for other in drawn)
            if not beside or (but_solid and 2 * self.solid[value] >= self.masks[value]):
                drawn.append(value)
        return sorted(drawn)

    def _distance(self, one: int, other: int) -> int:
        """The difference of two values, of colours in their most different channel."""
        shifts = (16, 8, 0) if self.are_colours else (0,)
        mask = 0xFF if self.are_colours else 0xFFFFFFFF
        return max(abs((one >> shift & mask) - (other >> shift & mask)) for shift in shifts)


def read_raw_values(pairs: Sequence[tuple[Source, Source]], *, workers: int) -> RawValues:
    """Read all masks and the headers of their images; files that cannot be read are listed."""
    raw = RawValues()
    facts = list(with_progress(partial(_read_pair, pairs), len(pairs), workers=workers, shown="masks"))
    if any(mask is not None and mask.format == "GIF" and mask.colours for _, mask, _ in facts):
        facts = [(image, _as_colours(mask), errors) for image, mask, errors in facts]
    for (image_path, mask_path), (image, mask, errors) in zip(pairs, facts, strict=True):
        raw.unreadable += errors
        raw.facts |= {
            path: read for path, read in ((image_path, image), (mask_path, mask)) if read is not None
        }
        raw.add(Path(os.fspath(mask_path)), image, mask)
    return raw


def _as_colours(mask: MaskFacts | None) -> MaskFacts | None:
    """Facts of a GIF file in which only greys occur, beside others that have colours."""
    if mask is None or mask.format != "GIF" or mask.colours:
        return mask
    soft, solid = (tuple(0x10101 * value for value in values) for values in (mask.soft, mask.solid))
    counts = {0x10101 * value: count for value, count in mask.counts.items()}
    return replace(mask, colours=True, counts=counts, soft=soft, solid=solid)


def _read_pair(
    pairs: Sequence[tuple[Source, Source]], index: int
) -> tuple[ImageFacts | None, MaskFacts | None, list[str]]:
    found, errors = [], []
    for path, read in zip(pairs[index], (read_image_facts, read_mask_facts), strict=True):
        try:
            found.append(read(path))
        except DataError as error:
            found.append(None)
            errors.append(str(error))
    return found[0], found[1], errors
