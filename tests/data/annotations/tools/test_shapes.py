"""Which pixels shapes cover, beside the definition pixel by pixel."""

import math

import numpy as np
import pytest

from segkit.data.annotations.tools.shapes import Area, Ellipse, Pixels, Stroke, rectangle

SIZE = (14, 17)


def cover(area: Area, line_width: float = 0.0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """The pixels that an area covers, bool (H, W)."""
    mask = np.zeros(size, np.uint8)
    area.cover(size, line_width).fill(mask, 1)
    return mask == 1


def by_centres(inside) -> np.ndarray:
    """The pixels whose centre `inside(x, y)` says yes of."""
    return np.array([[inside(x + 0.5, y + 0.5) for x in range(SIZE[1])] for y in range(SIZE[0])])


def distance(x: float, y: float, a: tuple[float, float], b: tuple[float, float]) -> float:
    """From (x, y) to the line from a to b, by trying a lot of its points."""
    steps = [n / 4000 for n in range(4001)]
    return min(math.hypot(x - (a[0] + t * (b[0] - a[0])), y - (a[1] + t * (b[1] - a[1]))) for t in steps)


def test_a_circle_has_the_pixels_whose_centres_lie_within():
    drawn = cover(Ellipse((6.2, 5.7), (4.3, 4.3)), 0)
    assert np.array_equal(drawn, by_centres(lambda x, y: math.hypot(x - 6.2, y - 5.7) <= 4.3))
    assert drawn.sum() == 57


@pytest.mark.parametrize("degrees", [0, 30, 90, -50])
def test_an_ellipse_is_turned_clockwise(degrees):
    turn = math.radians(degrees)

    def inside(x, y):
        x, y = x - 8.1, y - 6.3
        along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
        return (along / 6.4) ** 2 + (across / 2.3) ** 2 <= 1

    assert np.array_equal(cover(Ellipse((8.1, 6.3), (6.4, 2.3), degrees), 0), by_centres(inside))


def test_a_line_is_as_wide_as_is_asked_for_with_round_ends():
    points = np.array([[3.2, 4.1], [11.7, 8.8], [11.7, 12.4]])
    drawn = cover(Stroke(points), 3)
    lines = list(zip(points.tolist(), points[1:].tolist(), strict=False))
    assert np.array_equal(drawn, by_centres(lambda x, y: any(distance(x, y, a, b) <= 1.5 for a, b in lines)))
    assert not np.array_equal(drawn, cover(Stroke(points), 4))


def test_points_are_not_joined_and_two_equal_ones_are_one():
    drawn = cover(Stroke(np.array([[2.5, 2.5], [10.5, 9.5], [10.5, 9.5]]), joined=False), 2)
    assert np.argwhere(drawn).tolist() == [
        [1, 2],
        [2, 1],
        [2, 2],
        [2, 3],
        [3, 2],
        [8, 10],
        [9, 9],
        [9, 10],
        [9, 11],
        [10, 10],
    ]
    assert np.array_equal(drawn, cover(Stroke(np.array([[2.5, 2.5], [10.5, 9.5]]), joined=False), 2))
    assert cover(Stroke(np.array([[4.5, 4.5], [4.5, 4.5]])), 2).sum() == 5


@pytest.mark.parametrize(
    "area",
    [
        Ellipse((0.0, 14.0), (5.0, 3.0), 20),
        Ellipse((-9.0, -9.0), (2.0, 2.0)),
        Stroke(np.array([[-5.0, 3.0], [40.0, 3.0]])),
        Stroke(np.array([[-50.0, -30.0]])),
        Pixels(-2, -1, np.ones((4, 5), bool)),
        Pixels(15, 12, np.ones((4, 5), bool)),
        Pixels(30, -30, np.ones((4, 5), bool)),
    ],
)
def test_what_lies_outside_of_the_image_is_cut_off(area):
    """By drawing on an image with 60 more pixels on each side, from which the middle is cut."""
    drawn = cover(area, 3)
    assert drawn.shape == SIZE and drawn.dtype == bool
    if isinstance(area, Pixels):
        moved = Pixels(area.left + 60, area.top + 60, area.inside)
    elif isinstance(area, Ellipse):
        moved = Ellipse((area.centre[0] + 60, area.centre[1] + 60), area.radii, area.degrees)
    else:
        moved = type(area)(area.points + 60)
    large = cover(moved, 3, (SIZE[0] + 120, SIZE[1] + 120))
    assert np.array_equal(drawn, large[60:-60, 60:-60])


def test_a_box_is_turned_clockwise_about_its_middle():
    assert rectangle(2, 3, 6, 5).points.tolist() == [[2, 3], [6, 3], [6, 5], [2, 5]]
    turned = rectangle(2, 3, 6, 5, degrees=90)
    assert turned.points == pytest.approx(np.array([[5, 2], [5, 6], [3, 6], [3, 2]]))


def test_an_ellipse_without_an_extent_covers_nothing():
    assert not cover(Ellipse((5.5, 5.5), (0.0, 3.0)), 5).any()
