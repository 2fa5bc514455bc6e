"""Resampling, interval and p against slow obvious versions that use the same random draws."""

import math

import numpy as np
import pytest

from segkit.ablation.statistics.chance import bootstrap
from segkit.ablation.statistics.chance.bootstrap import (
    draw_chunks,
    find_interval,
    p_value,
    resample,
)


def random_table(units, rows, columns, seed):
    return np.random.default_rng(seed).integers(0, 50, (units, rows, columns))


def resample_all(table, *, replicates, seed):
    """The sums (R, K, C) of every replicate, and the sizes of the chunks."""
    chunks = [
        resample(times, table)
        for times in draw_chunks(len(table), replicates=replicates, seed=seed, width=table[0].size)
    ]
    return np.concatenate(chunks), [len(chunk) for chunk in chunks]


def find_p(samples, value, *, units):
    """Two-sided p of `value` against 0, from its replicates: the level at which `find_interval` touches 0."""
    if value == 0.0:
        return 1.0
    beyond = samples <= 0.0 if value > 0.0 else samples >= 0.0
    return p_value(int(beyond.sum()), len(samples), units)


@pytest.mark.parametrize("units", [2, 5, 9])
def test_resampled_sums_equal_the_loop(units):
    table = random_table(units, 3, 4, seed=units)
    draws = np.random.Generator(np.random.PCG64(3)).integers(0, units, size=(60, units))
    expected = [sum(table[unit] for unit in drawn) for drawn in draws.tolist()]
    np.testing.assert_array_equal(resample_all(table, replicates=60, seed=3)[0], expected)


def test_chunks_change_nothing(monkeypatch):
    table = random_table(7, 3, 3, seed=0)
    whole, sizes = resample_all(table, replicates=50, seed=1)
    assert sizes == [50]
    monkeypatch.setattr(bootstrap, "CHUNK_CELLS", 11 * (7 + 3 * 3))
    parts, sizes = resample_all(table, replicates=50, seed=1)
    assert sizes == [11, 11, 11, 11, 6]
    np.testing.assert_array_equal(parts, whole)


def test_fewer_replicates_are_the_first_of_more():
    table = random_table(7, 3, 3, seed=0)
    more, fewer = (resample_all(table, replicates=count, seed=1)[0] for count in (50, 20))
    np.testing.assert_array_equal(more[:20], fewer)


def test_sums_are_exact_beyond_float32():
    table = np.full((2, 3, 1), 2**40 + 1)
    assert (resample_all(table, replicates=4, seed=0)[0] == 2**41 + 2).all()


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
