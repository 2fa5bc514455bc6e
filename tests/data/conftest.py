"""Small data sets on disk, and the real ones where they are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.paths import REAL_DATA


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_image(path: Path, pixels, mode: str | None = None, **options) -> Path:
    """Save an array (H, W) or (H, W, 3) as the image file `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.fixture
def save():
    return write_image


@pytest.fixture
def make_folder(tmp_path):
    """Write a folder data set with 3 classes: `make_folder(train=4, val=2, size=(24, 32), ids=(0, 1, 2))`."""

    def make(*, train=4, val=2, size=(24, 32), ids=(0, 1, 2), masks="masks") -> Path:
        random = np.random.default_rng(0)
        for split, count in (("train", train), ("val", val)):
            for n in range(count):
                image = random.integers(0, 256, size=(*size, 3), dtype=np.uint8)
                labels = random.choice(np.array(ids, dtype=np.uint8), size=size)
                labels[: len(ids), 0] = ids  # each id is there
                write_image(tmp_path / "images" / split / f"{n:03d}.png", image)
                write_image(tmp_path / masks / split / f"{n:03d}.png", labels)
        return tmp_path

    return make


@pytest.fixture
def camvid():
    return _real("camvid")


@pytest.fixture
def membrane():
    return _real("membrane")


def _real(name: str) -> str:
    root = REAL_DATA / name
    if not root.is_dir():
        pytest.skip(f"the real data set is not there: {root}")
    return str(root)
