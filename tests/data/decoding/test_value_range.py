"""Which numbers are black and white in images of more than 8 bits."""

import numpy as np
import pytest
import torch

from segkit.data.datasets.folder import Folder
from segkit.data.decoding.samples import scale_to_bytes
from segkit.data.decoding.value_range import find_value_range
from segkit.errors import DataError


def write(save, tmp_path, *arrays):
    return [save(tmp_path / f"{n:03d}.png", array) for n, array in enumerate(arrays)]


def noise(low, high, size=(40, 50), seed=0):
    return np.random.default_rng(seed).integers(low, high + 1, size).astype(np.uint16)


def test_images_of_8_bits_have_none(save, tmp_path):
    assert find_value_range(write(save, tmp_path, np.zeros((4, 4), dtype=np.uint8))) is None
    assert find_value_range([]) is None


def test_from_the_darkest_to_the_lightest_of_all_images(save, tmp_path):
    dark, light = noise(100, 900), noise(2000, 4000)
    dark[0, 0], light[0, 0] = 64, 4095
    assert find_value_range(write(save, tmp_path, dark, light)) == (64.0, 4095.0)


def test_a_few_hot_pixels_do_not_make_the_rest_dark(save, tmp_path):
    hot = noise(0, 1000)
    hot.flat[:1] = 65535
    low, high = find_value_range(write(save, tmp_path, hot))
    assert (low, high) == pytest.approx((0, 1000), abs=3)


def test_one_grey_throughout(save, tmp_path):
    assert find_value_range(write(save, tmp_path, np.full((4, 4), 7, dtype=np.uint16))) == (7.0, 8.0)


def test_a_file_that_cannot_be_read_is_left_to_who_reads_it(save, tmp_path):
    paths = write(save, tmp_path, noise(0, 4095), noise(0, 4095, seed=1))
    paths[0].write_bytes(paths[0].read_bytes()[:60])
    assert find_value_range([*paths, tmp_path / "missing.png"]) == pytest.approx((0, 4095), abs=5)


def test_numbers_that_mean_no_data_do_not_count(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(0).uniform(5, 6, (20, 30)).astype(np.float32)
    values[:3], values[3, 3] = -9999, np.nan
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, extratags=[(42113, "s", 0, "-9999", True)])
    assert find_value_range([path]) == pytest.approx((5, 6), abs=0.01)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_scaling_is_the_formula(dtype):
    values = np.linspace(-500, 9000, 4000).reshape(50, 40, 2).astype(dtype)
    low, high = 100, 4100
    exact = np.clip((values.astype(np.float64) - low) * 255 / (high - low), 0, 255)
    if dtype == np.uint16:
        values = values.clip(0)
        exact = np.clip((values.astype(np.float64) - low) * 255 / (high - low), 0, 255)
    found = scale_to_bytes(values, low, high)
    assert found.shape == (2, 50, 40)
    assert np.abs(found.transpose(1, 2, 0) - exact).max() <= 0.5 + 1e-3


def test_numbers_outside_the_range_are_clipped_wherever_they_are():
    values = np.full((300, 400, 2), 50, dtype=np.uint16)  # more than are scaled at once
    values[299, 399], values[0, 0, 1] = (200, 5), 200
    found = scale_to_bytes(values, 10, 110)
    assert found[:, 299, 399].tolist() == [255, 0] and found[:, 0, 0].tolist() == [102, 255]
    assert np.unique(found).tolist() == [0, 102, 255]


def test_no_number_is_black():
    values = np.array([[[np.nan], [5.0], [np.inf], [-np.inf]]])
    assert scale_to_bytes(values, 0, 10).tolist() == [[[0, 128, 255, 0]]]


@pytest.fixture
def twelve(save, tmp_path):
    """A folder with training images up to 4095 and brighter validation images."""
    for part, high in (("train", 4095), ("val", 9000)):
        for n in range(2):
            image = noise(0, high, (8, 10), seed=n)
            image[0, 0], image[0, 1] = 0, high
            save(tmp_path / "images" / part / f"{n}.png", image)
            save(tmp_path / "masks" / part / f"{n}.png", np.zeros((8, 10), dtype=np.uint8))
    return tmp_path


def folder(split, root, **options):
    return Folder(split, root=str(root), classes=["a", "b"], channels=1, **options)


def test_both_parts_have_the_range_of_the_training_images(twelve):
    train, val = folder("train", twelve), folder("val", twelve)
    assert train.value_range == val.value_range == (0.0, 4095.0)
    assert train.found_options == {"value_range": [0.0, 4095.0]}
    assert train[0].image.max() == 255 and val[0].image[0, 0, 1] == 255
    share = (val[0].image.as_subclass(torch.Tensor) == 255).float().mean().item()
    assert share > 0.3, "what is brighter than all training images is white"


def test_a_range_that_is_given_is_taken(twelve):
    given = folder("val", twelve, value_range=[0.0, 9000.0])
    assert given.found_options == {} and given[0].image[0, 0, 1] == 255
    assert folder("val", twelve, value_range="dtype")[0].image[0, 0, 1] == 9000 >> 8
    with pytest.raises(ValueError, match=r"value_range: expected \[low, high\], got \[5.0, 5.0\]"):
        folder("val", twelve, value_range=[5.0, 5.0])


def test_without_training_images_a_range_is_asked_for(twelve):
    (twelve / "images/train").rename(twelve / "images/elsewhere")
    with pytest.raises(DataError, match=r"nothing says which numbers are black and white"):
        folder("val", twelve)[0]
