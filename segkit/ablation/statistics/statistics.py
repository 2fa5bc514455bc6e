"""Is a variant better than the baseline? Differences of the data-set mIoU, what they may be by chance, and in words.

Chance has two sources: other images of the same kind, and other trainings. Both are in one interval, one p and one
verdict (joint.py); p is corrected for the number of variants compared with the baseline (Holm 1979, "A simple
sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6), and the interval that is shown
is widened by as much, so that it leaves 0 out exactly where the verdict says so. There is no rank test over seeds: with
up to 5 of them none can be significant at 5 % (the smallest two-sided p is 0.0625).

A class that is labelled in no image of the set has no IoU: it is left out of the mean of every run.
All scores are in [0, 1]. What was measured of all this: docs/ablation.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from segkit.ablation.statistics.bootstrap import resample_counts, resample_iou
from segkit.ablation.statistics.cautions import count_predicted, list_cautions
from segkit.ablation.statistics.counts import (
    accuracy,
    class_counts,
    class_iou,
    data_set_miou,
    iou_of_counts,
    miou_of_counts,
)
from segkit.ablation.statistics.difference import Difference, Score, choose_verdict, score
from segkit.ablation.statistics.joint import (
    ImagePart,
    SeedPart,
    clip,
    find_seed_parts,
    joint_interval,
    joint_p,
)
from segkit.ablation.statistics.metrics import MIOU, Metric, iou
from segkit.ablation.statistics.needed import find_images_needed, find_seeds_needed
from segkit.ablation.statistics.pairs import Matrices, Pair, Pairs, count_pairs
from segkit.ablation.study.claims import HIGHEST_LEVEL
from segkit.errors import ConfigError

__all__ = [
    "ClassDifferences",
    "Comparison",
    "Difference",
    "Score",
    "accuracy",
    "class_counts",
    "class_differences",
    "class_iou",
    "compare_to_baseline",
    "data_set_miou",
    "holm",
    "score",
]


@dataclass(frozen=True)
class Comparison:
    """All variants against the baseline. `groups` is the number of independent units that were resampled, `unlabelled`
    the classes (by index) that no image has and that are left out of the mean, each with the most pixels that a run
    predicts as it."""

    baseline: str
    differences: tuple[Difference, ...]
    groups: int
    replicates: int
    level: float
    warnings: tuple[str, ...]
    margin: float | None = None
    unlabelled: Mapping[int, int] = field(default_factory=dict)
    metric: Metric = MIOU


@dataclass(frozen=True, eq=False)
class ClassDifferences:
    """IoU of each class minus the baseline's, averaged over shared seeds: `value`, `lower`, `upper` (C,).

    NaN for a class without labels, for which no IoU can be told. `units` (C,): independent units with the label. The
    intervals are for other images and other seeds (with one seed for other images alone), and unadjusted, so of 20
    classes without any difference one may be expected to exclude 0.
    """

    value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    units: np.ndarray

    @property
    def excludes_zero(self) -> np.ndarray:
        """(C,) bool: the interval does not contain 0."""
        return (self.lower > 0) | (self.upper < 0)


def compare_to_baseline(
    matrices: Matrices,
    baseline: str,
    *,
    groups: np.ndarray | None = None,
    replicates: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
    margin: float | None = None,
    metric: Metric = MIOU,
    class_names: Sequence[str] = (),
) -> Comparison:
    """The difference of each variant to the baseline in `metric`, with its interval, p and verdict.

    `matrices[variant][seed]` are int64 confusion matrices (N, C, C), the same images in the same order everywhere.
    `groups` (N,) numbers the images' groups, see `group_images`; None: every image is independent. A unit without a
    valid pixel is left out. A variant is compared over the seeds it shares with the baseline; one that shares none is
    left out, with a warning, and seeds that are equal in every image count as one. `margin`, a share, is how large a
    difference may be and still not matter; `class_names` are for warnings. The same arguments give the same result.
    ConfigError if the runs cannot be paired or fewer than 2 units are left.
    """
    _check_options(replicates, level, margin)
    found = count_pairs(matrices, baseline, groups)
    scores = {
        variant: {s: float(metric.score(run.sum(axis=0))) for s, run in runs.items()}
        for variant, runs in found.counts.items()
    }
    own = {variant: row for variant, row in scores.items() if variant in found.trained and row}
    parts = find_seed_parts(own, baseline) if baseline in own else {}
    units = _count_units(found, metric) if found.pairs else 0
    measured = [
        _measure(
            metric,
            pair,
            score([scores[pair.variant][s] - scores[baseline][s] for s in pair.seeds]),
            parts.get(pair.variant),
            units=units,
            replicates=replicates,
            seed=seed,
        )
        for pair in found.pairs
    ]
    corrected = iter(holm([one.p for one in measured if one.p is not None]))
    p_holm = [None if one.p is None else next(corrected) for one in measured]
    comparisons = max(1, sum(p is not None for p in p_holm))
    differences = tuple(
        replace(
            _judge(one, p, baseline, level=level, comparisons=comparisons, margin=margin),
            metric=metric.title,
            units=units,
        )
        for one, p in zip(measured, p_holm, strict=True)
    )
    unlabelled = {c: count_predicted(found, c) for c in np.flatnonzero(~found.labelled).tolist()}
    cautions = list_cautions(
        found,
        matrices,
        baseline,
        own,
        metric,
        units=units,
        grouped=groups is not None,
        class_names=class_names,
    )
    return Comparison(baseline, differences, units, replicates, level, cautions, margin, unlabelled, metric)


def class_differences(
    matrices: Matrices,
    baseline: str,
    *,
    groups: np.ndarray | None = None,
    replicates: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, ClassDifferences]:
    """The difference in IoU of each class, by variant; arguments and errors as for `compare_to_baseline`.

    The interval of a class is for other images and other seeds, from the replicates that have its label, and as wide as
    the number of units with the label demands; (-1, 1) for a single unit.
    """
    _check_options(replicates, level, None)
    found = count_pairs(matrices, baseline, groups)
    by_class = {
        variant: {s: iou_of_counts(run.sum(axis=0)) for s, run in runs.items()}
        for variant, runs in found.counts.items()
        if variant in found.trained and runs
    }
    parts = {
        c: find_seed_parts(
            {v: {s: float(one[c]) for s, one in row.items()} for v, row in by_class.items()}, baseline
        )
        for c in (np.flatnonzero(found.labelled).tolist() if baseline in by_class else ())
    }
    return {
        pair.variant: _measure_classes(
            pair,
            {c: part.get(pair.variant) for c, part in parts.items()},
            replicates=replicates,
            seed=seed,
            level=level,
        )
        for pair in found.pairs
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Step-down corrected p: the i-th smallest of m times m - i + 1, never below a smaller one's, at most 1."""
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        corrected[index] = min(1.0, largest)
    return corrected


def _check_options(replicates: int, level: float, margin: float | None) -> None:
    if replicates < 100:
        raise ConfigError(f"replicates: expected at least 100, got {replicates} -> 10000 is usual")
    if not 0.5 <= level <= HIGHEST_LEVEL:
        raise ConfigError(f"level: expected 0.5 <= level <= {HIGHEST_LEVEL}, got {level} -> 0.95 is usual")
    if margin is not None and not 0.0 < margin < 1.0:
        raise ConfigError(f"margin: expected a share between 0 and 1, got {margin} -> 0.005 is half a point")


@dataclass(frozen=True, eq=False)
class _Measured:
    """A pair with what images and seeds do to its difference, before the correction, which needs the other variants.
    A part that is not known (one seed), or is not asked for (identical), is None; and so is p for one seed."""

    pair: Pair
    per_seed: Score
    images: ImagePart | None
    seeds: SeedPart | None
    p: float | None


def _count_units(found: Pairs, metric: Metric) -> int:
    """How many units have what the metric needs. Raises ConfigError for fewer than 2."""
    units = int(np.isfinite(metric.score(found.pairs[0].counts[0])).sum())
    if units < 2:
        raise ConfigError(
            f"metrics: {metric.name}: {units} independent image(s) or group(s) have what it takes, and an interval "
            "over images needs at least 2 -> leave it out, or evaluate on more images"
        )
    return units


def _measure(
    metric: Metric,
    pair: Pair,
    per_seed: Score,
    seeds: SeedPart | None,
    *,
    units: int,
    replicates: int,
    seed: int,
) -> _Measured:
    if pair.identical:
        return _Measured(pair, per_seed, None, None, 1.0)
    chunks = resample_counts(pair.counts, replicates=replicates, seed=seed)
    samples = np.concatenate([_mean_difference(metric.score(sums)) for sums in chunks])
    images = ImagePart(samples[~np.isnan(samples)], per_seed.mean, units)
    p = None if seeds is None else joint_p(per_seed.mean, images, seeds)
    return _Measured(pair, per_seed, images, seeds, p)


def _judge(
    found: _Measured,
    p_holm: float | None,
    baseline: str,
    *,
    level: float,
    comparisons: int,
    margin: float | None,
) -> Difference:
    value, pair = found.per_seed.mean, found.pair
    difference = Difference(
        variant=pair.variant,
        value=value,
        interval=(0.0, 0.0),
        p=found.p,
        p_holm=p_holm,
        per_seed=found.per_seed.values,
        images=(0.0, 0.0),
        noise=0.0,
        verdict="identical",
        baseline=baseline,
        seeds=pair.seeds,
        level=level,
        comparisons=comparisons,
        margin=margin,
    )
    if found.images is None:
        return difference
    if found.seeds is None or found.p is None or p_holm is None:
        below, above = found.images.half_widths(level)
        ends = clip(value - below, value + above)
        return replace(
            difference, interval=ends, images=(below, above), noise=None, verdict="one seed", comparisons=1
        )
    # By what the correction multiplied p it divides what the interval may miss.
    wide = 1.0 - (1.0 - level) * max(1.0 / comparisons, found.p / p_holm)
    images, noise = found.images.half_widths(wide), found.seeds.half_width(wide)
    ends = joint_interval(value, found.images, found.seeds, wide)
    verdict = choose_verdict(value, p_holm, ends, level=level, margin=margin)
    difference = replace(difference, interval=ends, images=images, noise=noise, verdict=verdict)
    if verdict != "not shown" or not value:
        return difference
    side = difference.from_images
    return replace(
        difference,
        seeds_needed=find_seeds_needed(value, side, found.seeds, seeds=len(pair.seeds), level=wide),
        images_needed=find_images_needed(value, side, noise, units=found.images.units),
    )


def _measure_classes(
    pair: Pair, parts: Mapping[int, SeedPart | None], *, replicates: int, seed: int, level: float
) -> ClassDifferences:
    units = (pair.counts[0, :, 1] > 0).sum(axis=0)  # (C,)
    value = _mean_difference(iou_of_counts(pair.counts.sum(axis=1))[None])[0]
    chunks = resample_iou(pair.counts, replicates=replicates, seed=seed)
    samples = np.concatenate([_mean_difference(iou) for iou in chunks])  # (R, C)
    lower, upper = np.full((2, len(units)), np.nan)
    for index in np.flatnonzero(units).tolist():
        if pair.identical:
            lower[index] = upper[index] = 0.0
        elif units[index] == 1:  # nothing is known about other images
            lower[index], upper[index] = -1.0, 1.0
        else:
            with_label = samples[~np.isnan(samples[:, index]), index]
            images = ImagePart(with_label, float(value[index]), int(units[index]))
            seeds = parts.get(index) or SeedPart(0.0, 1)
            lower[index], upper[index] = joint_interval(float(value[index]), images, seeds, level)
    return ClassDifferences(np.where(units > 0, value, np.nan), lower, upper, units)


def _mean_difference(scores: np.ndarray) -> np.ndarray:
    """Variant minus baseline, averaged over seeds, of (B, runs, ...) with the variant's runs first."""
    variant, baseline = np.split(scores, 2, axis=1)
    return (variant - baseline).mean(axis=1)


def labelled_iou(matrices: np.ndarray) -> np.ndarray:
    """IoU of each class (C,) of the set (N, C, C); NaN for a class that no image has."""
    return iou(class_counts(matrices).sum(axis=0))


def labelled_miou(matrices: np.ndarray) -> float:
    """mIoU of the set (N, C, C) over the classes that some image has; NaN without any."""
    counts = class_counts(matrices).sum(axis=0)
    return miou_of_counts(counts[:, counts[1] > 0])
