"""The joint interval and its p, and how many seeds and images would have shown a difference."""

import math

import numpy as np
import pytest

from segkit.ablation.statistics.chance.bootstrap import find_interval
from segkit.ablation.statistics.chance.joint import SMALLEST_P, ImagePart, joint_interval, joint_p
from segkit.ablation.statistics.chance.needed import MOST_SEEDS, find_images_needed, find_seeds_needed
from segkit.ablation.statistics.chance.seeds import SeedPart


def draw_images(value=0.02, spread=0.004, units=50, replicates=4000, seed=0):
    samples = np.random.default_rng(seed).normal(value, spread, replicates)
    return ImagePart(samples, value, units)


# The interval and p.


def test_half_widths_add_as_squares():
    images, seeds = draw_images(), SeedPart(0.003, 6)
    low, high = find_interval(images.samples, images.value, units=images.units, level=0.95)
    around = 2.446912 * 0.003  # Student's t with 6 degrees of freedom
    found = joint_interval(images.value, images, seeds, 0.95)
    assert found[0] == pytest.approx(0.02 - math.hypot(0.02 - low, around), rel=1e-6)
    assert found[1] == pytest.approx(0.02 + math.hypot(high - 0.02, around), rel=1e-6)


@pytest.mark.parametrize("value", [0.02, -0.02, 0.005])
@pytest.mark.parametrize("error", [0.0, 0.003, 0.02])
def test_p_is_where_the_interval_touches_zero(value, error):
    images, seeds = draw_images(value), SeedPart(error, 6)
    p = joint_p(value, images, seeds)
    assert SMALLEST_P <= p < 1
    low, high = joint_interval(value, images, seeds, 1 - 0.999 * p)
    assert p == SMALLEST_P or low <= 0 <= high
    low, high = joint_interval(value, images, seeds, 1 - min(1, 1.001 * p))
    assert low > 0 or high < 0
    assert joint_p(0.0, images, seeds) == 1.0


@pytest.mark.parametrize("units", [2, 3, 5, 8, 20, 100])
def test_p_has_no_floor_by_units_or_replicates(units):
    """24.9 points on six images are not "no difference shown": beyond the replicates Student's t goes on."""
    images = ImagePart(np.random.default_rng(0).normal(0.25, 0.01, 1000), 0.25, units)
    p = joint_p(0.25, images, SeedPart(0.0, 4))
    further = joint_p(0.5, ImagePart(images.samples + 0.25, 0.5, units), SeedPart(0.0, 4))
    assert further < p or p == SMALLEST_P
    assert p < {2: 0.1, 3: 0.01}.get(units, 0.001)


@pytest.mark.parametrize("units", [3, 6, 40])
def test_half_widths_grow_with_the_level_without_a_jump(units):
    images = draw_images(units=units, replicates=1000)
    levels = 1 - np.geomspace(0.5, 1e-5, 60)
    below, above = np.array([images.half_widths(level) for level in levels]).T
    assert (np.diff(below) >= 0).all() and (np.diff(above) >= 0).all()
    assert (below[1:] < 2 * below[:-1]).all() and (above[1:] < 2 * above[:-1]).all()


# How many would have been needed.


def test_so_many_seeds_and_no_fewer():
    part = SeedPart(0.01, 6)

    def reach(number):
        return math.hypot(0.004, SeedPart(0.01 * math.sqrt(3 / number), 3 * (number - 1)).half_width(0.95))

    needed = find_seeds_needed(0.011, 0.004, part, seeds=3, level=0.95)
    assert reach(needed) < 0.011 <= reach(needed - 1)
    assert find_seeds_needed(0.0039, 0.004, part, seeds=3, level=0.95) is None  # images alone hide it
    assert find_seeds_needed(0.002, 0.0, part, seeds=3, level=0.95) in (None, MOST_SEEDS)


def test_so_many_images():
    needed = find_images_needed(0.011, 0.02, 0.004, units=50)
    assert math.hypot(0.02 * math.sqrt(50 / needed), 0.004) <= 0.011
    assert math.hypot(0.02 * math.sqrt(50 / (needed - 1)), 0.004) > 0.011
    assert find_images_needed(0.004, 0.02, 0.004, units=50) is None
