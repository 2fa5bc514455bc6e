"""Is a variant better than the baseline? Differences of the data-set mIoU, what they may be by chance, and in words.

Two kinds of chance are kept apart. The *interval* and p come from a paired bootstrap over images, with the runs as
they are (seeds averaged): what other images of the same kind would have shown of these very models. They say nothing
about training again. For that stands the *seed noise* beside them, half the width of Student's interval for the mean of
the paired differences over seeds (same seed: same initial weights, same data order). A difference not larger than it is
called "within seed noise", whatever its p. With 3 to 5 seeds no rank test can be significant, so there is none.

p is corrected for the number of variants compared with the baseline (Holm 1979, "A simple sequentially rejective
multiple test procedure", Scandinavian Journal of Statistics 6); the intervals are not.
All scores are in [0, 1]. Methods and their measured coverage: `segkit.ablation.statistics.bootstrap`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from segkit.ablation.statistics.bootstrap import find_interval, find_p, mean_counted, resample_iou
from segkit.ablation.statistics.counts import (
    accuracy,
    class_counts,
    class_iou,
    data_set_miou,
    iou_of_counts,
    miou_of_counts,
)
from segkit.ablation.statistics.difference import Difference, Score, choose_verdict, find_seed_noise, score
from segkit.ablation.statistics.pairs import Matrices, Pair, count_pairs
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

FEW_UNITS = 20  # below, 95 % intervals miss the truth in 6 to 10 % of data sets (measured, see bootstrap.py)


@dataclass(frozen=True)
class Comparison:
    """All variants against the baseline. `groups` is the number of independent units that were resampled."""

    baseline: str
    differences: tuple[Difference, ...]
    groups: int
    replicates: int
    level: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ClassDifferences:
    """IoU of each class minus the baseline's, averaged over shared seeds: `value`, `lower`, `upper` (C,).

    NaN for a class without labels, for which no IoU can be told. `units` (C,): independent units with the label. The
    intervals are unadjusted, so of 20 classes without any difference one may be expected to exclude 0.
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
) -> Comparison:
    """The mIoU difference of each variant to the baseline, with interval, p, seed noise and verdict.

    `matrices[variant][seed]` are int64 confusion matrices (N, C, C), the same images in the same order everywhere.
    `groups` (N,) numbers the images' groups, see `group_images`; None: every image is independent. A unit without a
    valid pixel is left out. A variant is compared over the seeds it shares with the baseline. The same arguments give
    the same result. ConfigError if the runs cannot be paired or fewer than 2 units are left.
    """
    _check_options(replicates, level)
    pairs = count_pairs(matrices, baseline, groups)
    found = [_measure(pair, baseline, replicates=replicates, seed=seed, level=level) for pair in pairs]
    corrected = holm([difference.p for difference in found])
    differences = tuple(
        _judge(difference, p_holm, identical=pair.identical, comparisons=len(pairs))
        for difference, p_holm, pair in zip(found, corrected, pairs, strict=True)
    )
    units = pairs[0].units if pairs else 0
    return Comparison(
        baseline, differences, units, replicates, level, _list_warnings(pairs, matrices, baseline)
    )


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

    The interval of a class is over the replicates that have its label, and as wide as the number of units with the
    label demands: (-1, 1) for 3 units or fewer at 95 %.
    """
    _check_options(replicates, level)
    return {
        pair.variant: _measure_classes(pair, replicates=replicates, seed=seed, level=level)
        for pair in count_pairs(matrices, baseline, groups)
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Step-down corrected p: the i-th smallest of m times m - i + 1, never below a smaller one's, at most 1."""
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        corrected[index] = min(1.0, largest)
    return corrected


def _check_options(replicates: int, level: float) -> None:
    if replicates < 100:
        raise ConfigError(f"replicates: expected at least 100, got {replicates} -> 10000 is usual")
    if not 0.5 <= level < 1.0:
        raise ConfigError(f"level: expected 0.5 <= level < 1, got {level} -> 0.95 is usual")


def _measure(pair: Pair, baseline: str, *, replicates: int, seed: int, level: float) -> Difference:
    """The difference without correction and verdict, which need the other variants."""
    variant_scores, baseline_scores = np.split(_miou_by_run(pair.counts), 2)
    per_seed = score((variant_scores - baseline_scores).tolist())
    interval, p = (0.0, 0.0), 1.0
    if not pair.identical:
        chunks = resample_iou(pair.counts, replicates=replicates, seed=seed)
        samples = np.concatenate([_mean_difference(mean_counted(iou)) for iou in chunks])
        interval = find_interval(samples, per_seed.mean, units=pair.units, level=level)
        p = find_p(samples, per_seed.mean, units=pair.units)
    return Difference(
        variant=pair.variant,
        value=per_seed.mean,
        interval=interval,
        p=p,
        p_holm=p,
        per_seed=per_seed.values,
        seed_noise=find_seed_noise(per_seed, level),
        verdict="",
        baseline=baseline,
        seeds=pair.seeds,
        level=level,
    )


def _judge(difference: Difference, p_holm: float, *, identical: bool, comparisons: int) -> Difference:
    significant = p_holm < 1.0 - difference.level
    verdict = choose_verdict(
        difference.value, difference.seed_noise, significant=significant, identical=identical
    )
    return replace(difference, p_holm=p_holm, verdict=verdict, comparisons=comparisons)


def _measure_classes(pair: Pair, *, replicates: int, seed: int, level: float) -> ClassDifferences:
    units = (pair.counts[0, :, 1] > 0).sum(axis=0)  # (C,)
    value = _mean_difference(iou_of_counts(pair.counts.sum(axis=1))[None])[0]
    chunks = resample_iou(pair.counts, replicates=replicates, seed=seed)
    samples = np.concatenate([_mean_difference(iou) for iou in chunks])  # (R, C)
    lower, upper = np.full((2, len(units)), np.nan)
    for index in np.flatnonzero(units):
        with_label = samples[~np.isnan(samples[:, index]), index]
        ends = find_interval(with_label, float(value[index]), units=int(units[index]), level=level)
        lower[index], upper[index] = (0.0, 0.0) if pair.identical else ends
    return ClassDifferences(np.where(units > 0, value, np.nan), lower, upper, units)


def _mean_difference(scores: np.ndarray) -> np.ndarray:
    """Variant minus baseline, averaged over seeds, of (B, runs, ...) with the variant's runs first."""
    variant, baseline = np.split(scores, 2, axis=1)
    return (variant - baseline).mean(axis=1)


def _miou_by_run(counts: np.ndarray) -> np.ndarray:
    """(S,) from (S, G, 3, C)."""
    return np.array([miou_of_counts(run) for run in counts.sum(axis=1)])


def _list_warnings(pairs: Sequence[Pair], matrices: Matrices, baseline: str) -> tuple[str, ...]:
    warnings = []
    if pairs and pairs[0].units < FEW_UNITS:
        warnings.append(
            f"only {pairs[0].units} independent images or groups: with fewer than {FEW_UNITS} the intervals are too "
            "narrow and the p values too small"
        )
    for pair in pairs:
        left_out = set(matrices[pair.variant]) ^ set(matrices[baseline])
        if left_out:
            warnings.append(
                f"{pair.variant} is compared with {baseline} over the seeds both have, {_list_numbers(pair.seeds)}; "
                f"only one of them has {_list_numbers(sorted(left_out))}"
            )
    return tuple(warnings)


def _list_numbers(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)
