"""A data set in files, which alone can be cached or damaged."""

from pathlib import Path

import numpy as np

from tests.conftest import write_image


def draw_data(root: Path) -> None:
    """Write 12 training and 4 validation images of 32 x 32 with masks of two classes, laid out as `folder` reads."""
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        for n in range(count):
            labels = np.zeros((32, 32), dtype=np.uint8)
            labels[n : n + 12, 6:20] = 1
            image = random.integers(0, 120, (32, 32, 3), dtype=np.uint8) + 100 * labels[..., None]
            write_image(root / "images" / split / f"{n:02d}.png", image)
            write_image(root / "masks" / split / f"{n:02d}.png", labels)
