"""What a comparison is careful about: images that are alike, trainings that collapsed."""

import numpy as np
import pytest

from segkit.ablation.statistics.cautions import autocorrelation, find_influences
from segkit.ablation.statistics.metrics import MIOU
from segkit.ablation.statistics.pairs import count_pairs
from segkit.ablation.statistics.statistics import compare_to_baseline
from tests.ablation.statistics.simulation import Case, draw_study


def cautions_of(case, *, groups=None, seed=0):
    study = draw_study(case, np.random.default_rng(seed))
    return compare_to_baseline(study, "v0", groups=groups, replicates=100).warnings


def test_influences_equal_the_loop():
    study = draw_study(Case(variants=1, seeds=2, images=7), np.random.default_rng(0))
    found = count_pairs(study, "v0", None)
    [pair] = found.pairs
    runs = [found.counts[variant][s] for variant in ("v1", "v0") for s in pair.seeds]
    expected = []
    for unit in range(7):
        scores = [
            [float(MIOU.score(np.delete(run, left_out, axis=0).sum(axis=0))) for run in runs]
            for left_out in ([], [unit])
        ]
        whole, without = ((row[0] + row[1] - row[2] - row[3]) / 2 for row in scores)
        expected.append(whole - without)
    np.testing.assert_allclose(find_influences(found, pair, MIOU), expected, atol=1e-12)


def test_autocorrelation_equals_numpys():
    values = np.random.default_rng(0).normal(size=50)
    centred = values - values.mean()
    full = np.correlate(centred, centred, "full")[49:]
    assert [autocorrelation(values, lag) for lag in (1, 2, 7)] == pytest.approx((full / full[0])[[1, 2, 7]])
    assert autocorrelation(np.ones(9), 1) == 0.0


def test_frames_that_are_alike_are_noticed_until_they_are_grouped():
    case = Case(variants=2, images=200, frames=10)
    [found] = [text for text in cautions_of(case) if "alike" in text]
    assert found.startswith(
        "images that follow each other are alike (the correlation of what they do to a difference"
    )
    length = int(found.partition("or about ")[2].partition(" in a row")[0])
    assert 5 <= length <= 15
    assert not [text for text in cautions_of(case, groups=np.arange(200) // 10) if "alike" in text]


def test_images_that_are_independent_are_not_called_alike():
    said = [
        text for seed in range(30) for text in cautions_of(Case(variants=2), seed=seed) if "alike" in text
    ]
    assert said == []


def test_a_training_that_collapsed_is_named():
    study = draw_study(Case(variants=1), np.random.default_rng(0))
    run = study["v1"][2]
    labels = run.sum(axis=2)
    run[:] = 0
    run[:, :, 4] = labels
    found = [
        text for text in compare_to_baseline(study, "v0", replicates=100).warnings if "collapsed" in text
    ]
    assert found == [
        "v1, seed 2, predicts nearly nothing but class 4: that training has collapsed, and its score is in the mean"
    ]
