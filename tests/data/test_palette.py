"""Colours: distinct, and the published ones."""

import pytest

from segkit.data.palette import IGNORE_COLOR, palette, voc_color


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
