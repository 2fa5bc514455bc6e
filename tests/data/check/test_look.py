"""One sample as a check sees it: in arrays, read without torch where nothing needs it, and as training does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from segkit.data.check.look import _make_thumbnail, read_arrays
from segkit.data.datasets.folder import Folder

CLASSES = ["sky", "road", "car"]


class Turned(Folder):
    """Files that are not taken as they are."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return replace(sample, image=sample.image.flip(-1), target=sample.target.flip(-1))


def read_both(make_folder, kind=Folder, **options):
    """Sample 0 for a check, and for training."""
    dataset = kind("train", root=str(make_folder()), classes=CLASSES, **options)
    return read_arrays(dataset, 0), dataset[0]


@pytest.mark.parametrize(("kind", "options"), [(Folder, {}), (Turned, {}), (Folder, {"resize": [9, 7]})])
def test_a_check_sees_what_training_does(make_folder, kind, options):
    arrays, sample = read_both(make_folder, kind, **options)
    np.testing.assert_array_equal(arrays.image, sample.image)
    np.testing.assert_array_equal(arrays.target, sample.target)
    assert arrays.target.dtype == sample.target.numpy().dtype
    assert (arrays.name, arrays.mask_path, arrays.file_size) == (
        sample.name,
        sample.mask_path,
        sample.file_size,
    )


def test_a_check_has_the_weights_of_training(make_folder):
    dataset = Folder("train", root=str(make_folder()), classes=CLASSES)
    seen = read_arrays(dataset, 0, lambda sample: sample.target * 0 + 2.0)
    assert seen.weight.shape == seen.target.shape and seen.weight.min() == seen.weight.max() == 2


def test_thumbnails_are_mean_greys():
    image = np.random.default_rng(0).integers(0, 256, (3, 64, 96), dtype=np.uint8)
    grey = torch.from_numpy(image).float().mean(dim=0)[None, None]
    small = torch.nn.functional.interpolate(grey, (16, 16), mode="bilinear", antialias=True)[0, 0]
    found = np.frombuffer(_make_thumbnail(image), dtype=np.uint8).reshape(16, 16)
    assert np.abs(found - small.numpy()).max() <= 0.501
