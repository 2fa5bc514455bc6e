"""The difference in IoU of every class."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segkit.ablation.statistics.chance.joint import ImagePart, joint_interval
from segkit.ablation.statistics.chance.seeds import SeedPart, find_seed_parts
from segkit.ablation.statistics.metrics import OF_A_CLASS
from segkit.ablation.statistics.pairs import Pair, Pairs

#: The IoU of all classes at once, (..., C).
CLASS_IOU = OF_A_CLASS["iou"]


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


def measure_classes(
    found: Pairs, samples: Mapping[tuple[str, str], np.ndarray], *, level: float
) -> dict[str, ClassDifferences]:
    """By variant, from the replicates (R, C) of CLASS_IOU.

    The interval of a class is of the replicates that have its label, and as wide as the number of units with the label
    demands; (-1, 1) for a single unit.
    """
    by_class = {
        variant: {s: CLASS_IOU.score(run.sum(axis=0)) for s, run in runs.items()}
        for variant, runs in found.counts.items()
    }
    trained = {variant: row for variant, row in by_class.items() if variant in found.trained and row}
    parts = {
        c: find_seed_parts(
            {v: {s: float(one[c]) for s, one in row.items()} for v, row in trained.items()}, found.baseline
        )
        for c in (np.flatnonzero(found.labelled).tolist() if found.baseline in trained else ())
    }
    baseline = by_class[found.baseline]
    return {
        pair.variant: _measure(
            pair,
            np.mean([by_class[pair.variant][s] - baseline[s] for s in pair.seeds], axis=0),
            samples.get((pair.variant, CLASS_IOU.name)),
            {c: part.get(found.original(pair.variant)) for c, part in parts.items()},
            (found.counts[found.baseline][pair.seeds[0]][:, 1] > 0).sum(axis=0),
            level=level,
        )
        for pair in found.pairs
    }


def _measure(
    pair: Pair,
    value: np.ndarray,
    samples: np.ndarray | None,
    parts: Mapping[int, SeedPart | None],
    units: np.ndarray,
    *,
    level: float,
) -> ClassDifferences:
    lower, upper = np.full((2, len(units)), np.nan)
    for index in np.flatnonzero(units).tolist():
        if samples is None:  # identical to the baseline
            lower[index] = upper[index] = 0.0
        elif units[index] == 1:  # nothing is known about other images
            lower[index], upper[index] = -1.0, 1.0
        else:
            with_label = samples[~np.isnan(samples[:, index]), index]
            images = ImagePart(with_label, float(value[index]), int(units[index]))
            seeds = parts.get(index) or SeedPart(0.0, 1)
            lower[index], upper[index] = joint_interval(float(value[index]), images, seeds, level)
    return ClassDifferences(np.where(units > 0, value, np.nan), lower, upper, units)
