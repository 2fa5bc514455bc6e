"""The joint interval, its p, and what seeds do, against slow obvious versions; SciPy's distributions as oracles."""

import itertools
import math
import statistics

import numpy as np
import pytest

from segkit.ablation.statistics.bootstrap import find_interval
from segkit.ablation.statistics.joint import (
    SMALLEST_P,
    ImagePart,
    SeedPart,
    find_seed_parts,
    find_spreads,
    find_variation,
    joint_interval,
    joint_p,
)
from segkit.ablation.statistics.needed import MOST_SEEDS, find_images_needed, find_seeds_needed


def draw_scores(variants=4, seeds=3, spread=0.01, seed=0):
    random = np.random.default_rng(seed)
    common = random.normal(0, 0.02, seeds)
    return {
        f"v{v}": {s: 0.5 + 0.01 * v + common[s] + random.normal(0, spread) for s in range(seeds)}
        for v in range(variants)
    }


def draw_images(value=0.02, spread=0.004, units=50, replicates=4000, seed=0):
    samples = np.random.default_rng(seed).normal(value, spread, replicates)
    return ImagePart(samples, value, units)


# What seeds do.


@pytest.mark.parametrize(("variants", "seeds"), [(2, 2), (2, 5), (4, 3), (7, 4)])
def test_the_mean_square_is_that_of_a_two_way_table(variants, seeds):
    """By the textbook's sums of a full table: what is left after the row's and the column's mean."""
    scores = draw_scores(variants, seeds)
    table = [[row[s] for s in range(seeds)] for row in scores.values()]
    grand = statistics.fmean(itertools.chain(*table))
    rows = [statistics.fmean(row) for row in table]
    columns = [statistics.fmean(column) for column in zip(*table, strict=True)]
    left = [(table[v][s] - rows[v] - columns[s] + grand) ** 2 for v in range(variants) for s in range(seeds)]
    found = find_variation(scores)
    assert found.freedom == (variants - 1) * (seeds - 1)
    assert found.mean_square == pytest.approx(math.fsum(left) / found.freedom, rel=1e-9)


def test_two_variants_are_the_paired_t():
    """Half the variance of the differences, so that sqrt(2 MS / S) is their standard error."""
    stats = pytest.importorskip("scipy.stats")
    scores = draw_scores(2, 5)
    differences = [scores["v1"][s] - scores["v0"][s] for s in range(5)]
    part = find_seed_parts(scores, "v0")["v1"]
    assert part.freedom == 4
    value = statistics.fmean(differences)
    expected = stats.ttest_rel(list(scores["v1"].values()), list(scores["v0"].values())).pvalue
    nothing = ImagePart(np.full(1000, value), value, 1000)
    assert joint_p(value, nothing, part) == pytest.approx(expected, rel=1e-3)


def test_seeds_that_are_missing_leave_fewer_degrees_of_freedom():
    scores = draw_scores(4, 4)
    del scores["v1"][0], scores["v2"][3]
    found = find_variation(scores)
    assert found.freedom == 14 - (4 + 4 - 1)
    assert find_variation({"v0": {0: 0.5}, "v1": {0: 0.6}}) is None
    assert find_variation({"v0": {0: 0.5, 1: 0.6}}) is None  # nothing to tell a seed from a variant by
    assert find_variation({}) is None


def test_a_variant_is_never_said_to_vary_less_than_its_own_pairs():
    scores = draw_scores(4, 3)
    scores["v3"] = {0: 0.45, 1: 0.6, 2: 0.5}
    parts = find_seed_parts(scores, "v0")
    own = statistics.stdev([scores["v3"][s] - scores["v0"][s] for s in range(3)]) / math.sqrt(3)
    together = math.sqrt(2 * find_variation(scores).mean_square / 3)
    assert own > together
    assert parts["v3"].standard_error == pytest.approx(own)
    assert parts["v1"].standard_error == pytest.approx(together)
    assert {part.freedom for part in parts.values()} == {6}


def test_one_shared_seed_tells_nothing():
    scores = draw_scores(3, 3)
    scores["v1"] = {0: 0.5, 7: 0.6}
    parts = find_seed_parts(scores, "v0")
    assert parts["v1"] is None and parts["v2"] is not None


def test_the_one_that_varies_is_told_from_the_others():
    scores = draw_scores(5, 5)
    assert max(find_spreads(scores).values()) < 4
    scores["v2"] = {s: score + 0.1 * (s == 3) for s, score in scores["v2"].items()}
    spreads = find_spreads(scores)
    assert max(spreads, key=spreads.get) == "v2" and spreads["v2"] > 4
    assert find_spreads({v: dict.fromkeys(range(3), 0.5) for v in "abc"}) == {}
    steady = {
        "a": dict.fromkeys(range(3), 0.5),
        "b": dict.fromkeys(range(3), 0.6),
        "c": {0: 0.1, 1: 0.2, 2: 0.5},
    }
    assert find_spreads(steady)["c"] == math.inf


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
