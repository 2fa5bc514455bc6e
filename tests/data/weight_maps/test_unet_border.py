"""`unet_border` against the formula of the paper, and `class_balanced`; built as a run builds them."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from segkit.config.load import config_from_mapping
from segkit.data.sample import Sample
from segkit.data.weight_maps.class_balanced import ClassBalanced
from segkit.data.weight_maps.unet_border import UNetBorder
from segkit.errors import ConfigError
from segkit.training.build import build_data

IGNORE = 255
SHORT = {"train": {"iterations": 1}}
NAMES = ("background", "cell", "debris")


def sample_of(target):
    target = torch.as_tensor(target, dtype=torch.uint8)
    return Sample(
        tv_tensors.Image(torch.zeros(3, *target.shape, dtype=torch.uint8)), tv_tensors.Mask(target), "x", 0
    )


def border(target, **options):
    options = {"class_weights": None, **options}
    weight = UNetBorder(len(NAMES), IGNORE, NAMES, **options)(sample_of(target))
    assert weight.dtype == torch.float32
    return weight.numpy()


def reference(target, *, w0=10.0, sigma=5.0, objects=(1, 2), corners=False, inside=False, weights=(1, 1, 1)):
    """The formula, pixel by pixel, with objects by a flood fill: slow and obvious."""
    height, width = target.shape
    pixels = [*product(range(height), range(width))]
    waiting = {place for place in pixels if target[place] in objects}
    cells = []
    while waiting:
        cell, edge = [], [waiting.pop()]
        while edge:
            y, x = edge.pop()
            cell.append((y, x))
            for dy, dx in product((-1, 0, 1), repeat=2):
                other = (y + dy, x + dx)
                joined = other in waiting and target[other] == target[y, x] and (corners or 0 in (dy, dx))
                if joined:
                    waiting.remove(other)
                    edge.append(other)
        cells.append(cell)
    result = np.zeros(target.shape)
    for y, x in pixels:
        if target[y, x] == IGNORE:
            continue
        result[y, x] = weights[target[y, x]]
        if inside or target[y, x] not in objects:
            distances = sorted(min(math.hypot(y - cy, x - cx) for cy, cx in cell) for cell in cells)
            d1, d2 = [*distances, math.inf, math.inf][:2]
            result[y, x] += w0 * math.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    return result


def random_target(seed, shape):
    random = np.random.default_rng(seed)
    coarse = random.choice([0, 0, 0, 1, 1, 2, IGNORE], size=(shape[0] // 3 + 1, shape[1] // 3 + 1))
    return np.kron(coarse, np.ones((3, 3), dtype=np.uint8))[: shape[0], : shape[1]].astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(17, 23), (23, 17), (1, 30), (30, 1), (2, 2)])
@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("inside", [False, True])
def test_map_equals_the_formula(seed, shape, connectivity, inside):
    target = random_target(seed, shape)
    weights = [0.5, 3.0, 0.25]
    found = border(target, connectivity=connectivity, inside_objects=inside, class_weights=weights)
    expected = reference(target, corners=connectivity == 8, inside=inside, weights=weights)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("options", [{"sigma": 0.7}, {"sigma": 40.0, "w0": 2.0}, {"w0": 0.0}, {"w0": 1e-15}])
def test_map_equals_the_formula_at_any_strength_and_width(options):
    target = random_target(7, (20, 20))
    np.testing.assert_allclose(border(target, **options), reference(target, **options), rtol=1e-6, atol=1e-9)


def test_gaps_in_numbers():
    """Two cells, one, two and three pixels apart: the middle of a gap of one pixel has d1 = d2 = 1."""
    one = border([[1, 0, 1]])[0]
    assert one.tolist() == pytest.approx([1, 1 + 10 * math.exp(-4 / 50), 1])
    two = border([[1, 0, 0, 1]])[0]
    assert two.tolist() == pytest.approx([1, 1 + 10 * math.exp(-9 / 50), 1 + 10 * math.exp(-9 / 50), 1])
    assert border([[1, 0, 0, 0, 1]])[0, 2] == pytest.approx(1 + 10 * math.exp(-16 / 50))


def test_corners_decide_whether_there_is_a_gap():
    target = [[1, 0], [0, 1]]
    assert border(target, connectivity=8).tolist() == [[1, 1], [1, 1]]
    assert border(target, connectivity=4)[0, 1] == pytest.approx(1 + 10 * math.exp(-4 / 50))


@pytest.mark.parametrize("target", [[[0, 0, 0]], [[1, 1, 0]], [[1, 1, 1]], [[1, 0, IGNORE]]])
def test_with_fewer_than_two_objects_there_is_no_border(target):
    assert border(target).tolist() == (np.array(target) != IGNORE).astype(float).tolist()
    assert border(target, inside_objects=True).max() == 1


def test_inside_objects_the_distance_to_the_own_object_is_0():
    weight = border([[1, 1, 0, 1]], inside_objects=True)[0]
    assert weight.tolist() == pytest.approx(
        [1 + 10 * math.exp(-(d**2) / 50) for d in (3, 2, 1 + 1, 2)], rel=1e-6
    )


def test_objects_by_name_and_id():
    target = random_target(1, (20, 25))
    only_cells = reference(target, objects=(1,))
    np.testing.assert_allclose(border(target, objects=["cell"]), only_cells, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(border(target, objects=[1]), only_cells, rtol=1e-6, atol=1e-9)
    swapped = reference(target, objects=(0, 2))
    np.testing.assert_allclose(border(target, objects=["debris", 0]), swapped, rtol=1e-6, atol=1e-9)
    assert not np.allclose(only_cells, swapped)


def test_an_ignored_id_among_the_classes_is_no_object():
    weight = UNetBorder(3, 1, NAMES, class_weights=None)(sample_of([[2, 0, 1, 0, 2]]))
    assert weight[0, 2] == 0
    assert weight[0, 1] == pytest.approx(1 + 10 * math.exp(-((1 + 3) ** 2) / 50))


def test_many_objects_far_apart_and_close():
    """A grid of single pixels, where every pixel has many objects at the same distance."""
    target = np.zeros((31, 31), dtype=np.uint8)
    target[::3, ::3] = 1
    target[15:, 20:] = 0
    np.testing.assert_allclose(border(target, sigma=2.0), reference(target, sigma=2.0), rtol=1e-6, atol=1e-9)


def run_config(**weight_map):
    data = {"name": "shapes", "size": 32, "train_size": 6, "val_size": 2, "weight_map": weight_map}
    return config_from_mapping({"data": data, "loss": {"name": "weighted_mask_ce"}, **SHORT}, origin="test")


def test_class_weights_come_from_the_training_labels_unless_given():
    data = build_data(run_config(name="unet_border"))
    assert data.weight_map.class_table.weights.tolist() == pytest.approx(data.label_counts.weigh("balanced"))
    given = build_data(run_config(name="unet_border", class_weights=[1, 2, 3, 4, 5]))
    assert given.weight_map.class_table.weights.tolist() == [1, 2, 3, 4, 5]
    without = build_data(run_config(name="unet_border", class_weights=None))
    assert without.weight_map.class_table.weights.tolist() == [1] * 5


@pytest.mark.parametrize("name", ["unet_border", "class_balanced"])
def test_wrong_number_of_class_weights(name):
    with pytest.raises(ConfigError) as caught:
        build_data(run_config(name=name, class_weights=[1, 2]))
    assert str(caught.value) == (
        f"data.weight_map: {name}: class_weights has 2 values but there are 5 classes"
    )


def test_unknown_object():
    with pytest.raises(ConfigError) as caught:
        build_data(run_config(name="unet_border", objects=["circle", "cell"]))
    assert str(caught.value) == (
        "data.weight_map: unet_border: objects names 'cell', which is no class; there are: "
        "0 background, 1 circle, 2 square, 3 line, 4 star"
    )


def test_class_balanced_is_the_weight_of_the_class():
    weight = ClassBalanced(3, IGNORE, class_weights=[0.5, 2.0, 7.0])(sample_of([[0, 1], [2, IGNORE]]))
    assert weight.tolist() == [[0.5, 2.0], [7.0, 0.0]]


def test_class_balanced_takes_either_kind():
    data = build_data(run_config(name="class_balanced", class_weights="median_frequency"))
    assert data.weight_map.class_table.weights.tolist() == pytest.approx(
        data.label_counts.weigh("median_frequency")
    )
    assert data.label_counts.weigh("median_frequency") != data.label_counts.weigh("balanced")
