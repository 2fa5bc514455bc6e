"""What runs can be compared by: each score against loops over pixels, and comparisons by them."""

import numpy as np
import pytest

from segkit.ablation.statistics.counts import class_counts
from segkit.ablation.statistics.metrics import MIOU, WHOLE, check_metric, find_metric
from segkit.ablation.statistics.statistics import accuracy, compare_to_baseline, labelled_miou
from segkit.errors import ConfigError
from tests.ablation.statistics.simulation import Case, draw_study

CLASSES = [f"c{n}" for n in range(11)]
NAMES = [*WHOLE, "iou/c2", "dice/c2", "recall/c2"]


def score_by_loop(name, matrix):
    """From the matrix (C, C) of a set, one class at a time."""
    kind, _, wanted = name.partition("/")
    values = []
    for c, label in enumerate(CLASSES):
        hits, labels, predictions = int(matrix[c, c]), int(matrix[c].sum()), int(matrix[:, c].sum())
        if labels and wanted in ("", label):
            value = {
                "iou": hits / (labels + predictions - hits),
                "dice": 2 * hits / (labels + predictions),
                "recall": hits / labels,
            }[{"miou": "iou", "mdice": "dice", "macc": "recall"}.get(kind, kind)]
            values.append(value)
    return sum(values) / len(values)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "accuracy"])
def test_scores_equal_the_loop(name):
    run = draw_study(Case(variants=1, seeds=1, images=9), np.random.default_rng(0))["v1"][0]
    run[:, 5] = 0  # labelled nowhere, and predicted
    found = find_metric(name, CLASSES).score(class_counts(run).sum(axis=0))
    assert float(found) == pytest.approx(score_by_loop(name, run.sum(axis=0)), abs=1e-12)


def test_scores_equal_those_of_the_whole_set():
    run = draw_study(Case(variants=1, seeds=1, images=9), np.random.default_rng(0))["v1"][0]
    counts = class_counts(run).sum(axis=0)
    assert float(MIOU.score(counts)) == pytest.approx(labelled_miou(run), abs=1e-15)
    assert float(WHOLE["accuracy"].score(counts)) == pytest.approx(accuracy(run), abs=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_scores_of_many_sets_at_once_and_of_none(name):
    run = draw_study(Case(variants=1, seeds=1, images=9), np.random.default_rng(0))["v1"][0]
    metric, counts = find_metric(name, CLASSES), class_counts(run)
    counts[3] = 0
    many = metric.score(counts.reshape(3, 3, 3, 11))
    alone = [float(metric.score(one)) for one in counts]
    np.testing.assert_array_equal(many.ravel(), alone)
    assert np.isnan(alone[3])


@pytest.mark.parametrize("name", NAMES)
def test_a_gain_is_found_by_every_metric(name):
    study = draw_study(Case(variants=2, images=80, effect=1.0), np.random.default_rng(1))
    comparison = compare_to_baseline(study, "v0", replicates=300, metric=find_metric(name, CLASSES))
    same, better = comparison.differences
    assert (same.verdict, better.verdict) == ("not shown", "better")
    matrices = [study[variant][s].sum(axis=0) for variant in ("v2", "v0") for s in range(3)]
    if name != "accuracy":
        scores = [score_by_loop(name, matrix) for matrix in matrices]
        assert better.value == pytest.approx(sum(scores[:3]) / 3 - sum(scores[3:]) / 3, abs=1e-12)
    title = find_metric(name, CLASSES).title
    assert better.metric == title
    assert (f"points of {title}" in better.words) == (name != "miou")


def test_the_units_of_a_class_are_the_images_that_have_it():
    study = draw_study(Case(variants=1, images=40), np.random.default_rng(0))
    for runs in study.values():
        for run in runs.values():
            run[6:, 2] = 0
            run[:6, 2, 2] += 1
    comparison = compare_to_baseline(study, "v0", replicates=300, metric=find_metric("iou/c2", CLASSES))
    assert (comparison.groups, comparison.differences[0].units) == (6, 6)
    assert (
        "only 6 independent images or groups have what IoU of c2 is measured on: with"
        in comparison.warnings[0]
    )
    for runs in study.values():
        for run in runs.values():
            run[1:, 2] = 0
    with pytest.raises(
        ConfigError, match=r"^metrics: iou/c2: 1 independent image\(s\) or group\(s\) have what it"
    ):
        compare_to_baseline(study, "v0", replicates=300, metric=find_metric("iou/c2", CLASSES))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mIoU",
            "there is no metric 'mIoU', did you mean 'miou'? -> one of miou, mdice, macc, accuracy, iou/CLASS, ",
        ),
        ("iou", "there is no metric 'iou', did you mean 'iou/CLASS'? -> one of miou, mdice, "),
        ("iou/c22", "iou/c22: there is no class 'c22', did you mean 'c2'? -> one of c0, c1, "),
    ],
)
def test_a_metric_that_is_none(name, message):
    with pytest.raises(ConfigError) as caught:
        find_metric(name, CLASSES)
    assert str(caught.value).startswith(f"metrics: {message}")


def test_names_can_be_checked_without_the_classes():
    assert check_metric("iou/whatever") is None and check_metric("miou") is None
    assert check_metric("bogus/line").startswith("there is no metric 'bogus/line'")
