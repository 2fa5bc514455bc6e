"""Differences to the baseline: values against explicit loops, and constructed cases with known answers."""

import dataclasses
import math
import statistics

import numpy as np
import pytest
import torch

from segkit.ablation.statistics.difference import score
from segkit.ablation.statistics.measured import holm
from segkit.ablation.statistics.metrics import ACCURACY, MIOU, iou
from segkit.ablation.statistics.run_counts import count_matrices
from segkit.ablation.statistics.statistics import class_differences, compare_to_baseline
from segkit.errors import ConfigError
from segkit.evaluation import metrics
from tests.ablation.matrix_scores import class_counts, class_iou, labelled_miou


def draw_labels(images, classes, seed):
    """Pixels of each class in each image (N, C); every class is missing from some images."""
    generator = np.random.default_rng(seed)
    return generator.integers(20, 200, (images, classes)) * (generator.random((images, classes)) < 0.8)


def predict(labels, recall, seed):
    """Matrices (N, C, C) of a model that finds that share of each class's pixels, give or take, in each image."""
    generator = np.random.default_rng(seed)
    images, classes = labels.shape
    matrices = np.zeros((images, classes, classes), dtype=np.int64)
    for image in range(images):
        for c in range(classes):
            found = np.clip(recall + generator.normal(0, 0.05), 0, 1)
            shares = np.full(classes, (1 - found) / (classes - 1))
            shares[c] = found
            matrices[image, c] = generator.multinomial(labels[image, c], shares / shares.sum())
    return matrices


def train(recalls, images=30, classes=4, seeds=(0, 1, 2), labels_seed=0, spread=0.005):
    """matrices[variant][seed] of variants with these recalls, which vary a little from seed to seed."""
    labels = draw_labels(images, classes, labels_seed)
    return {
        variant: {seed: predict(labels, recall + spread * (seed - 1), [seed, index]) for seed in seeds}
        for index, (variant, recall) in enumerate(recalls.items())
    }


def miou_by_loop(images, ever_labelled=()):
    """mIoU of a list of matrices, one addition at a time, without the classes of the set that have no label here."""
    classes = len(images[0])
    total = [[sum(int(image[i][j]) for image in images) for j in range(classes)] for i in range(classes)]
    ious = []
    for c in range(classes):
        hits, labelled = total[c][c], sum(total[c])
        union = labelled + sum(total[i][c] for i in range(classes)) - hits
        if union and (labelled or c not in ever_labelled):
            ious.append(hits / union)
    return sum(ious) / len(ious)


def iou_by_loop(images, c):
    """IoU of one class in a list of matrices, None without labels."""
    hits = sum(int(image[c][c]) for image in images)
    labelled, predicted = (
        sum(int(image[c].sum()) for image in images),
        sum(int(i[:, c].sum()) for i in images),
    )
    return hits / (labelled + predicted - hits) if labelled else None


def compare_by_loop(variant, baseline, groups, replicates, seed, measure):
    """Value, and the replicates, of the difference averaged over seeds, of lists of images drawn group by group."""
    members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
    draws = np.random.Generator(np.random.PCG64(seed)).integers(
        0, len(members), size=(replicates, len(members))
    )

    def mean_difference(chosen):
        pairs = [(measure(variant[s][chosen]), measure(baseline[s][chosen])) for s in variant]
        return None if None in pairs[0] else sum(a - b for a, b in pairs) / len(pairs)

    everything = np.arange(len(groups))
    lists = [np.concatenate([members[group] for group in drawn]) for drawn in draws]
    return mean_difference(everything), [mean_difference(chosen) for chosen in lists]


# The definitions.


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_the_metrics_exactly(seed):
    generator = np.random.default_rng(seed)
    matrices = generator.integers(0, 10**6, (7, 6, 6)) * (generator.random((7, 6, 6)) < 0.4)
    matrices[:, 2] = 0
    matrices[:, 3], matrices[:, :, 3] = 0, 0  # class 3 appears nowhere, class 2 only as a prediction
    matrices[0, 0, 2] = 5
    total = torch.from_numpy(matrices.sum(axis=0))
    counts = class_counts(matrices).sum(axis=0)
    assert float(ACCURACY.score(counts)) == metrics.accuracy(total)
    labelled = np.array([0, 1, 4, 5])  # of class 2, which is predicted only, no IoU is told
    np.testing.assert_array_equal(iou(counts)[labelled], np.array(metrics.iou(total))[labelled])
    assert np.isnan(iou(counts)[2:4]).all()
    assert float(MIOU.score(counts)) == pytest.approx(labelled_miou(matrices), abs=1e-15)
    assert float(MIOU.score(counts)) == pytest.approx(miou_by_loop(matrices, ever_labelled=(2,)), abs=1e-15)


def test_scores_by_hand():
    matrices = np.array([[[3, 1, 0], [0, 2, 0], [0, 0, 0]], [[1, 0, 0], [2, 1, 0], [0, 0, 0]]])
    counts = class_counts(matrices)
    assert counts[0].tolist() == [[3, 2, 0], [4, 2, 0], [3, 3, 0]]
    assert iou(counts.sum(axis=0))[:2].tolist() == [4 / 7, 3 / 6]
    assert math.isnan(iou(counts.sum(axis=0))[2])
    assert float(MIOU.score(counts.sum(axis=0))) == (4 / 7 + 3 / 6) / 2
    assert float(ACCURACY.score(counts.sum(axis=0))) == 7 / 10


def test_scores_of_no_valid_pixel_are_nan():
    counts = class_counts(np.zeros((2, 3, 3), dtype=np.int64)).sum(axis=0)
    assert math.isnan(MIOU.score(counts)) and math.isnan(ACCURACY.score(counts))
    assert np.isnan(iou(counts)).all()


def test_matrices_must_be_counts():
    with pytest.raises(ValueError, match="confusion matrices hold integer counts, got float64"):
        count_matrices(np.zeros((2, 3, 3)))


def test_score_over_seeds():
    found = score([0.5, 0.6, 0.8])
    assert found.mean == pytest.approx(1.9 / 3)
    assert found.std == pytest.approx(statistics.stdev([0.5, 0.6, 0.8]))
    assert found.values == (0.5, 0.6, 0.8)
    assert score([0.25]).std is None
    with pytest.raises(ValueError, match="a score needs at least one value"):
        score([])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.04, 0.03]) == pytest.approx([0.06, 0.06])  # never below the smaller p's
    assert holm([0.6, 0.9, 0.7]) == [1.0, 1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


# The comparison.


def compare_slowly(matrices, baseline, groups, replicates, seed, level):
    """Value, interval and p of every variant, from loops, SciPy's distributions and a search along the level."""
    stats = pytest.importorskip("scipy.stats")
    units, seeds = int(groups.max()) + 1, sorted(matrices[baseline])
    classes = [c for c in range(4) if any(image[c].sum() for image in matrices[baseline][seeds[0]])]
    scores = {variant: [miou_by_loop(runs[s]) for s in seeds] for variant, runs in matrices.items()}

    def square_of(chosen):
        """What is left of these variants' scores after a mean for each and for each seed, and its freedom."""
        means = {variant: statistics.fmean(scores[variant]) for variant in chosen}
        by_seed = [statistics.fmean(scores[variant][k] for variant in chosen) for k in range(len(seeds))]
        left = [
            (scores[variant][k] - means[variant] - by_seed[k] + statistics.fmean(by_seed)) ** 2
            for variant in chosen
            for k in range(len(seeds))
        ]
        return sum(left), (len(chosen) - 1) * (len(seeds) - 1)

    others = [variant for variant in scores if variant != baseline]
    (whole, freedom), (rest, below) = square_of(list(scores)), square_of(others)
    together = 2 * whole / freedom
    # The baseline by itself, less what the mean of the others varies by; and the others.
    beside = [
        scores[baseline][k] - statistics.fmean(scores[variant][k] for variant in others)
        for k in range(len(seeds))
    ]
    alone, usual = statistics.variance(beside), (1 - 1 / len(others)) * rest / max(1, below)
    if len(others) > 1 and alone + usual > together:
        least = (alone + usual) ** 2 / (alone**2 / (len(seeds) - 1) + usual**2 / below)
        freedom = least + (freedom - least) * (together / (alone + usual)) ** 4
        together = alone + usual

    def interval(variant, level):
        value, samples = compare_by_loop(
            matrices[variant],
            matrices[baseline],
            groups,
            replicates,
            seed,
            lambda chosen: miou_by_loop(chosen, classes),
        )
        own = statistics.variance(a - b for a, b in zip(scores[variant], scores[baseline], strict=True))
        around = stats.t.ppf((1 + level) / 2, freedom) * math.sqrt(max(together, own) / len(seeds))

        # The tail of the replicates that Student's t of so many units leaves, and not more than REACH of them beyond.
        def t_of(beyond):
            tail = (beyond + 1) / (replicates + 1)
            return -stats.norm.ppf(tail) * math.sqrt((units - 1) / units)

        wanted = stats.t.ppf((1 + level) / 2, units - 1)
        beyond, stretch = next((k for k in range(replicates) if t_of(k) <= wanted), None), 1.0
        if beyond <= 5:
            reached = 1 - 2 * stats.t.sf(t_of(5), units - 1)
            if level > reached:
                beyond, stretch = 5, wanted / t_of(5)
        ordered = sorted(samples)
        below, above = value - min(ordered[beyond - 1], value), max(ordered[-beyond], value) - value
        return value, value - math.hypot(stretch * below, around), value + math.hypot(stretch * above, around)

    return {variant: interval(variant, level) for variant in matrices if variant != baseline}


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("sizes", [[1] * 12, [1, 3, 2, 4, 2]])
def test_a_difference_equals_the_slow_computation(sizes, level):
    matrices = train({"ce": 0.7, "ohem": 0.75}, images=12, seeds=(0, 1, 2))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    for runs in matrices.values():
        for run in runs.values():
            run[groups != 1, 3] = 0  # class 3 has labels in one group only
    comparison = compare_to_baseline(matrices, "ce", groups=groups, replicates=200, seed=5, level=level)
    [found] = comparison.differences
    [expected] = compare_slowly(matrices, "ce", groups, 200, 5, level).values()
    assert (found.value, *found.interval) == pytest.approx(expected, abs=1e-9)
    assert comparison.groups == len(sizes)
    assert (comparison.baseline, comparison.replicates, comparison.level) == ("ce", 200, level)
    # And p is where the slow interval touches 0.
    for factor, holds in ((0.99, True), (1.01, False)):
        [(_, low, high)] = compare_slowly(matrices, "ce", groups, 200, 5, 1 - factor * found.p).values()
        assert (low <= 0 <= high) == holds


@pytest.mark.parametrize("wild", [None, "ce", "a"])
def test_all_variants_tell_what_seeds_do(wild):
    """And where the baseline or a variant varies more, these by themselves."""
    matrices = train({"ce": 0.7, "a": 0.71, "b": 0.69, "c": 0.7}, images=12, seeds=(0, 1, 2))
    if wild:
        labels = draw_labels(12, 4, 0)
        matrices[wild] = {s: predict(labels, 0.7 + 0.03 * (s - 1), [s, 9]) for s in (0, 1, 2)}
    found = compare_to_baseline(matrices, "ce", replicates=200, seed=5).differences
    for one in found:
        wide = 1 - 0.05 * max(1 / 3, one.p / one.p_holm)
        expected = compare_slowly(matrices, "ce", np.arange(12), 200, 5, wide)[one.variant]
        assert (one.value, *one.interval) == pytest.approx(expected, abs=1e-9)


def test_class_differences_equal_the_loop():
    """With one seed the interval of a class is that of the replicates which have its label."""
    matrices = train({"ce": 0.7, "ohem": 0.75}, images=12, seeds=(0,))
    groups = np.arange(12) // 2
    found = class_differences(matrices, "ce", groups=groups, replicates=200, seed=5, level=0.6)["ohem"]
    for c in range(4):
        value, samples = compare_by_loop(
            matrices["ohem"], matrices["ce"], groups, 200, 5, lambda images, c=c: iou_by_loop(images, c)
        )
        assert found.value[c] == pytest.approx(value, abs=1e-12)
        samples = np.array([sample for sample in samples if sample is not None])
        assert abs(samples - found.lower[c]).min() < 1e-12
        assert abs(samples - found.upper[c]).min() < 1e-12
        assert 0.6 < np.mean((samples >= found.lower[c]) & (samples <= found.upper[c])) < 0.9


def test_class_intervals_know_of_seeds():
    """What differs from seed to seed by more than it does on average is no difference of the class."""
    matrices = train({"ce": 0.7, "ohem": 0.72}, images=60, spread=0.0)
    steady = class_differences(matrices, "ce", replicates=500)["ohem"]
    matrices = train({"ce": 0.7, "ohem": 0.72}, images=60, spread=0.0)
    for s, gain in enumerate((0.1, -0.1, 0.0)):
        matrices["ohem"][s] = predict(draw_labels(60, 4, 0), 0.72 + gain, [s, 1])
    shaken = class_differences(matrices, "ce", replicates=500)["ohem"]
    assert (shaken.upper - shaken.lower > 3 * (steady.upper - steady.lower)).all()
    assert not shaken.excludes_zero.any()


def test_identical_runs():
    matrices = train({"ce": 0.7, "better": 0.8})
    matrices["copy"] = {seed: run.copy() for seed, run in matrices["ce"].items()}
    _, found = compare_to_baseline(matrices, "ce", replicates=500).differences
    assert (found.value, found.interval, found.p, found.p_holm) == (0.0, (0.0, 0.0), 1.0, 1.0)
    assert (found.per_seed, found.noise, found.verdict) == ((0.0, 0.0, 0.0), 0.0, "identical")
    classes = class_differences(matrices, "ce", replicates=500)["copy"]
    assert not classes.value.any() and not classes.lower.any() and not classes.upper.any()
    assert not classes.excludes_zero.any()


def test_identical_runs_of_two_images_are_certain_too():
    matrices = train({"ce": 0.7}, images=2)
    matrices["copy"] = matrices["ce"]
    [found] = compare_to_baseline(matrices, "ce").differences
    assert (found.interval, found.p, found.verdict) == ((0.0, 0.0), 1.0, "identical")
    classes = class_differences(matrices, "ce")["copy"]
    labelled = classes.units > 0
    assert labelled.any()
    assert not classes.lower[labelled].any() and not classes.upper[labelled].any()


def test_one_seed_alike_is_not_identical():
    matrices = train({"ce": 0.7, "ohem": 0.8})
    matrices["ohem"][0] = matrices["ce"][0]
    [found] = compare_to_baseline(matrices, "ce", replicates=500).differences
    assert found.per_seed[0] == 0.0 < found.value - found.images[0]
    assert found.verdict == "not shown"  # the seeds differ too much, whatever the images say


def test_three_images_are_hardly_evidence():
    """Where 40 images are, the same recalls are told well; here the interval is as wide as Student's t of 2."""
    few, many = (
        compare_to_baseline(train({"ce": 0.7, "ohem": 0.7}, images=images), "ce").differences[0]
        for images in (3, 40)
    )
    assert few.verdict == "not shown" and few.interval[0] < 0 < few.interval[1]
    assert few.interval[0] > -1 and sum(few.images) > 2 * sum(many.images)


def test_much_on_few_images_is_found():
    """Its p has no floor that a correction for many variants could not pass."""
    recalls = {"ce": 0.5, **{f"v{n}": 0.5 for n in range(9)}, "good": 0.8}
    *_, found = compare_to_baseline(train(recalls, images=6), "ce").differences
    assert found.value > 0.2 and found.comparisons == 10
    assert found.verdict == "better"


def test_the_verdict_is_by_the_corrected_p():
    """A level between what p alone and what p for three comparisons would pass."""
    matrices = train({"ce": 0.7, "good": 0.72, "same": 0.7, "bad": 0.69}, images=40)
    good, *_ = compare_to_baseline(matrices, "ce", replicates=500).differences
    good, *_ = compare_to_baseline(matrices, "ce", replicates=500, level=1 - 1.5 * good.p).differences
    assert good.p < 1 - good.level < good.p_holm
    assert good.interval[0] < 0 < good.interval[1]  # the interval says the same
    assert good.verdict == "not shown"


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.999])
def test_interval_and_verdict_always_agree(level):
    recalls = {"ce": 0.7, "a": 0.72, "b": 0.7, "c": 0.69, "d": 0.71, "e": 0.6}
    for found in compare_to_baseline(
        train(recalls, images=25), "ce", replicates=300, level=level
    ).differences:
        excluded = not found.interval[0] <= 0 <= found.interval[1]
        assert excluded == (found.p_holm < 1 - level) == (found.verdict in ("better", "worse"))


def test_a_margin_lets_a_variant_be_no_different():
    matrices = train({"ce": 0.7, "same": 0.7, "better": 0.75}, images=60)
    same, better = compare_to_baseline(matrices, "ce", replicates=500, margin=0.05).differences
    assert (same.verdict, better.verdict) == ("within the margin", "better")
    same, _ = compare_to_baseline(matrices, "ce", replicates=500, margin=1e-4).differences
    assert same.verdict == "not shown"
    with pytest.raises(
        ConfigError, match=r"^margin: expected a share between 0 and 1, got 2 -> 0.005 is half"
    ):
        compare_to_baseline(matrices, "ce", margin=2)


def test_a_class_labelled_nowhere_moves_nothing():
    """One pixel per image predicted as it would cost a mean of 5 classes a fifth."""
    matrices = train({"ce": 0.7, "ohem": 0.7}, classes=4)
    wider = {
        name: {s: np.pad(run, ((0, 0), (0, 1), (0, 1))) for s, run in runs.items()}
        for name, runs in matrices.items()
    }
    for run in wider["ohem"].values():
        run[:, 0, 4] += run[:, 0, 1] > 0
        run[:, 0, 1] -= run[:, 0, 1] > 0
    narrow = compare_to_baseline(matrices, "ce", replicates=200)
    wide = compare_to_baseline(wider, "ce", replicates=200)
    assert abs(wide.differences[0].value - narrow.differences[0].value) < 2e-3
    assert wide.unlabelled == {4: max(int(run[:, 0, 4].sum()) for run in wider["ohem"].values())}
    assert narrow.unlabelled == {}
    run = wider["ohem"][0]
    assert labelled_miou(run) == pytest.approx(np.nanmean(class_iou(run)[:4]))
    assert labelled_miou(run) > metrics.mean_iou(torch.from_numpy(run.sum(axis=0))) + 0.05


def test_seeds_that_are_copies_are_one_training():
    matrices = train({"ce": 0.7, "ohem": 0.8, "focal": 0.7})
    alone = {"ce": matrices["ce"], "focal": matrices["focal"]}
    expected = compare_to_baseline(alone, "ce", replicates=200).differences[0]
    matrices["ohem"] = {s: matrices["ohem"][0].copy() for s in (0, 1, 2)}
    comparison = compare_to_baseline(matrices, "ce", replicates=200)
    ohem, focal = comparison.differences
    assert (ohem.verdict, ohem.p, ohem.noise, ohem.comparisons) == ("one seed", None, None, 1)
    assert "with what counts as one seed, the 95 % interval over images" in ohem.words
    assert focal == expected  # which the copies do not make surer
    assert comparison.warnings == (
        "all seeds of ohem are equal in every image: they are one training, and count as one seed",
    )
    matrices["ce"] = {s: matrices["ce"][0].copy() for s in (0, 1, 2)}
    verdicts = [found.verdict for found in compare_to_baseline(matrices, "ce", replicates=200).differences]
    assert verdicts == ["one seed", "one seed"]


def test_a_variant_that_varies_more_than_the_others_is_named():
    matrices = train({"ce": 0.7, "a": 0.7, "wild": 0.7}, images=60, spread=0.0, seeds=(0, 1, 2, 3))
    matrices["wild"][2] = predict(draw_labels(60, 4, 0), 0.5, 9)
    comparison = compare_to_baseline(matrices, "ce", replicates=200)
    [warning] = [text for text in comparison.warnings if "wild" in text]
    assert warning.startswith("wild varies more from seed to seed than the others, by mIoU ")
    assert " with seed 2, where " in warning
    assert warning.endswith("look at that run")
    # As the baseline it is in every difference.
    as_baseline = compare_to_baseline(matrices, "wild", replicates=200).warnings
    [warning] = [text for text in as_baseline if "wild varies" in text]
    assert warning.endswith("look at that run; every difference is to it, and as uncertain")
    # Beside more variants it is known not to belong to them.
    matrices["b"] = {s: predict(draw_labels(60, 4, 0), 0.7, [s, 7]) for s in (0, 1, 2, 3)}
    [warning] = [
        text for text in compare_to_baseline(matrices, "ce", replicates=200).warnings if "wild" in text
    ]
    assert warning.endswith(
        "what seeds do to it is told by its own seeds alone, and of the others without it"
    )


def test_equal_scores_by_other_errors_are_no_difference():
    """The confusions differ, but TP, labels and predictions of every class are the same."""
    one = np.array([[5, 1, 0], [0, 5, 1], [1, 0, 5]])
    matrices = {"a": {0: np.stack([one] * 30)}, "b": {0: np.stack([one.T] * 30)}}
    [found] = compare_to_baseline(matrices, "a", replicates=500).differences
    assert (found.value, found.interval, found.p, found.verdict) == (0.0, (0.0, 0.0), None, "one seed")


def test_a_planted_effect_is_found():
    matrices = train({"ce": 0.7, "good": 0.76, "same": 0.7, "bad": 0.64}, images=40)
    good, same, bad = compare_to_baseline(matrices, "ce", replicates=2000).differences
    assert [good.verdict, same.verdict, bad.verdict] == ["better", "not shown", "worse"]
    assert good.interval[0] > 0 > bad.interval[1]
    assert same.interval[0] < 0 < same.interval[1]
    assert good.p < 0.005 and bad.p < 0.005 and same.p > 0.05
    assert [good.p_holm, same.p_holm, bad.p_holm] == holm([good.p, same.p, bad.p])
    assert min(good.p, bad.p) * 3 == pytest.approx(min(good.p_holm, bad.p_holm))
    assert good.comparisons == 3
    assert class_differences(matrices, "ce", replicates=1000)["good"].excludes_zero.all()
    assert class_differences(matrices, "ce", replicates=1000)["bad"].excludes_zero.all()


def test_seeds_are_paired_and_averaged():
    matrices = train({"ce": 0.7, "ohem": 0.75}, seeds=(3, 1, 2))
    [found] = compare_to_baseline(matrices, "ce", replicates=200).differences
    by_hand = [labelled_miou(matrices["ohem"][s]) - labelled_miou(matrices["ce"][s]) for s in (1, 2, 3)]
    assert found.seeds == (1, 2, 3)
    assert found.per_seed == pytest.approx(by_hand, abs=1e-15)
    assert found.value == pytest.approx(sum(by_hand) / 3, abs=1e-15)
    assert found.noise == pytest.approx(4.302653 * statistics.stdev(by_hand) / 3**0.5, rel=1e-6)


def test_only_shared_seeds_are_compared():
    matrices = train({"ce": 0.7, "ohem": 0.75, "full": 0.7})
    del matrices["ohem"][1]
    del matrices["ce"][2]
    comparison = compare_to_baseline(matrices, "ce", replicates=200)
    ohem, full = comparison.differences
    assert (ohem.seeds, ohem.noise, ohem.p, ohem.verdict) == ((0,), None, None, "one seed")
    assert (full.seeds, len(full.per_seed)) == ((0, 1), 2)
    assert comparison.warnings == (
        "ohem is compared with ce over the seeds both have, 0; only one of them has 1, 2",
        "full is compared with ce over the seeds both have, 0, 1; only one of them has 2",
    )
    alone = {name: {0: matrices[name][0]} for name in ("ce", "ohem")}
    [found] = compare_to_baseline(alone, "ce", replicates=200).differences
    assert (found.value, found.interval) == (ohem.value, ohem.interval)


def test_the_same_seed_repeats_and_another_does_not():
    matrices = train({"ce": 0.7, "ohem": 0.72})
    first, again, other = (
        compare_to_baseline(matrices, "ce", replicates=500, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again
    assert first.differences[0].interval != other.differences[0].interval
    assert first.differences[0].value == other.differences[0].value


def test_sides_exchanged_exchange_the_sign():
    matrices = train({"ce": 0.7, "ohem": 0.71})
    [found] = compare_to_baseline(matrices, "ce", replicates=500).differences
    [mirror] = compare_to_baseline(matrices, "ohem", replicates=500).differences
    assert mirror.value == pytest.approx(-found.value, abs=1e-15)
    assert mirror.interval == pytest.approx((-found.interval[1], -found.interval[0]), abs=1e-15)
    assert mirror.p == found.p


def test_other_variants_change_the_correction_and_what_is_known_of_seeds():
    matrices = train({"ce": 0.7, "ohem": 0.71, "focal": 0.69})
    found, _ = compare_to_baseline(matrices, "ce", replicates=500).differences
    [alone] = compare_to_baseline({n: matrices[n] for n in ("ce", "ohem")}, "ce", replicates=500).differences
    assert (found.value, found.per_seed) == (alone.value, alone.per_seed)
    one_seed = {name: {0: runs[0]} for name, runs in matrices.items()}
    found, _ = compare_to_baseline(one_seed, "ce", replicates=500).differences
    [alone] = compare_to_baseline({n: one_seed[n] for n in ("ce", "ohem")}, "ce", replicates=500).differences
    assert found == alone


def test_the_order_of_images_changes_only_the_draws():
    matrices = train({"ce": 0.7, "ohem": 0.71})
    order = np.random.default_rng(0).permutation(30)
    shuffled = {name: {s: run[order] for s, run in runs.items()} for name, runs in matrices.items()}
    [found] = compare_to_baseline(matrices, "ce", replicates=4000).differences
    [other] = compare_to_baseline(shuffled, "ce", replicates=4000).differences
    assert other.value == found.value
    assert other.interval == pytest.approx(found.interval, abs=0.1 * (found.interval[1] - found.interval[0]))
    [grouped] = compare_to_baseline(shuffled, "ce", groups=order, replicates=4000).differences
    assert grouped == found  # the numbers of the groups are their order


def test_groups_are_resampled_whole():
    """Each image twice, the copies in one group, is no more evidence than each image once."""
    matrices = train({"ce": 0.7, "ohem": 0.72})
    doubled = {name: {s: run.repeat(2, axis=0) for s, run in runs.items()} for name, runs in matrices.items()}
    [once] = compare_to_baseline(matrices, "ce", replicates=500).differences
    [grouped] = compare_to_baseline(doubled, "ce", groups=np.arange(60) // 2, replicates=500).differences
    [fooled] = compare_to_baseline(doubled, "ce", replicates=500).differences
    assert dataclasses.replace(grouped, units=30) == once
    assert sum(fooled.images) < 0.85 * sum(once.images)


def test_units_without_a_valid_pixel_are_no_evidence():
    matrices = train({"ce": 0.7, "ohem": 0.72})
    padded = {
        name: {s: np.concatenate([run[:10], 0 * run[:5], run[10:]]) for s, run in runs.items()}
        for name, runs in matrices.items()
    }
    assert compare_to_baseline(padded, "ce", replicates=200) == compare_to_baseline(
        matrices, "ce", replicates=200
    )


def test_groups_may_have_any_numbers():
    matrices = train({"ce": 0.7, "ohem": 0.72})
    groups = np.arange(30) // 2
    comparison = compare_to_baseline(matrices, "ce", groups=groups, replicates=200)
    assert compare_to_baseline(matrices, "ce", groups=10 * groups - 7, replicates=200) == comparison


# Classes.


def test_a_class_without_labels_has_no_difference():
    matrices = train({"ce": 0.7, "ohem": 0.75})
    for runs in matrices.values():
        for run in runs.values():
            run[:, 3] = 0  # still predicted
    found = class_differences(matrices, "ce", replicates=200)["ohem"]
    assert np.isnan([found.value[3], found.lower[3], found.upper[3]]).all()
    assert not np.isnan([found.value[:3], found.lower[:3], found.upper[:3]]).any()
    assert found.units[3] == 0 and not found.excludes_zero[3]
    assert list(class_differences({"ce": matrices["ce"]}, "ce")) == []


@pytest.mark.parametrize(("units", "told"), [(1, False), (2, False), (8, True)])
def test_a_class_in_few_images_has_a_wide_interval(units, told):
    matrices = train({"ce": 0.7, "ohem": 0.9})
    for runs in matrices.values():
        for run in runs.values():
            run[units:, 3] = 0
            run[:units, 3] += [0, 0, 0, 1]
    found = class_differences(matrices, "ce")["ohem"]
    assert found.units[3] == units
    assert found.value[3] > 0.05
    assert found.excludes_zero[3] == told
    assert ((found.lower[3], found.upper[3]) == (-1.0, 1.0)) == (units == 1)


# What cannot be compared.


def test_few_units_are_warned_of():
    few = compare_to_baseline(train({"ce": 0.7, "ohem": 0.8}, images=19), "ce", replicates=200)
    assert few.warnings == (
        "only 19 independent images or groups: with fewer than 20 the intervals are somewhat too narrow and the "
        "p values too small",
    )
    assert compare_to_baseline(train({"ce": 0.7, "b": 0.8}, images=20), "ce", replicates=200).warnings == ()


def test_the_baseline_alone():
    comparison = compare_to_baseline(train({"ce": 0.7}), "ce")
    assert (comparison.differences, comparison.warnings) == ((), ())


def lose_a_class(matrices):
    matrices["ohem"][1] = matrices["ohem"][1][:, :3, :3]


def lose_an_image(matrices):
    matrices["ohem"][1] = matrices["ohem"][1][:-1]


def swap_two_images(matrices):
    matrices["ohem"][1] = matrices["ohem"][1][[0, 1, 3, 2, *range(4, 30)]]


def drop_the_baseline(matrices):
    del matrices["ce"]


def empty_the_baseline(matrices):
    matrices["ce"], matrices["ohem"] = {}, {}


def share_no_seed(matrices):
    matrices["ohem"] = {7: matrices["ohem"][1], 5: matrices["ohem"][0]}


def test_a_variant_that_shares_no_seed_is_left_out():
    matrices = train({"ce": 0.7, "ohem": 0.8, "focal": 0.7})
    share_no_seed(matrices)
    comparison = compare_to_baseline(matrices, "ce", replicates=200)
    assert [found.variant for found in comparison.differences] == ["focal"]
    assert comparison.warnings[0] == (
        "ohem (seeds 5, 7) is left out: it shares no seed with ce (seeds 0, 1, 2)"
    )
    assert list(class_differences(matrices, "ce", replicates=200)) == ["focal"]


def keep_one_image(matrices):
    for runs in matrices.values():
        for run in runs.values():
            run[1:] = 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lose_a_class,
            "ohem (seed 1) and ce (seed 0) differ: 30 images of 3 classes and 30 images of 4 classes"
            " -> compare runs that were evaluated on the same images",
        ),
        (
            lose_an_image,
            "ohem (seed 1) and ce (seed 0) differ: 29 images of 4 classes and 30 images of 4 classes"
            " -> compare runs that were evaluated on the same images",
        ),
        (
            swap_two_images,
            "ohem (seed 1) and ce (seed 0) have different labels, first in image 2 of 30"
            " -> compare runs that were evaluated on the same images",
        ),
        (drop_the_baseline, "baseline: 'ce' is none of the variants ohem -> name one of them"),
        (empty_the_baseline, "baseline: 'ce' has no run -> train it first"),
        (
            share_no_seed,
            "ohem (seeds: 5, 7) shares no seed with the baseline ce (seeds: 0, 1, 2)"
            " -> train both with the same seeds",
        ),
        (
            keep_one_image,
            "1 independent image(s) or group(s) with valid pixels: an interval over images needs at least 2"
            " -> evaluate on more images, or check group_by",
        ),
    ],
)
@pytest.mark.parametrize("compare", [compare_to_baseline, class_differences])
def test_what_cannot_be_compared_says_why(compare, spoil, message):
    matrices = train({"ce": 0.7, "ohem": 0.8})
    spoil(matrices)
    with pytest.raises(ConfigError) as caught:
        compare(matrices, "ce")
    assert str(caught.value) == message


@pytest.mark.parametrize("compare", [compare_to_baseline, class_differences])
def test_options_out_of_range(compare):
    matrices = train({"ce": 0.7, "ohem": 0.8})
    with pytest.raises(ConfigError, match=r"^replicates: expected at least 100, got 99 -> 10000 is usual$"):
        compare(matrices, "ce", replicates=99)
    with pytest.raises(
        ConfigError, match=r"^level: expected 0.5 <= level <= 0.999, got 95 -> 0.95 is usual$"
    ):
        compare(matrices, "ce", level=95)
    with pytest.raises(
        ValueError, match=r"groups: expected one number for each of 30 images, got the shape \(29,\)"
    ):
        compare(matrices, "ce", groups=np.arange(29))
