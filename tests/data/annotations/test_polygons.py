"""Which pixels a polygon covers."""

import numpy as np
import pytest

from segkit.data.annotations.polygons import fill_polygon, polygon_mask


def test_a_square_on_the_borders_of_pixels_covers_the_pixels_within():
    assert polygon_mask(np.array([[1, 1], [4, 1], [4, 3], [1, 3]], float), (4, 6)).tolist() == [
        [False] * 6,
        [False, True, True, True, False, False],
        [False, True, True, True, False, False],
        [False] * 6,
    ]


def test_what_lies_outside_is_cut_off_and_a_value_written_only_inside():
    mask = np.zeros((3, 3), np.uint8)
    fill_polygon(mask, np.array([[-5, -5], [2, -5], [2, 9], [-5, 9]], float), 7)
    assert mask.tolist() == [[7, 7, 0]] * 3


def test_polygons_are_drawn_as_cocos_own_tools_draw_them():
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    random = np.random.default_rng(0)
    for n in range(200):
        height, width = (int(size) for size in random.integers(1, 60, 2))
        points = random.uniform(-10, 70, (int(random.integers(3, 9)), 2))
        points = np.round(points * 2) / 2 if n % 3 == 0 else points
        drawn = coco.decode(coco.frPyObjects([points.ravel().tolist()], height, width))[..., 0]
        assert np.array_equal(drawn.astype(bool), polygon_mask(points, (height, width)))
