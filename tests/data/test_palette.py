"""Colours: distinct, the published ones, and ignored pixels recognisable."""

import numpy as np
import pytest
import torch

from segkit.data.palette import IGNORE_COLOR, colorize, paint, palette, voc_color


@pytest.mark.parametrize("num_classes", [1, 2, 8, 9, 21, 150, 255])
def test_colours_are_distinct_and_start_with_black(num_classes):
    colors = palette(num_classes)
    assert len(colors) == len(set(colors)) == num_classes
    assert colors[0] == (0, 0, 0)
    assert IGNORE_COLOR not in colors
    assert all(0 <= value <= 255 for color in colors for value in color)


def test_voc_colours_are_the_published_ones():
    published = {0: (0, 0, 0), 1: (128, 0, 0), 4: (0, 0, 128), 7: (128, 128, 128), 8: (64, 0, 0)}
    published |= {15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {index: voc_color(index) for index in published} == published


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.int16])
def test_each_id_gets_its_colour_and_the_rest_the_ignore_colour(dtype):
    ids = torch.tensor([[0, 1, 2], [3, 255 if dtype is torch.uint8 else -100, 1]], dtype=dtype)
    colors = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    painted = colorize(ids, colors, ignore_color=(9, 9, 9))
    assert painted.shape == (3, 2, 3) and painted.dtype == torch.uint8
    expected = [[[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[9, 9, 9], [9, 9, 9], [4, 5, 6]]]
    assert painted.permute(1, 2, 0).tolist() == expected


def test_ignore_index_inside_the_classes_gets_the_ignore_colour():
    painted = colorize(torch.tensor([[0, 1]]), palette(2), ignore_index=0)
    assert painted.permute(1, 2, 0).tolist() == [[list(IGNORE_COLOR), [230, 159, 0]]]


def test_leading_dimensions_are_kept():
    assert colorize(torch.zeros(2, 4, 5, 6, dtype=torch.uint8), palette(3)).shape == (2, 4, 3, 5, 6)


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_arrays_are_painted_like_tensors(dtype):
    ids = np.arange(-2 if dtype == "int64" else 0, 258 if dtype == "int64" else 256).astype(dtype)[None]
    for count in (3, 254, 255, 300):
        for ignored in (None, 1, 255):
            expected = colorize(torch.from_numpy(ids), palette(count), ignore_index=ignored)
            np.testing.assert_array_equal(paint(ids, palette(count), ignore_index=ignored), expected)
