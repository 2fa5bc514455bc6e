"""What samples are called, without reading them."""

import numpy as np
import pytest

from segkit.data.cache.cached_data import Cached
from segkit.data.cache.place import CachePlace
from segkit.data.datasets.folder import Folder
from segkit.data.datasets.mix import Mix, Part
from segkit.data.datasets.shapes import Shapes
from segkit.data.loading.names import find_names

SHAPES = {"circle": "ignore", "square": "ignore", "line": "ignore", "star": "ignore"}


class Own:
    """Somebody's own data set, two images of `shapes`, with anything under `names`."""

    num_classes, ignore_index, channels, class_names = 5, 255, 3, Shapes.class_names

    def __init__(self, names):
        self.names, self.shapes = names, Shapes("val", size=32, val_size=2)

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.shapes[index]


@pytest.fixture
def folder(tmp_path, save):
    for n in range(3):
        save(tmp_path / f"images/val/{n}.png", np.zeros((32, 32, 3), dtype=np.uint8))
        save(tmp_path / f"masks/val/{n}.png", np.zeros((32, 32), dtype=np.uint8))
    return Folder("val", root=str(tmp_path), classes=["background", "line"])


def mix(*datasets):
    parts = [
        Part(f"part{n}", dataset, class_map=SHAPES if dataset.num_classes == 5 else None)
        for n, dataset in enumerate(datasets)
    ]
    return Mix("val", parts=parts, classes=["background", "line"])


def test_they_are_those_of_the_samples(folder, tmp_path):
    shapes = Shapes("val", size=32, val_size=2)
    cached = Cached(folder, CachePlace(tmp_path / "cache", ""), settings={})
    for dataset in (
        folder,
        cached,
        shapes,
        mix(shapes, folder),
        mix(mix(folder), Own(shapes.sample_names())),
    ):
        assert list(find_names(dataset)) == [dataset[n].name for n in range(len(dataset))]


@pytest.mark.parametrize(
    "names", [None, ["cat", "dog"], ["val_00000"], 7, {"cat": 0, "dog": 1}, ["val_00000", "dog"]]
)
def test_what_else_is_called_names_is_not_taken_for_them(folder, names):
    assert find_names(Own(names)) is None
    assert find_names(mix(folder, Own(names))) is None


def test_images_that_cannot_be_used_may_be_called_anything(folder, tmp_path):
    (tmp_path / "images/val/2.png").write_bytes(b"no image")
    assert find_names(folder) is None
