"""The named learning-rate schedules: values by hand, and one contract for every name."""

import itertools
import math

import pytest

from segkit import schedule
from segkit.registry import SCHEDULES

NAMES = SCHEDULES.names()


def test_the_names_are_known():
    assert NAMES == ["constant", "cosine", "linear", "poly", "step"]


@pytest.mark.parametrize("name", NAMES)
def test_factor_starts_at_one_and_never_rises(name):
    shape = SCHEDULES.get(name)
    factors = [shape(i / 100) for i in range(101)]
    assert factors[0] == 1.0
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors))
    assert all(type(factor) is float and 0.0 <= factor <= 1.0 for factor in factors)


@pytest.mark.parametrize("name", NAMES)
def test_factor_is_a_function_of_progress_only(name):
    shape = SCHEDULES.get(name)
    forward = [shape(i / 10) for i in range(11)]
    backward = [shape(i / 10) for i in reversed(range(11))]
    assert forward == backward[::-1]


@pytest.mark.parametrize(
    ("name", "params", "progress", "factor"),
    [
        ("constant", {}, 0.7, 1.0),
        ("poly", {}, 0.5, 0.5**0.9),
        ("poly", {"power": 2.0}, 0.5, 0.25),
        ("poly", {"power": 2.0, "final": 0.2}, 0.5, 0.2 + 0.8 * 0.25),
        ("linear", {}, 0.25, 0.75),
        ("linear", {"final": 0.1}, 0.5, 0.55),
        ("cosine", {}, 0.5, 0.5),
        ("cosine", {}, 1 / 3, 0.75),
        ("cosine", {"final": 0.5}, 0.5, 0.75),
        ("step", {}, 0.59, 1.0),
        ("step", {}, 0.6, 0.1),
        ("step", {}, 0.9, 0.01),
        ("step", {"at": [0.5], "gamma": 0.2}, 0.5, 0.2),
    ],
)
def test_factors_by_hand(name, params, progress, factor):
    assert SCHEDULES.get(name)(progress, **params) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize("name", ["poly", "linear", "cosine"])
@pytest.mark.parametrize("final", [0.0, 0.01, 1.0])
def test_final_is_where_it_ends(name, final):
    assert SCHEDULES.get(name)(1.0, final=final) == pytest.approx(final, abs=1e-15)


def test_poly_is_what_deeplab_computes():
    total, base = 30_000, 0.007
    for iteration in (0, 1, 12_345, 29_999):
        rate = schedule.learning_rate(iteration, base=base, total=total, shape=SCHEDULES.get("poly"))
        assert rate == pytest.approx(base * (1 - iteration / total) ** 0.9, rel=1e-12)


def test_cosine_is_half_a_period():
    for iteration in range(20):
        rate = schedule.learning_rate(iteration, base=1.0, total=20, shape=SCHEDULES.get("cosine"))
        assert rate == pytest.approx((1 + math.cos(math.pi * iteration / 20)) / 2, abs=1e-15)
