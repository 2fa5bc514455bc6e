"""Which pixels a polygon covers."""

import numpy as np
import pytest

from segkit.data.annotations.polygons import fill_polygon, polygon_mask, polygon_patches
from tests.data.annotations.slow_polygons import slow_polygon_mask


def make_polygons(count: int):
    """Sizes (H, W), and polygons in and around them: of any coordinates, of halves, of whole pixels, narrow ones."""
    random = np.random.default_rng(0)
    for n in range(count):
        height, width = (int(size) for size in random.integers(1, 60, 2))
        points = random.uniform(-10, 70, (int(random.integers(3, 9)), 2))
        if n % 4 == 3:
            points[:, n // 4 % 2] /= 20
        yield (height, width), (points, np.round(points * 2) / 2, np.round(points), points)[n % 4]


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


def test_inside_and_outside_alternate_where_an_outline_crosses_itself():
    twice = np.array([[0, 0], [4, 0], [4, 4], [0, 4], [0, 0], [2, 0], [2, 4], [0, 4]], float)
    assert polygon_mask(twice, (4, 4)).tolist() == [[False, False, True, True]] * 4


def test_the_fast_way_covers_what_the_walk_covers_to_the_pixel():
    covered = 0
    for size, points in make_polygons(400):
        slow = slow_polygon_mask(points, size)
        assert np.array_equal(polygon_mask(points, size), slow)
        covered += slow.sum()
    assert covered > 50_000


def test_ties_are_rounded_as_the_walk_rounds_them():
    # Edges whose steps lie on the centres of pixels, and just beside them.
    for run in range(1, 40):
        for far in (run + 1, 2 * run, 3 * run + 1):
            for shift in (0, 0.1, 0.3, 0.5):
                points = np.array([[shift, 0], [run / 5 + shift, far / 5], [shift, 2 * far / 5]])
                for turned in (points, points[::-1], points[:, ::-1]):
                    assert np.array_equal(polygon_mask(turned, (30, 30)), slow_polygon_mask(turned, (30, 30)))


def test_several_polygons_at_once_are_each_what_it_is_alone():
    polygons = [points for _, points in make_polygons(40)]
    flat = np.array([[3, 3], [3, 3], [3, 3]], float)  # covers nothing
    polygons.insert(5, flat)
    patches = polygon_patches(polygons, (40, 50))
    for points, patch in zip(polygons, patches, strict=True):
        drawn = np.zeros((40, 50), bool)
        patch.fill(drawn, True)
        assert np.array_equal(drawn, slow_polygon_mask(points, (40, 50))) and patch.area == drawn.sum()
    assert polygon_patches([], (40, 50)) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, about NumPy
def test_polygons_are_drawn_as_cocos_own_tools_draw_them():
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    for (height, width), points in make_polygons(400):
        drawn = coco.decode(coco.frPyObjects([points.ravel().tolist()], height, width))[..., 0]
        assert np.array_equal(drawn.astype(bool), polygon_mask(points, (height, width)))
