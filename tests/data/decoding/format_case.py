"""One file that a tool writes, what was drawn in it, and drawings of labels and images."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

SIZE = (24, 32)
WRITERS = {
    "tifffile": "tifffile",
    "Pillow": "pillow",
    "rasterio": "rasterio",
    "scikit-image": "scikit-image",
    "OpenCV": "opencv-python-headless",
}
_MODULES = {"Pillow": "PIL", "scikit-image": "skimage", "OpenCV": "cv2"}


@dataclass(frozen=True)
class Case:
    """`write(path)` makes the file and returns what was drawn: labels (H, W), or an image (H, W, S). `expected` is
    exact, lossy, or the words of the refusal. `masks` of colours are drawn as 0xRRGGBB."""

    writer: str
    what: Literal["mask", "image"]
    title: str
    suffix: str
    write: Callable[[Path], np.ndarray]
    expected: str = "exact"

    @property
    def name(self) -> str:
        return f"{self.what} {self.writer}: {self.title}"

    @property
    def is_writable(self) -> bool:
        try:
            importlib.import_module(_MODULES.get(self.writer, self.writer))
        except ImportError:
            return False
        return True

    @property
    def written_by(self) -> str:
        return f"{self.writer} {version(WRITERS[self.writer])}"


def labels(dtype: Any, *, most: int = 4) -> np.ndarray:
    """Labels 0 to most - 1 in stripes and blocks, (H, W)."""
    rows, columns = np.indices(SIZE)
    return ((rows // 6 + columns // 5) % most).astype(dtype)


def picture(dtype: Any, bands: int, *, low: float = 0, high: float = 255) -> np.ndarray:
    """Noise between the two, both of which occur, (H, W, bands)."""
    values = np.random.default_rng(bands).uniform(low, high, (*SIZE, bands))
    values[0, 0], values[-1, -1] = low, high
    return values.round().astype(dtype) if np.dtype(dtype).kind in "iu" else values.astype(dtype)
