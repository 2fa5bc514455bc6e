"""Objects and the distances to them, against a flood fill and the distance to every pixel of every object."""

from itertools import product

import numpy as np
import pytest

from segkit.data.weight_maps.instances import FAR, label_instances, two_nearest

SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))
CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


def flood(classes, inside, *, diagonal):
    """Objects by walking from each pixel to its neighbours, numbered in the order of their first pixels."""
    height, width = classes.shape
    labels, count = np.zeros(classes.shape, dtype=int), 0
    for y, x in product(range(height), range(width)):
        if not inside[y, x] or labels[y, x]:
            continue
        count += 1
        waiting = [(y, x)]
        while waiting:
            py, px = waiting.pop()
            labels[py, px] = count
            for dy, dx in SIDES + CORNERS * diagonal:
                ny, nx = py + dy, px + dx
                if not (0 <= ny < height and 0 <= nx < width) or labels[ny, nx]:
                    continue
                if inside[ny, nx] and classes[ny, nx] == classes[py, px]:
                    waiting.append((ny, nx))
    return labels


def squares_to_all(labels):
    """Squared distance from every pixel (H, W) to every object, one after the other: (objects, H, W)."""
    height, width = labels.shape
    y, x = np.mgrid[:height, :width]
    squares = []
    for number in range(1, labels.max() + 1):
        rows, columns = np.nonzero(labels == number)
        squares.append(((y[..., None] - rows) ** 2 + (x[..., None] - columns) ** 2).min(axis=-1))
    return np.array(squares).reshape(-1, height, width)


def random_classes(seed, shape, *, cell):
    random = np.random.default_rng(seed)
    coarse = random.choice([0, 0, 0, 1, 1, 2], size=(shape[0] // cell + 1, shape[1] // cell + 1))
    return np.kron(coarse, np.ones((cell, cell), dtype=np.uint8))[: shape[0], : shape[1]].astype(np.uint8)


CASES = [
    (seed, shape, cell)
    for seed, shape in enumerate([(17, 23), (23, 17), (1, 30), (30, 1), (2, 2), (1, 1), (12, 40)])
    for cell in (1, 2, 5)
]


@pytest.mark.parametrize(("seed", "shape", "cell"), CASES)
@pytest.mark.parametrize("diagonal", [False, True])
def test_objects_are_those_of_a_flood_fill(seed, shape, cell, diagonal):
    classes = random_classes(seed, shape, cell=cell)
    inside = classes > 0
    labels = label_instances(classes, inside, diagonal=diagonal)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, flood(classes, inside, diagonal=diagonal))


@pytest.mark.parametrize("diagonal", [False, True])
def test_objects_that_meet_late_are_one(diagonal):
    """Combs and spirals, whose rows look like many objects for long."""
    comb = np.zeros((40, 41), dtype=np.uint8)
    comb[:-1, ::2] = 1
    comb[-1] = 1
    spiral = np.zeros((41, 41), dtype=np.uint8)
    y = x = 0
    dy, dx, steps = 0, 1, 40
    spiral[0, 0] = 1
    for turn in range(38):
        for _ in range(steps):
            y, x = y + dy, x + dx
            spiral[y, x] = 1
        dy, dx = dx, -dy
        steps -= 2 * (turn > 0 and turn % 2 == 0)
        if steps <= 0:
            break
    for image in (comb, comb[::-1], spiral, spiral.T):
        labels = label_instances(image, image > 0, diagonal=diagonal)
        np.testing.assert_array_equal(labels, flood(image, image > 0, diagonal=diagonal))
        assert labels.max() == 1


def test_corners_join_only_if_asked():
    classes = np.eye(3, dtype=np.uint8)
    assert label_instances(classes, classes > 0, diagonal=False).max() == 3
    assert label_instances(classes, classes > 0, diagonal=True).max() == 1
    assert label_instances(classes[::-1], classes[::-1] > 0, diagonal=True).max() == 1


def test_touching_pixels_of_two_classes_are_two_objects():
    assert label_instances(np.array([[1, 1, 2]]), np.ones((1, 3), bool), diagonal=True).tolist() == [
        [1, 1, 2]
    ]


def test_labels_equal_those_of_scipy():
    ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is not installed: pip install scipy")
    classes = np.random.default_rng(0).random((200, 300)) < 0.6
    for diagonal in (False, True):
        labels, count = ndimage.label(classes, structure=ndimage.generate_binary_structure(2, 1 + diagonal))
        found = label_instances(classes, classes, diagonal=diagonal)
        assert found.max() == count
        np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(("seed", "shape", "cell"), CASES)
@pytest.mark.parametrize("reach", [1, 4, 100])
def test_two_nearest_are_exact_where_the_sum_is_within_reach(seed, shape, cell, reach):
    classes = random_classes(seed, shape, cell=cell)
    labels = label_instances(classes, classes > 0, diagonal=False)
    wanted = np.random.default_rng(seed).random(shape) < 0.8
    first, second = two_nearest(labels, wanted, reach=reach)
    squares = squares_to_all(labels)[:, wanted]  # (objects, P)
    far = np.full((2, squares.shape[1]), FAR)
    true_first, true_second = np.sort(np.concatenate([squares, far]), axis=0)[:2]
    within = np.sqrt(true_first) + np.sqrt(true_second) <= reach
    assert within.any() or labels.max() < 2 or reach < 100
    np.testing.assert_array_equal(first[within], true_first[within])
    np.testing.assert_array_equal(second[within], true_second[within])
    assert (first >= true_first).all() and (second >= true_second).all()


def test_without_objects_everything_is_far():
    nothing = np.zeros((3, 4), dtype=np.int32)
    first, second = two_nearest(nothing, nothing == 0, reach=5)
    assert (first == FAR).all() and (second == FAR).all()
    one = nothing.copy()
    one[1, 1] = 1
    first, second = two_nearest(one, one == 0, reach=9)
    assert first.max() == 5 and (second == FAR).all()
