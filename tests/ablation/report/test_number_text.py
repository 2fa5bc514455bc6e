"""How numbers are written, above all where they are small, missing or negative."""

import math
from dataclasses import replace

import pytest

from segkit.ablation.report.number_text import (
    amount_text,
    difference_text,
    interval_text,
    p_text,
    percent_text,
    points_text,
    score_text,
    spread_text,
)
from segkit.ablation.statistics.difference import Difference, Score

FOUND = Difference(
    "ohem_ce", 0.012, (0.003, 0.021), 0.004, 0.012, (0.01, 0.014), (0.004, 0.0041), 0.0028, "better"
)


@pytest.mark.parametrize(
    ("share", "text"), [(0.6044, "60.4"), (0.0, "0.0"), (1.0, "100.0"), (math.nan, "-"), (None, "-")]
)
def test_percent(share, text):
    assert percent_text(share) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.012, "+1.2"), (-0.003, "−0.3"), (-0.0001, "0.0"), (0.0, "0.0"), (math.nan, "-")]
)
def test_points(share, text):
    assert points_text(share) == text


def test_interval():
    assert interval_text((-0.0124, 0.5)) == "[−1.2, +50.0]"


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (Score(0.604, 0.0049, (0.6, 0.608)), "60.4 ± 0.5"),
        (Score(0.604, None, (0.604,)), "60.4"),
        (Score(math.nan, None, (math.nan,)), "-"),
        (None, "-"),
    ],
)
def test_score(score, text):
    assert score_text(score) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0124, "0.012"), (0.00031, "0.0003"), (1e-6, "<0.0001"), (1.0, "1.000"), (None, "-")]
)
def test_p(p, text):
    assert p_text(p) == text


@pytest.mark.parametrize(
    ("value", "text"), [(3120.4, "3,120"), (41.52, "41.5"), (2.0789, "2.08"), (0.0, "0.00"), (None, "-")]
)
def test_amount(value, text):
    assert amount_text(value) == text


def test_a_difference_has_one_decimal():
    text = difference_text(FOUND)
    assert (text.value, text.interval, text.p_holm, text.noise, text.images) == (
        "+1.2",
        "[+0.3, +2.1]",
        "0.012",
        "±0.3",
        "±0.4",
    )


def test_a_difference_gets_decimals_until_nothing_but_0_is_written_as_0():
    text = difference_text(replace(FOUND, value=0.0021, interval=(0.0003, 0.004)))
    assert (text.value, text.interval) == ("+0.21", "[+0.03, +0.40]")


@pytest.mark.parametrize(
    ("score", "digits", "text"),
    [
        (Score(297.4, 4.2, (1.0, 2.0)), None, "297 ± 4"),
        (Score(41.52, None, (41.52,)), None, "41.5"),
        (Score(0.3123, 0.0042, (1.0, 2.0)), 3, "0.312 ± 0.004"),
        (None, None, "-"),
    ],
)
def test_an_amount_with_its_spread(score, digits, text):
    assert spread_text(score, digits) == text


@pytest.mark.parametrize(
    "found",
    [
        FOUND,
        replace(
            FOUND, value=-0.0021, interval=(-0.004, -0.0003), per_seed=(-0.002, -0.0022), verdict="worse"
        ),
    ],
)
def test_the_sentence_of_a_difference_has_the_same_numbers(found):
    text = difference_text(found)
    for number in (text.value, *text.interval.strip("[]").split(", "), text.noise.strip("±")):
        assert number.strip("+−") in found.words
