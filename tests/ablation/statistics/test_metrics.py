"""What runs can be compared by: each score against loops over pixels, and comparisons by them."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from segkit.ablation.statistics.chance.bootstrap import find_interval
from segkit.ablation.statistics.metrics import (
    CE,
    MIOU,
    WHOLE,
    boundary_f1,
    boundary_iou,
    check_metric,
    find_metric,
)
from segkit.ablation.statistics.run_counts import count_matrices
from segkit.ablation.statistics.statistics import class_differences, compare_metrics, compare_to_baseline
from segkit.errors import ConfigError
from segkit.evaluation.boundary_quality import BorderCounts, BoundaryMeter
from segkit.evaluation.calibration import CalibrationCounts
from segkit.evaluation.confidence_bins import BINS, UNIT
from segkit.evaluation.objects.counts import ObjectCounts
from tests.ablation.matrix_scores import accuracy, class_counts, labelled_miou
from tests.ablation.statistics.simulation import Case, draw_study

CLASSES = [f"c{n}" for n in range(11)]
NAMES = [
    *(name for name, metric in WHOLE.items() if metric.kind == "counts"),
    "iou/c2",
    "dice/c2",
    "recall/c2",
]


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
            "there is no metric 'mIoU', did you mean 'miou'? -> one of miou, mdice, macc, accuracy, ce, boundary_iou, ",
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


# Cross-entropy and borders.


def add_tables(study, *, ce=None, borders=None, tolerance=2.0):
    """The runs as counts, with sums of cross-entropy and counts of borders, by (variant, seed)."""
    return {
        variant: {
            s: dataclasses.replace(
                count_matrices(run),
                ce=None if ce is None else ce(variant, s, run),
                borders=None if borders is None else borders(variant, s, run),
                tolerance=None if borders is None else tolerance,
            )
            for s, run in row.items()
        }
        for variant, row in study.items()
    }


def draw_losses(gain):
    """Sums of cross-entropy per image: about 0.5 a pixel, less by `gain` for v2."""

    def draw(variant, s, run):
        random = np.random.default_rng([s, *variant.encode()])
        mean = 0.5 + 0.01 * s - (gain if variant == "v2" else 0.0)
        return run.sum(axis=(1, 2)) * np.random.default_rng(0).normal(mean, 0.05, len(run)) + random.normal(
            0, 20, len(run)
        )

    return draw


@pytest.mark.parametrize(("gain", "verdict"), [(0.1, "better"), (-0.1, "worse")])
def test_of_cross_entropy_less_is_better(gain, verdict):
    study = draw_study(Case(variants=2, images=60), np.random.default_rng(1))
    runs = add_tables(study, ce=draw_losses(gain))
    same, found = compare_to_baseline(runs, "v0", replicates=300, metric=CE).differences
    assert (same.verdict, found.verdict) == ("not shown", verdict)
    means = [[runs[v][s].ce.sum() / study[v][s].sum() for v in ("v2", "v0")] for s in range(3)]
    assert found.value == pytest.approx(sum(a - b for a, b in means) / 3, abs=1e-12)
    assert f"{verdict} than v0 by 0.1" in found.words and "nats of cross-entropy" in found.words
    assert found.interval[0] < found.value < found.interval[1]


def collapse(study, variants):
    """The study with these variants predicting the last class everywhere, with every seed."""
    for variant in variants:
        for run in study[variant].values():
            labels = run.sum(axis=2)
            run[:] = 0
            run[:, :, -1] = labels
    return study


def test_trainings_that_collapsed_alike_are_not_one_training():
    """They predict the same, and their cross-entropies differ: which is what they can be told by."""
    study = collapse(draw_study(Case(variants=2, images=60), np.random.default_rng(1)), ["v0", "v1", "v2"])
    runs = add_tables(study, ce=draw_losses(0.1))
    found = compare_to_baseline(runs, "v0", replicates=300, metric=CE)
    assert [one.verdict for one in found.differences] == ["not shown", "better"]
    assert not [text for text in found.warnings if "one training" in text or "count as one" in text]
    assert len([text for text in found.warnings if "collapsed" in text]) == 9
    found = compare_to_baseline(runs, "v0", replicates=300)
    assert [(one.verdict, one.value, one.interval, one.p) for one in found.differences] == [
        ("not shown", 0.0, (0.0, 0.0), 1.0)
    ] * 2


def test_a_variant_that_collapsed_with_every_seed_is_worse():
    study = collapse(draw_study(Case(variants=2, images=60), np.random.default_rng(1)), ["v1"])
    found, _ = compare_to_baseline(add_tables(study, ce=draw_losses(0.0)), "v0", replicates=300).differences
    assert (found.verdict, found.seeds) == ("worse", (0, 1, 2))
    without, _ = compare_to_baseline(study, "v0", replicates=300).differences
    assert without.verdict == "one seed"  # an older segkit did not keep what tells such trainings apart


def test_a_training_that_was_scored_twice_is_identical_but_for_rounding():
    study = draw_study(Case(variants=1, images=60), np.random.default_rng(1))
    study["v1"] = study["v0"]

    def score_anew(variant, s, run):
        return draw_losses(0.0)("v0", s, run) * (1.0 + 1e-6 * (variant == "v1"))

    found = compare_to_baseline(add_tables(study, ce=score_anew), "v0", replicates=300, metric=CE)
    assert [one.verdict for one in found.differences] == ["identical"]


def test_a_difference_of_cross_entropies_has_no_limit():
    study = draw_study(Case(variants=2, images=60), np.random.default_rng(0))
    runs = add_tables(study, ce=draw_losses(-3.0))
    _, found = compare_to_baseline(runs, "v0", replicates=300, metric=CE).differences
    assert found.interval[1] > found.value > 2.9 and found.interval[0] > 1
    few = find_interval(np.full(9, 0.5), 0.5, units=2, level=0.99, limit=CE.limit)
    assert few == (-math.inf, math.inf)


def test_scores_of_borders_are_those_of_the_meter():
    random = np.random.default_rng(3)
    target = (
        torch.from_numpy(random.integers(0, 3, (4, 8, 9))).repeat_interleave(3, 1).repeat_interleave(3, 2)
    )
    answer = target.clone()
    answer[:, 5:9, 5:9] = 1
    answer[answer == 3] = 0
    meter = BoundaryMeter(num_classes=4, ignore_index=255, tolerance=2.0)
    found = BorderCounts(meter.count(target, answer), 2.0)
    counts = found.counts.sum(dim=0).numpy().T  # (6, C)
    expected = found.scores()
    for name, values in (("boundary_iou", expected.iou), ("boundary_f1", expected.f1)):
        assert float(WHOLE[name].score(counts)) == pytest.approx(np.nanmean(values), abs=1e-12)
        of_class = find_metric(f"{name}/c1", [f"c{n}" for n in range(4)])
        assert float(of_class.score(counts)) == pytest.approx(values[1], abs=1e-12)
        assert np.isnan(of_class.score(np.zeros((2, 6, 4)))).all()


def test_a_class_whose_border_is_predicted_only_is_left_out():
    counts = np.array([[3, 5, 2, 4, 2, 4], [0, 9, 0, 7, 0, 0]]).T  # (6, 2)
    assert boundary_iou(counts).tolist()[0] == 3 / 5 and np.isnan(boundary_iou(counts)[1])
    assert boundary_f1(counts).tolist()[0] == 0.5 and np.isnan(boundary_f1(counts)[1])
    assert boundary_f1(np.array([0, 5, 0, 0, 0, 4])[:, None]).tolist() == [0.0]


def test_a_gain_at_the_borders_is_found():
    def draw(variant, s, run):
        random = np.random.default_rng([s, *variant.encode()])
        union = np.full((len(run), 11), 100)
        hits = random.binomial(union, 0.6 if variant == "v2" else 0.5)
        rows = [hits, union, hits, union, hits, union]
        return np.stack(rows, axis=1)

    runs = add_tables(draw_study(Case(variants=2), np.random.default_rng(1)), borders=draw)
    for name in ("boundary_iou", "boundary_f1", "boundary_iou/c3"):
        metric = find_metric(name, CLASSES)
        same, better = compare_to_baseline(runs, "v0", replicates=300, metric=metric).differences
        assert (same.verdict, better.verdict) == ("not shown", "better")


# Confidence.


def draw_bins(excess):
    """Pixels of each image in two bins, right as often as they are sure, but for v2, which is surer by `excess`."""

    def draw(variant, s, run):
        random = np.random.default_rng([s, *variant.encode()])
        bins = np.zeros((len(run), 3, BINS), dtype=np.int64)
        bins[:, 0, [10, 14]] = pixels = random.integers(500, 1500, (len(run), 2))
        bins[:, 1, [10, 14]] = random.binomial(
            pixels, [0.7, 0.95] - np.array(excess if variant == "v2" else 0.0)
        )
        bins[:, 2, [10, 14]] = pixels * [int(0.7 * UNIT), int(0.95 * UNIT)]
        return bins

    return draw


def test_the_calibration_error_is_that_of_the_evaluation():
    random = np.random.default_rng(1)
    bins = random.integers(0, 50, (4, BINS, 3))
    bins[..., 2] *= UNIT // 50
    brier = random.uniform(0, 90, 4)
    expected = CalibrationCounts(torch.from_numpy(bins), torch.from_numpy(brier)).scores()
    table = bins.swapaxes(1, 2)
    assert float(WHOLE["ece"].score(table.sum(axis=0))) == pytest.approx(expected.ece, rel=1e-12)
    assert float(WHOLE["ece"].score(table.sum(axis=0).astype(float))) == pytest.approx(
        expected.ece, rel=1e-12
    )
    sums = np.array([[brier.sum()], [bins[..., 0].sum()]])
    assert float(WHOLE["brier"].score(sums)) == pytest.approx(expected.brier, rel=1e-12)
    assert np.isnan(WHOLE["ece"].score(np.zeros((2, 3, BINS)))).all()


def test_the_classwise_calibration_error_is_that_of_the_evaluation():
    random = np.random.default_rng(2)
    of_each = random.integers(0, 50, (4, 3, BINS, 3))
    of_each[..., 0] = of_each[:, :1, :, 0]  # of every class, the same pixels
    of_each[..., 2] *= UNIT // 50
    counts = CalibrationCounts(torch.from_numpy(of_each[:, 0]), torch.zeros(4), torch.from_numpy(of_each))
    expected = counts.scores()
    table = np.moveaxis(of_each, 3, 1).reshape(4, 3, -1).sum(axis=0)
    assert float(WHOLE["classwise_ece"].score(table)) == pytest.approx(expected.classwise_ece, rel=1e-12)
    for c, name in enumerate("abc"):
        metric = find_metric(f"classwise_ece/{name}", ["a", "b", "c"])
        assert float(metric.score(table)) == pytest.approx(expected.class_ece[c], rel=1e-12)
        assert metric.less_is_better and metric.title == f"calibration error of {name}"
    assert np.isnan(WHOLE["classwise_ece"].score(np.zeros((2, 3, 3 * BINS)))).all()


def test_of_calibration_error_less_is_better():
    study = draw_study(Case(variants=2, images=60), np.random.default_rng(1))
    for excess, verdict in ((0.05, "worse"), (-0.04, "worse")):
        runs = {
            variant: {
                s: dataclasses.replace(count_matrices(run), bins=draw_bins(excess)(variant, s, run))
                for s, run in row.items()
            }
            for variant, row in study.items()
        }
        same, found = compare_to_baseline(runs, "v0", replicates=300, metric=WHOLE["ece"]).differences
        assert (same.verdict, found.verdict) == ("not shown", verdict), "whether it is too sure or too little"
        assert 0.8 * abs(excess) < found.value < abs(excess) and "points of calibration error" in found.words


def test_runs_that_lack_what_a_metric_takes_are_named():
    study = draw_study(Case(variants=1, images=20), np.random.default_rng(0))
    runs = add_tables(study, borders=lambda variant, s, run: np.ones((len(run), 6, 11), dtype=int))
    runs["v1"][1] = dataclasses.replace(runs["v1"][1], tolerance=3.0)
    metric = WHOLE["boundary_iou"]
    with pytest.raises(
        ConfigError, match=r"^metrics: boundary_iou: not counted, or not alike, in v1 \(seed 1\)"
    ):
        compare_to_baseline(runs, "v0", replicates=300, metric=metric)
    compared = compare_metrics(runs, "v0", [MIOU, metric, CE], replicates=300)
    assert [one.metric for one in compared.comparisons] == [MIOU]
    assert [text.partition(":")[2].partition(":")[0] for text in compared.unmeasured] == [
        " boundary_iou",
        " ce",
    ]


@pytest.mark.parametrize("spoilt", [math.inf, math.nan])
@pytest.mark.parametrize("variant", ["v0", "v1"])
def test_a_score_that_is_no_number_is_refused_with_the_name_of_its_run(variant, spoilt):
    """A training in half precision may end with logits that overflow; its other scores are told all the same."""
    study = draw_study(Case(variants=2, images=20), np.random.default_rng(0))
    runs = add_tables(study, ce=draw_losses(0.0))
    runs[variant][2].ce[4] = spoilt
    said = f"metrics: ce: infinite, or no number, in {variant} (seed 2): the training, or its precision, has failed"
    with pytest.raises(ConfigError) as caught:
        compare_to_baseline(runs, "v0", replicates=300, metric=CE)
    assert str(caught.value).startswith(said)
    compared = compare_metrics(runs, "v0", [MIOU, CE], replicates=300)
    assert [one.metric for one in compared.comparisons] == [MIOU]
    assert [text.startswith(said) for text in compared.unmeasured] == [True]


def test_many_metrics_at_once_are_what_they_are_alone():
    study = draw_study(Case(variants=2, images=50), np.random.default_rng(4))
    runs = add_tables(study, ce=draw_losses(0.02))
    metrics = [MIOU, CE, find_metric("iou/c2", CLASSES)]
    together = compare_metrics(runs, "v0", metrics, replicates=400, class_replicates=150)
    for metric, found in zip(metrics, together.comparisons, strict=True):
        assert found == compare_to_baseline(runs, "v0", replicates=400, metric=metric)
    alone = class_differences(runs, "v0", replicates=150)
    for variant, found in together.classes.items():
        np.testing.assert_array_equal(found.lower, alone[variant].lower)
        np.testing.assert_array_equal(found.value, alone[variant].value)


# Objects.


def draw_objects(better=0.0, *, classes=(3, 7), min_size=0, lost=()):
    """Counts of two classes: of 20 true objects a half is found at each threshold, by v2 more; and errors to match.
    `lost` images have none."""

    def draw(variant, s, run):
        random = np.random.default_rng([s, *variant.encode()])
        share = 0.5 + (better if variant == "v2" else 0.0)
        counts = np.zeros((len(run), 2, 15), dtype=np.int64)
        counts[..., :2] = 20
        counts[..., 2:12] = random.binomial(20, share, (len(run), 2, 1))
        counts[..., 12] = random.binomial(1000, share, (len(run), 2))
        counts[..., 13:] = 1000
        entropies = random.normal(1.0 - 2 * (share - 0.5), 0.05, (len(run), 2, 2))
        for image in lost:
            counts[image], entropies[image] = 0, 0
        return ObjectCounts(counts, entropies, classes, min_size)

    return draw


def add_objects(study, draw):
    return {
        variant: {
            s: dataclasses.replace(count_matrices(run), objects=draw(variant, s, run))
            for s, run in row.items()
        }
        for variant, row in study.items()
    }


OF_OBJECTS = [name for name, metric in WHOLE.items() if metric.kind == "objects"]


@pytest.mark.parametrize("name", OF_OBJECTS)
def test_a_gain_in_objects_is_found(name):
    less = name.startswith(("vi", "rand"))
    assert WHOLE[name].less_is_better == less
    study = draw_study(Case(variants=2, images=40), np.random.default_rng(1))
    runs = add_objects(study, draw_objects(0.2))
    of_class = find_metric(f"{name}/c7", CLASSES, with_objects=["c3", "c7"])
    for metric in (WHOLE[name], of_class):
        same, better = compare_to_baseline(runs, "v0", replicates=300, metric=metric).differences
        assert (same.verdict, better.verdict) == ("not shown", "better")
        assert (better.value < 0) == less and same.units == 40
    # The last is of one of the two classes alone.
    expected = [
        objects_alone(name, runs["v2"][s].objects, 1) - objects_alone(name, runs["v0"][s].objects, 1)
        for s in range(3)
    ]
    assert better.value == pytest.approx(sum(expected) / 3, abs=1e-12)
    unit = "bits" if WHOLE[name].title[0].lower() == "v" else "points"
    assert "better than v0 by " in better.words and f" {unit} of {WHOLE[name].title} of c7 (" in better.words


def objects_alone(name, found, k):
    """The score of one class as a loop over images."""
    counts, entropies = found.counts[:, k].tolist(), found.entropies[:, k].tolist()
    true, predicted, hits = (sum(image[column] for image in counts) for column in range(3))
    split, merge = (sum(image[part] for image in entropies) / len(entropies) for part in (0, 1))
    return {
        "objects_f1": 2 * hits / (true + predicted),
        "objects_f1_50": 2 * hits / (true + predicted),
        "objects_precision": hits / predicted,
        "objects_recall": hits / true,
        "rand_error": sum(1 - 2 * image[12] / (image[13] + image[14]) for image in counts) / len(counts),
        "vi": split + merge,
        "vi_split": split,
        "vi_merge": merge,
    }[name]


def test_images_without_an_object_are_no_evidence():
    study = draw_study(Case(variants=1, images=20), np.random.default_rng(1))
    runs = add_objects(study, draw_objects(lost=range(6)))
    comparison = compare_to_baseline(runs, "v0", replicates=300, metric=WHOLE["rand_error"])
    assert comparison.groups == 14
    assert "only 14 independent images or groups have what adapted Rand error" in comparison.warnings[0]


@pytest.mark.parametrize("other", [{"classes": (3, 8)}, {"min_size": 20}])
def test_runs_whose_objects_were_counted_otherwise_are_named(other):
    study = draw_study(Case(variants=1, images=20), np.random.default_rng(0))
    runs = add_objects(study, draw_objects())
    runs["v1"][1] = add_objects({"v1": {1: study["v1"][1]}}, draw_objects(**other))["v1"][1]
    with pytest.raises(ConfigError, match=r"^metrics: vi: not counted, or not alike, in v1 \(seed 1\)"):
        compare_to_baseline(runs, "v0", replicates=300, metric=WHOLE["vi"])
