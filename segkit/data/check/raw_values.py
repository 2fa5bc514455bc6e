"""What the mask files of a folder hold, before anybody says what it means."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from segkit.data.check.file_facts import ImageFacts, MaskFacts, read_image_facts, read_mask_facts
from segkit.data.check.in_workers import in_workers
from segkit.errors import DataError

#: Pillow's modes of images without colour.
GREY_MODES = ("1", "L", "LA", "I", "F")


@dataclass
class RawValues:
    """The values of all masks, or, if `are_colours`, their colours as 0xRRGGBB.

    pixels, masks   of each value: pixels, and masks that have it
    soft            of each value: masks in which it lies only on edges
    palette         the colour of each value, of palette files
    smoothed        masks with many values that lie only on edges
    mixed           masks that hold colours where the first one holds values, or the other way round
    """

    pixels: Counter = field(default_factory=Counter)
    masks: Counter = field(default_factory=Counter)
    soft: Counter = field(default_factory=Counter)
    palette: dict[int, int] = field(default_factory=dict)
    kinds: Counter = field(default_factory=Counter)
    image_kinds: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)
    are_colours: bool = False
    count: int = 0
    smoothed: list[Path] = field(default_factory=list)
    mixed: list[Path] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def are_grey(self) -> bool:
        """Whether all images are without colour."""
        return bool(self.image_kinds) and all(kind.startswith(GREY_MODES) for kind in self.image_kinds)

    @property
    def total(self) -> int:
        """All pixels."""
        return self.pixels.total()

    def add(self, path: Path, image: ImageFacts | None, mask: MaskFacts | None) -> None:
        """Count one more pair of files."""
        if image is not None:
            self.image_kinds[f"{image.mode} {image.format}"] += 1
        if mask is None:
            return
        self.kinds[f"{mask.mode} {mask.format}"] += 1
        self.sizes[mask.size] += 1
        if self.count and mask.colours != self.are_colours:
            self.mixed.append(path)
            return
        self.are_colours = mask.colours
        self.count += 1
        self.pixels.update(mask.counts)
        self.masks.update(mask.counts.keys())
        self.palette |= mask.palette
        if mask.is_soft:
            self.smoothed.append(path)
            self.soft.update(mask.soft)

    def solid_values(self) -> list[int]:
        """The values that were drawn, sorted: all of them, without those that smoothing put on edges."""
        if not self.smoothed:
            return sorted(self.pixels)
        # Beside values of edges, smoothing and JPEG leave some that are rare and near a drawn one.
        return sorted(
            value
            for value, pixels in self.pixels.items()
            if 2 * self.soft[value] < self.masks[value] and pixels >= 0.002 * self.total
        )


def read_raw_values(pairs: Sequence[tuple[Path, Path]], *, workers: int) -> RawValues:
    """Read all masks and the headers of their images; files that cannot be read are listed."""
    raw = RawValues()
    facts = in_workers(partial(_read_pair, pairs), len(pairs), workers=workers, shown="masks")
    for (_, mask_path), (image, mask, errors) in zip(pairs, facts, strict=True):
        raw.unreadable += errors
        raw.add(mask_path, image, mask)
    return raw


def _read_pair(
    pairs: Sequence[tuple[Path, Path]], index: int
) -> tuple[ImageFacts | None, MaskFacts | None, list[str]]:
    found, errors = [], []
    for path, read in zip(pairs[index], (read_image_facts, read_mask_facts), strict=True):
        try:
            found.append(read(path))
        except DataError as error:
            found.append(None)
            errors.append(str(error))
    return found[0], found[1], errors
