"""An image whose bands are files of their own, put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkit.data.decoding.images_and_masks import WIDE_MODES, as_stored
from segkit.data.decoding.opening import explained, opened_image, refuse_stack
from segkit.data.decoding.parts import File, Numbers, Samples, Source
from segkit.data.decoding.samples import as_shown, read_header, read_samples
from segkit.errors import DataError
from segkit.system.printable import show_path


@dataclass(frozen=True, slots=True)
class Bands(Numbers):
    """An image of which each of `bands` is one; it is called like the first of them."""

    bands: tuple[Source, ...]

    @classmethod
    def of(cls, bands: "tuple[Source, ...]") -> "Bands":
        """The image of these bands."""
        first = bands[0]
        return cls(*((first, "") if isinstance(first, Path) else (first.file, first.key)), bands)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it is made of."""
        each = [(band,) if isinstance(band, Path) else band.files for band in self.bands]
        return tuple(dict.fromkeys(path for paths in each for path in paths))

    def read(self) -> Samples:
        """The numbers of all bands, which must be of one size."""
        arrays = [_read_band(band) for band in self.bands]
        for band, array in zip(self.bands, arrays, strict=True):
            if array.shape != arrays[0].shape:
                sizes = [f"{each.shape[1]}x{each.shape[0]}" for each in (arrays[0], array)]
                raise DataError(
                    f"bands of one image differ in size: {show_path(self.bands[0])} {sizes[0]}, "
                    f"{show_path(band)} {sizes[1]}"
                )
        return Samples(np.stack(arrays, axis=2), alpha=(), is_colour=False)


def join_bands(bands: Sequence[Source]) -> Source:
    """The image of these bands; the only one is the image itself."""
    return bands[0] if len(bands) == 1 else Bands.of(tuple(bands))


def _read_band(band: Source) -> np.ndarray:
    """The numbers (H, W) of a file of one band."""
    with explained(band):
        values = band.read().plain if isinstance(band, Numbers) else _read_file(band)
    if values.shape[2] != 1:
        raise DataError(
            f"cannot use {show_path(band)} as one band of an image: it has {values.shape[2]} -> save each as a file"
        )
    return values[..., 0]


def _read_file(path: File) -> np.ndarray:
    header = read_header(path)
    if not header.read_by_pillow:
        return read_samples(path, header).plain
    with opened_image(path) as image:
        refuse_stack(image, path, header.tiff)
        image.load()
    if image.mode.startswith(WIDE_MODES):
        return as_shown(as_stored(np.asarray(image), header.tiff), header.tiff)[..., None]
    plain = image if image.mode == "L" else image.convert("L" if image.mode == "1" else "RGB")
    return np.asarray(plain).reshape(image.height, image.width, -1)
