"""What a comparison is careful about: images that are alike, trainings that collapsed."""

from dataclasses import replace

import numpy as np
import pytest

from segkit.ablation.statistics.cautions import autocorrelation, find_influences
from segkit.ablation.statistics.metrics import ACCURACY, MIOU
from segkit.ablation.statistics.pairs import count_pairs
from segkit.ablation.statistics.run_counts import count_matrices
from segkit.ablation.statistics.spreads import WideSpread, find_wide_spreads, say_spreads
from segkit.ablation.statistics.statistics import (
    class_differences,
    compare_metrics,
    compare_to_baseline,
    list_warnings,
)
from tests.ablation.statistics.simulation import Case, draw_study


def cautions_of(case, *, groups=None, seed=0):
    study = draw_study(case, np.random.default_rng(seed))
    return compare_to_baseline(study, "v0", groups=groups, replicates=100).warnings


def test_a_variant_that_is_another_again_is_named_and_asked_once():
    """What a copy varies by is no second estimate: intervals are those of the study without it."""
    study = draw_study(Case(variants=3, seeds=3, images=30), np.random.default_rng(1))
    alone = compare_to_baseline(study, "v0", replicates=100)
    again = compare_to_baseline({**study, "again": study["v2"]}, "v0", replicates=100)
    assert set(again.warnings) - set(alone.warnings) == {
        "again and v2 are equal in every image, with every seed: what they differ in has changed no prediction, and "
        "for what seeds do they count as one"
    }
    before = {found.variant: found for found in alone.differences}
    after = {found.variant: found for found in again.differences}
    assert {name: after[name].p for name in before} == {name: found.p for name, found in before.items()}
    assert (after["again"].p, after["again"].verdict) == (after["v2"].p, after["v2"].verdict)
    classes = [
        class_differences(runs, "v0", replicates=200) for runs in (study, {**study, "again": study["v2"]})
    ]
    np.testing.assert_array_equal(classes[0]["v2"].lower, classes[1]["again"].lower)


@pytest.mark.parametrize("changed", [{0: "v2"}, {0: "v2", 1: "v2", 2: "v1"}])
def test_runs_that_are_equal_with_some_seeds_are_two_variants(changed):
    study = draw_study(Case(variants=2, seeds=3, images=30), np.random.default_rng(1))
    mixed = {**study, "again": {seed: study[name][seed] for seed, name in changed.items()}}
    assert not [
        text for text in compare_to_baseline(mixed, "v0", replicates=100).warnings if "count as one" in text
    ]


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


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_network_that_gave_no_numbers_is_named(wrong):
    """Its pixels count as the first class, so that every score but the cross-entropy looks like one."""
    study = draw_study(Case(variants=1), np.random.default_rng(0))
    images = len(study["v1"][2])
    runs = {
        variant: {seed: replace(count_matrices(run), ce=np.ones(images)) for seed, run in row.items()}
        for variant, row in study.items()
    }
    assert not [text for text in compare_to_baseline(runs, "v0", replicates=100).warnings if "finite" in text]
    runs["v1"][2].ce[3] = wrong
    found = [text for text in compare_to_baseline(runs, "v0", replicates=100).warnings if "finite" in text]
    assert len(found) == 1 and found[0].startswith(
        "v1, seed 2: the cross-entropy of some images is infinite, or"
    )


@pytest.mark.parametrize("variant", ["v0", "v1"])
def test_two_seeds_of_three_that_are_one_training_are_named(variant):
    study = draw_study(Case(variants=2), np.random.default_rng(0))
    assert not [text for text in compare_to_baseline(study, "v0", replicates=100).warnings if "equal" in text]
    study[variant][2] = study[variant][0].copy()
    found = [text for text in compare_to_baseline(study, "v0", replicates=100).warnings if "equal" in text]
    assert found == [
        f"seeds 0, 2 of {variant} are equal in every image: they are one training, counted as 2, so that intervals are "
        "too narrow and p values too small -> train them anew, or leave all but one out"
    ]


def list_spreads(table):
    scores = {f"v{v}": dict(enumerate(row)) for v, row in enumerate(table)}
    return say_spreads(find_wide_spreads(scores, MIOU, baseline="v0"), baseline="v0")


def test_the_run_to_look_at_is_the_odd_one_not_that_of_a_seed_which_is_good_for_all():
    [said] = list_spreads(
        [
            [0.500, 0.501, 0.700, 0.500],
            [0.510, 0.512, 0.711, 0.510],
            [0.490, 0.491, 0.690, 0.491],
            [0.500, 0.440, 0.701, 0.502],
            [0.530, 0.531, 0.729, 0.531],
        ]
    )
    assert said.startswith(
        "v3 varies more from seed to seed than the others, by mIoU 53 times as much (44.0 with seed 1, where 50.2 was "
        "to be expected from its other seeds and from the others): look at that run; "
    )


def test_of_two_seeds_neither_is_the_odd_one():
    [said] = list_spreads([[0.5, 0.51], [0.5, 0.512], [0.501, 0.511], [0.52, 0.53], [0.2, 0.6], [0.5, 0.51]])
    assert " times as much (20.0 and 60.0 with seeds 0 and 1): look at these runs; " in said


def test_beside_one_that_varies_more_still_another_varies_more_than_the_others():
    random = np.random.default_rng(0)
    table = 0.5 + 0.001 * random.normal(size=(9, 4)) * np.array([1, 1, 1, 30, 1, 300, 1, 1, 1])[:, None]
    said = list_spreads(table.tolist())
    assert [text.split()[0] for text in said] == ["v3", "v5"]
    assert all(float(text.partition("by mIoU ")[2].split()[0]) > 10 for text in said)


def test_far_more_is_not_told_in_millions():
    [said] = list_spreads([[0.0] * 3, [1e-9, 0.0, 0.0], [0.2, 0.3, 0.25], [0.0, 2e-9, 0.0], [0.0, 0.0, 2e-9]])
    assert said.startswith("v2 varies more from seed to seed than the others, by mIoU far more (")


def test_a_variant_is_named_once_for_all_metrics():
    """It would be told of it eight times, and the seven others of theirs."""

    def spread(variant, title, seed, *, ratio=5.0, apart=True):
        return WideSpread(variant, title, ratio, (seed,), ("10.0",), "20.0", apart)

    spreads = [
        spread("a", "mIoU", 1),
        spread("b", "mIoU", 0, apart=False),
        spread("a", "accuracy", 1, ratio=1.84),
        spread("b", "accuracy", 2),
    ]
    whence = "was to be expected from its other seeds and from the others"
    first = f"by mIoU 5 times as much (10.0 with seed {{}}, where 20.0 {whence}), "
    assert say_spreads(spreads, baseline="ce") == [
        f"a varies more from seed to seed than the others, {first.format(1)}by accuracy 1.8 times (10.0 with seed 1, "
        "not 20.0): look at that run; what seeds do to it is told by its own seeds alone, and of the others without it",
        f"b varies more from seed to seed than the others, {first.format(0)}by accuracy 5 times (10.0 with seed 2, "
        "not 20.0): look at these runs; by accuracy what seeds do to it is told by its own seeds alone, and of the "
        "others without it",
    ]
    assert say_spreads(spreads[:1], baseline="a")[0].endswith(
        "look at that run; every difference is to it, and as uncertain"
    )


def test_what_is_the_same_by_every_metric_is_said_once():
    study = draw_study(Case(variants=4, images=200, frames=10, spread=30.0), np.random.default_rng(0))
    by_metric = compare_metrics(study, "v0", [MIOU, ACCURACY], replicates=100).comparisons
    assert all(len(comparison.warnings) > 1 and comparison.correlated for comparison in by_metric)
    said = list_warnings(by_metric)
    assert len([text for text in said if "alike" in text]) == 1
    [spread] = [text for text in said if "varies more" in text]
    assert ", by mIoU " in spread and ", by accuracy " in spread
    assert len(set(said)) == len(said)


def test_two_seeds_of_several_variants_are_said_to_be_few():
    """Of one variant alone the interval is a paired one, which needs no third seed to be right."""

    def said(variants, seeds):
        return [text for text in cautions_of(Case(variants=variants, seeds=seeds)) if "third seed" in text]

    [found] = said(2, 2)
    assert found.startswith(
        "two seeds (v1, v2) hardly tell whether v0 or a variant varies more than the others"
    )
    assert said(1, 2) == said(2, 3) == []
