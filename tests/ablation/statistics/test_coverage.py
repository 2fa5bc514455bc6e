"""Whether the verdicts and intervals are true to their word: simulated studies whose truth is known.

Here are few studies of the most telling kinds, with bounds that chance passes in a thousand runs; the whole table, with
the bounds that the project sets itself, is heavy.
"""

import math

import numpy as np
import pytest

from tests.ablation.statistics.simulation import CASES, Case, compare, label_counts, simulate, true_difference


def bound(share, studies, sign):
    """Where a share that is `share` in truth lies with so many studies, 3 standard errors up or down."""
    return share + sign * 3 * math.sqrt(share * (1 - share) / studies)


def test_the_simulated_studies_are_what_they_are_said_to_be():
    counts = label_counts()
    assert counts.shape[1] == 11 and (counts.sum(axis=0) > 0).all()
    assert true_difference(0.1) == pytest.approx(0.02, abs=0.005)
    spread = [
        found.noise for found in compare(Case(variants=6, seeds=5), np.random.default_rng(0)).differences
    ]
    assert all(0.005 < noise < 0.03 for noise in spread)


@pytest.mark.parametrize("case", [Case(), Case(variants=6, spread=3.0)], ids=["alike", "one varies more"])
def test_without_an_effect_few_studies_call_a_variant_different(case):
    """An image interval beside a seed interval did in 14 of 100 studies of the first kind."""
    found = simulate(case, 80, replicates=300)
    assert found.wrong <= bound(0.06, 80, 1)


def test_intervals_hold_the_truth():
    for case in (Case(variants=1), Case(variants=1, images=10), Case(variants=1, seeds=10, images=20)):
        assert simulate(case, 150, replicates=300).held >= bound(0.95, 150, -1)


def test_a_gain_is_found_more_often_with_more_seeds():
    few, many = (simulate(Case(seeds=seeds, effect=0.1), 60, replicates=300).found for seeds in (3, 8))
    assert few < many and many > 0.5


def test_grouping_restores_what_correlated_images_lose():
    """Frames that look alike: of 20 clips, 15 frames each."""
    case = Case(variants=1, seeds=8, images=300, frames=15)
    grouped = simulate(case, 60, replicates=300)
    alone = simulate(Case(variants=1, seeds=8, images=300, frames=15, grouped=False), 60, replicates=300)
    assert grouped.held >= bound(0.95, 60, -1)
    assert alone.held < 0.85


@pytest.mark.heavy
@pytest.mark.parametrize("name", CASES)
def test_every_row_of_the_table_holds(name):
    """False verdicts at most 6 % and coverage at least 93 % in every row, give or take chance (2.3 standard errors);
    not the row that is not grouped, which is there to show why."""
    case, studies = CASES[name], 400
    if not case.grouped:
        pytest.skip("this row is there to show what grouping is for")
    found = simulate(case, studies, seed=1)
    error = 2.33 * math.sqrt(0.06 * 0.94 / studies)
    assert found.wrong <= 0.06 + error
    assert found.held >= 0.93 - error
