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
from dataclasses import dataclass, field

import numpy as np

from segkit.ablation.statistics.cautions import count_predicted, list_cautions, say_correlated
from segkit.ablation.statistics.chance.distributions import HIGHEST_LEVEL
from segkit.ablation.statistics.classes import CLASS_IOU, ClassDifferences, measure_classes
from segkit.ablation.statistics.difference import Difference
from segkit.ablation.statistics.measured import judge_all, measure
from segkit.ablation.statistics.metrics import MIOU, Metric
from segkit.ablation.statistics.pairs import Pairs, Runs, count_pairs
from segkit.ablation.statistics.replicates import resample_differences
from segkit.ablation.statistics.spreads import WideSpread, find_wide_spreads, say_spreads
from segkit.errors import ConfigError


@dataclass(frozen=True)
class Comparison:
    """All variants against the baseline. `groups` is the number of independent units that were resampled, `unlabelled`
    the classes (by index) that no image has and that are left out of the mean, each with the most pixels that a run
    predicts as it. What to be careful about are `cautions`, sentences without capital and full stop, `correlated`, one
    more where units that follow each other are alike, and `spreads`, the variants that vary far more than the others.
    """

    baseline: str
    differences: tuple[Difference, ...]
    groups: int
    replicates: int
    level: float
    cautions: tuple[str, ...]
    margin: float | None = None
    unlabelled: Mapping[int, int] = field(default_factory=dict)
    metric: Metric = MIOU
    correlated: str | None = None
    spreads: tuple[WideSpread, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """All that there is to be careful about by this metric, as sentences without capital and full stop."""
        return list_warnings([self])


def list_warnings(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """What there is to be careful about by one metric or several, the main one first: what is the same by all of them
    once, and a variant that varies more than the others in one sentence."""
    cautions = dict.fromkeys(text for comparison in comparisons for text in comparison.cautions)
    correlated = [comparison.correlated for comparison in comparisons if comparison.correlated is not None]
    spreads = [spread for comparison in comparisons for spread in comparison.spreads]
    return (*cautions, *correlated[:1], *say_spreads(spreads, baseline=comparisons[0].baseline))


@dataclass(frozen=True)
class Compared:
    """`comparisons` by metric, the main one first; why a further metric could not be measured, `unmeasured`; and the
    differences of every class by variant, `classes`."""

    comparisons: tuple[Comparison, ...]
    unmeasured: tuple[str, ...]
    classes: Mapping[str, ClassDifferences]


def compare_metrics(
    runs: Runs,
    baseline: str,
    metrics: Sequence[Metric],
    *,
    groups: np.ndarray | None = None,
    replicates: int = 10_000,
    class_replicates: int = 0,
    seed: int = 0,
    level: float = 0.95,
    margin: float | None = None,
    class_names: Sequence[str] = (),
) -> Compared:
    """The difference of each variant to the baseline by every metric, with its interval, p and verdict.

    `runs[variant][seed]` are counts or integer confusion matrices (N, C, C), of the same images in the same order.
    `groups` (N,) numbers the images' groups, see `group_images`; None: every image is independent. A unit without a
    valid pixel is left out. A variant is compared over the seeds it shares with the baseline; one that shares none is
    left out, with a warning, and seeds that are equal in every image count as one. `margin`, in what the first metric
    is measured in, is how large a difference by it may be and still not matter; `class_names` are for warnings. With
    `class_replicates` the classes are compared too, by so many replicates. The same arguments give the same result.

    ConfigError if the runs cannot be paired, fewer than 2 units are left, or the first metric cannot be measured.
    """
    _check_options(replicates, level, margin)
    found = count_pairs(runs, baseline, groups)
    units, unmeasured = _find_measurable(found, metrics)
    wanted = dict.fromkeys(units, replicates) | ({CLASS_IOU: class_replicates} if class_replicates else {})
    samples = resample_differences(found, wanted, seed=seed)
    unlabelled = {c: count_predicted(found, c) for c in np.flatnonzero(~found.labelled).tolist()}
    comparisons = []
    for metric, count in units.items():
        allowed = margin if metric is metrics[0] else None
        scores = {
            variant: {s: float(metric.score(table.sum(axis=0))) for s, table in row.items()}
            for variant, row in found.tables[metric.kind].items()
        }
        measured = measure(found, metric, scores, samples, units=count)
        trained = {variant: row for variant, row in scores.items() if variant in found.trained and row}
        comparisons.append(
            Comparison(
                baseline,
                judge_all(measured, baseline, units=count, level=level, margin=allowed),
                count,
                replicates,
                level,
                list_cautions(found, metric, units=count, class_names=class_names),
                allowed,
                unlabelled,
                metric,
                say_correlated(found, metric, grouped=groups is not None),
                tuple(find_wide_spreads(trained, metric, baseline=baseline)),
            )
        )
    classes = measure_classes(found, samples, level=level) if class_replicates else {}
    return Compared(tuple(comparisons), tuple(unmeasured), classes)


def _check_options(replicates: int, level: float, margin: float | None) -> None:
    if replicates < 100:
        raise ConfigError(f"replicates: expected at least 100, got {replicates} -> 10000 is usual")
    if not 0.5 <= level <= HIGHEST_LEVEL:
        raise ConfigError(f"level: expected 0.5 <= level <= {HIGHEST_LEVEL}, got {level} -> 0.95 is usual")
    if margin is not None and not 0.0 < margin < 1.0:
        raise ConfigError(f"margin: expected a share between 0 and 1, got {margin} -> 0.005 is half a point")


def _find_measurable(found: Pairs, metrics: Sequence[Metric]) -> tuple[dict[Metric, int], list[str]]:
    """How many units each metric has that can be measured, and why the others cannot.

    Raises ConfigError if the first is one of them.
    """
    units: dict[Metric, int] = {}
    unmeasured = []
    for metric in metrics:
        try:
            units[metric] = _count_units(found, metric) if found.pairs else 0
        except ConfigError as error:  # a report on the others is worth more than none
            if metric is metrics[0]:
                raise
            unmeasured.append(str(error))
    return units, unmeasured


def _count_units(found: Pairs, metric: Metric) -> int:
    """How many units have what the metric needs. Raises ConfigError for fewer than 2, and for runs that lack it or have
    sums that are not finite."""
    lacking = found.lacking.get(metric.kind)
    if lacking:
        raise ConfigError(
            f"metrics: {metric.name}: not counted, or not alike, in {_name_runs(lacking)} -> score these runs again"
        )
    tables = found.tables[metric.kind]
    wrong = [(variant, s) for variant, row in tables.items() for s in row if not np.isfinite(row[s]).all()]
    if wrong:
        raise ConfigError(
            f"metrics: {metric.name}: infinite, or no number, in {_name_runs(wrong)}: the training, or its precision, "
            "has failed -> look at its logits, train it again, or compare by another metric"
        )
    pair = found.pairs[0]
    table = tables[pair.variant][pair.seeds[0]]
    units = int(np.isfinite(metric.score(table)).sum())
    if units < 2:
        raise ConfigError(
            f"metrics: {metric.name}: {units} independent image(s) or group(s) have what it takes, and an interval "
            "over images needs at least 2 -> leave it out, or evaluate on more images"
        )
    return units


def _name_runs(runs: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{variant} (seed {s})" for variant, s in runs)


def compare_to_baseline(
    runs: Runs,
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
    """By one metric; arguments and errors as for `compare_metrics`."""
    return compare_metrics(
        runs,
        baseline,
        [metric],
        groups=groups,
        replicates=replicates,
        seed=seed,
        level=level,
        margin=margin,
        class_names=class_names,
    ).comparisons[0]


def class_differences(
    runs: Runs,
    baseline: str,
    *,
    groups: np.ndarray | None = None,
    replicates: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Mapping[str, ClassDifferences]:
    """The difference in IoU of each class, by variant; arguments and errors as for `compare_metrics`."""
    _check_options(replicates, level, None)
    found = count_pairs(runs, baseline, groups)
    samples = resample_differences(found, {CLASS_IOU: replicates}, seed=seed)
    return measure_classes(found, samples, level=level)
