"""A pair's difference with what images and seeds do to it, and what it is called once p is corrected."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from segkit.ablation.statistics.chance.joint import ImagePart, clip, joint_interval, joint_p
from segkit.ablation.statistics.chance.needed import find_images_needed, find_seeds_needed
from segkit.ablation.statistics.chance.seeds import SeedPart, find_seed_parts
from segkit.ablation.statistics.difference import Difference, Score, choose_verdict, score
from segkit.ablation.statistics.metrics import Metric
from segkit.ablation.statistics.pairs import Pair, Pairs


@dataclass(frozen=True, eq=False)
class Measured:
    """A difference before the correction, which needs the other variants.

    A part that is not known (one seed), or is not asked for (identical), is None; and so is p for one seed.
    """

    pair: Pair
    metric: Metric
    per_seed: Score
    images: ImagePart | None
    seeds: SeedPart | None
    p: float | None


def measure(
    found: Pairs,
    metric: Metric,
    scores: Mapping[str, Mapping[int, float]],
    samples: Mapping[tuple[str, str], np.ndarray],
    *,
    units: int,
) -> list[Measured]:
    """The difference of every pair, from the scores by variant and seed and from the replicates."""
    own = {variant: row for variant, row in scores.items() if variant in found.trained and row}
    parts = find_seed_parts(own, found.baseline) if found.baseline in own else {}
    measured = []
    for pair in found.pairs:
        per_seed = score([scores[pair.variant][s] - scores[found.baseline][s] for s in pair.seeds])
        if pair.identical:
            measured.append(Measured(pair, metric, per_seed, None, None, 1.0))
            continue
        drawn = samples[pair.variant, metric.name]
        images = ImagePart(drawn[~np.isnan(drawn)], per_seed.mean, units, metric.limit)
        seeds = parts.get(found.original(pair.variant))
        p = None if seeds is None else joint_p(per_seed.mean, images, seeds)
        measured.append(Measured(pair, metric, per_seed, images, seeds, p))
    return measured


def holm(p_values: Sequence[float]) -> list[float]:
    """Step-down corrected p: the i-th smallest of m times m - i + 1, never below a smaller one's, at most 1."""
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        corrected[index] = min(1.0, largest)
    return corrected


def judge_all(
    measured: Sequence[Measured], baseline: str, *, units: int, level: float, margin: float | None
) -> tuple[Difference, ...]:
    """What every difference is called, with p and intervals corrected for their number."""
    corrected = iter(holm([one.p for one in measured if one.p is not None]))
    p_holm = [None if one.p is None else next(corrected) for one in measured]
    comparisons = max(1, sum(p is not None for p in p_holm))
    differences = []
    for one, p in zip(measured, p_holm, strict=True):
        found = Difference(
            variant=one.pair.variant,
            value=one.per_seed.mean,
            interval=(0.0, 0.0),
            p=one.p,
            p_holm=p,
            per_seed=one.per_seed.values,
            images=(0.0, 0.0),
            noise=0.0,
            verdict="identical",
            baseline=baseline,
            seeds=one.pair.seeds,
            level=level,
            comparisons=comparisons,
            margin=margin,
            units=units,
            metric=one.metric.title,
            unit=one.metric.unit,
            less_is_better=one.metric.less_is_better,
        )
        differences.append(_judge(found, one))
    return tuple(differences)


def _judge(difference: Difference, found: Measured) -> Difference:
    """With its interval, the parts of it, its verdict and what would have shown it."""
    value, level, p_holm = difference.value, difference.level, difference.p_holm
    if found.images is None:
        return difference
    if found.seeds is None or found.p is None or p_holm is None:
        below, above = found.images.half_widths(level)
        ends = clip(value - below, value + above, found.metric.limit)
        return replace(
            difference, interval=ends, images=(below, above), noise=None, verdict="one seed", comparisons=1
        )
    # By what the correction multiplied p it divides what the interval may miss.
    wide = 1.0 - (1.0 - level) * max(1.0 / difference.comparisons, found.p / p_holm)
    images, noise = found.images.half_widths(wide), found.seeds.half_width(wide)
    ends = joint_interval(value, found.images, found.seeds, wide)
    gain = -value if found.metric.less_is_better else value
    verdict = choose_verdict(gain, p_holm, ends, level=level, margin=difference.margin)
    difference = replace(difference, interval=ends, images=images, noise=noise, verdict=verdict)
    if verdict != "not shown" or not value or math.isinf(difference.from_images):
        return difference
    side = difference.from_images
    return replace(
        difference,
        seeds_needed=find_seeds_needed(value, side, found.seeds, seeds=len(found.pair.seeds), level=wide),
        images_needed=find_images_needed(value, side, noise, units=found.images.units),
    )
