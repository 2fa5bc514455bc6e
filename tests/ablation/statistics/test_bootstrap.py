"""Resampling, interval and p against slow obvious versions that use the same random draws."""

import math

import numpy as np
import pytest

from segkit.ablation.statistics import bootstrap
from segkit.ablation.statistics.bootstrap import (
    find_interval,
    p_value,
    resample_iou,
)
from segkit.ablation.statistics.student import student_inside, student_quantile

# Upper 2.5 % points of Student's t, from the tables.
T_TABLE = {
    1: 12.7062,
    2: 4.30265,
    3: 3.18245,
    4: 2.77645,
    5: 2.57058,
    19: 2.09302,
    100: 1.98397,
    101: 1.98373,
}


def random_counts(runs, units, classes, seed):
    """Counts (runs, units, 3, classes) of runs on the same units, some units without some classes."""
    generator = np.random.default_rng(seed)
    labelled = generator.integers(1, 50, (units, classes)) * (generator.random((units, classes)) < 0.5)
    hits = generator.integers(0, labelled + 1, (runs, units, classes))
    predicted = hits + generator.integers(0, 20, (runs, units, classes))
    return np.stack([hits, np.broadcast_to(labelled, hits.shape), predicted], axis=2)


def resample_by_loop(counts, replicates, seed):
    """IoU [replicate][run][class] of lists of drawn units, None where the class is not counted."""
    runs, units, _, classes = counts.shape
    draws = np.random.Generator(np.random.PCG64(seed)).integers(0, units, size=(replicates, units))
    ever = [any(counts[0][unit][1][c] for unit in range(units)) for c in range(classes)]
    return [
        [[iou_by_loop(counts[run], drawn, c, ever[c]) for c in range(classes)] for run in range(runs)]
        for drawn in draws.tolist()
    ]


def iou_by_loop(units, drawn, c, ever_labelled):
    hits = sum(int(units[unit][0][c]) for unit in drawn)
    labelled = sum(int(units[unit][1][c]) for unit in drawn)
    predicted = sum(int(units[unit][2][c]) for unit in drawn)
    if ever_labelled and not labelled:
        return None
    union = labelled + predicted - hits
    return hits / union if union else None


def find_p(samples, value, *, units):
    """Two-sided p of `value` against 0, from its replicates: the level at which `find_interval` touches 0."""
    if value == 0.0:
        return 1.0
    beyond = samples <= 0.0 if value > 0.0 else samples >= 0.0
    return p_value(int(beyond.sum()), len(samples), units)


@pytest.mark.parametrize("units", [2, 5, 9])
def test_resampled_iou_equals_the_loop(units):
    counts = random_counts(runs=4, units=units, classes=5, seed=units)
    counts[:, :, 1, 4] = counts[:, :, 0, 4] = 0  # never labelled: predicted by some runs, in some units
    counts[1:3, :, 2, 4] = 0
    expected = np.array(resample_by_loop(counts, 60, seed=3), dtype=float)
    assert np.isnan(expected).any() and not np.isnan(expected).all()
    found = np.concatenate(list(resample_iou(counts, replicates=60, seed=3)))
    np.testing.assert_array_equal(found, expected)


def test_a_class_absent_from_a_replicate_is_left_out_for_all_runs():
    counts = np.zeros((2, 2, 3, 2), dtype=np.int64)
    counts[:, :, :, 0] = 10
    counts[:, 0, :, 1] = 10  # class 1 is labelled in unit 0 only
    counts[1, 1, 2, 1] = 1  # run 1 predicts it for one pixel of unit 1
    found = np.concatenate(list(resample_iou(counts, replicates=40, seed=0)))
    absent = np.isnan(found[:, 1, 1])
    assert 0 < absent.sum() < 40
    np.testing.assert_array_equal(np.isnan(found[:, 0, 1]), absent)
    assert not np.isnan(found[:, :, 0]).any()


def test_a_class_never_labelled_follows_the_definition():
    counts = np.zeros((2, 2, 3, 2), dtype=np.int64)
    counts[:, :, :, 0] = 10
    counts[1, :, 2, 1] = 1
    found = np.concatenate(list(resample_iou(counts, replicates=5, seed=0)))
    assert np.isnan(found[:, 0, 1]).all()
    assert (found[:, 1, 1] == 0).all()


def test_chunks_change_nothing(monkeypatch):
    counts = random_counts(runs=2, units=7, classes=3, seed=0)
    whole = list(resample_iou(counts, replicates=50, seed=1))
    monkeypatch.setattr(bootstrap, "CHUNK_CELLS", 11 * (7 + 2 * 3 * 3))
    parts = list(resample_iou(counts, replicates=50, seed=1))
    assert [len(part) for part in whole] == [50]
    assert [len(part) for part in parts] == [11, 11, 11, 11, 6]
    np.testing.assert_array_equal(np.concatenate(parts), whole[0])


def test_the_draws_do_not_depend_on_the_runs():
    counts = random_counts(runs=6, units=7, classes=3, seed=0)
    every = np.concatenate(list(resample_iou(counts, replicates=30, seed=1)))
    one = np.concatenate(list(resample_iou(counts[[4]], replicates=30, seed=1)))
    np.testing.assert_array_equal(every[:, [4]], one)


def test_counts_are_exact_beyond_float32():
    counts = np.full((1, 2, 3, 1), 2**40 + 1)
    counts[:, :, 0] -= 1
    found = np.concatenate(list(resample_iou(counts, replicates=4, seed=0)))
    assert (found == 2**41 / (2**41 + 4)).all()


@pytest.mark.parametrize(("freedom", "t"), T_TABLE.items())
def test_student_equals_the_tables(freedom, t):
    assert student_inside(t, freedom) == pytest.approx(0.95, abs=3e-6)
    assert student_quantile(0.95, freedom) == pytest.approx(t, rel=1e-4)


@pytest.mark.parametrize("freedom", [1, 2, 3, 6, 7, 50])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.7, 5.0])
def test_student_equals_the_integral(freedom, t):
    x = np.linspace(-t, t, 20_001)
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    density = scale * (1 + x**2 / freedom) ** (-(freedom + 1) / 2)
    area = (density.sum() - density[0]) * (x[1] - x[0])  # the density is symmetric: the trapezoid rule
    assert student_inside(t, freedom) == pytest.approx(area, abs=1e-7)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 8, 24, 199])
@pytest.mark.parametrize("level", [0.0, 0.3, 0.8, 0.95, 0.999, 1 - 1e-6])
def test_student_quantile_equals_scipys(level, freedom):
    stats = pytest.importorskip("scipy.stats")
    assert student_quantile(level, freedom) == pytest.approx(stats.t.ppf(0.5 + level / 2, freedom), rel=1e-6)


def test_p_of_many_units_is_twice_the_tail():
    assert p_value(249, 9999, units=10**6) == pytest.approx(0.05, abs=1e-5)
    assert p_value(0, 9999, units=10**6) == pytest.approx(0.0002, abs=1e-5)


def test_p_of_few_units_is_larger():
    """Normal quantile 1.959964 at a tail of 2.5 %, times sqrt(2 / 3): 1 - P(|T_2| < 1.600304) by the closed form."""
    t = 1.959964 * math.sqrt(2 / 3)
    assert p_value(249, 9999, units=3) == pytest.approx(1 - t / math.sqrt(2 + t**2), abs=1e-6)
    assert p_value(249, 9999, units=3) > 0.2


def test_p_grows_with_the_count_up_to_one():
    values = [p_value(beyond, 100, units=8) for beyond in range(101)]
    assert values == sorted(values)
    assert 0 < values[0] < values[40] < 1
    assert values[50:] == [1.0] * 51
    assert p_value(0, 100, units=1) == 1.0


@pytest.mark.parametrize("units", [4, 5, 20, 1000])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_holds_what_p_does_not_reject(units, level):
    samples = np.random.default_rng(units).normal(0.02, 0.01, 9_999)
    low, high = find_interval(samples, 0.02, units=units, level=level)
    assert -1 < low < 0.02 < high < 1
    for end, inward in ((low, 1), (high, -1)):
        assert find_p(samples - end, 0.02 - end, units=units) >= 1 - level  # the end itself is possible
        beyond = end - inward * 1e-9
        assert find_p(samples - beyond, 0.02 - beyond, units=units) < 1 - level


def test_interval_by_hand():
    """99 replicates and a million units: p = 2 (beyond + 1) / 100 >= 0.1 from 4 beyond, so the 4th from each end."""
    samples = np.random.default_rng(0).permutation(np.arange(1, 100)) / 100
    low, high = find_interval(samples, 0.5, units=10**6, level=0.899)
    assert (low, high) == (0.05, 0.95)
    low, high = find_interval(samples, 0.5, units=10**6, level=0.901)
    assert (low, high) == (0.04, 0.96)


def test_the_interval_contains_the_value_even_if_no_replicate_does():
    samples = np.linspace(0.1, 0.2, 1000)
    low, high = find_interval(samples, -0.3, units=50, level=0.95)
    assert low == -0.3 and 0.19 < high < 0.2


@pytest.mark.parametrize(("units", "replicates"), [(1, 10_000), (3, 10_000), (50, 20)])
def test_too_few_to_say_anything(units, replicates):
    samples = np.linspace(0.1, 0.2, replicates)
    assert find_interval(samples, 0.15, units=units, level=0.95) == (-1.0, 1.0)
