"""One interval for what other images and other trainings would have shown, and the p that follows from it.

A difference D of two data-set scores, averaged over seeds, varies for two reasons: other images would have been the
test, and other trainings (seeds) the models. Each gives a half-width, and the joint interval is

    D - sqrt(lower_images^2 + seeds^2)  to  D + sqrt(upper_images^2 + seeds^2),

which keeps the level of its parts where these are independent and skewed or not (the method of variance estimates
recovery: Zou and Donner 2008, "Construction of confidence limits about effect measures", Statistics in Medicine 27).
p is 1 - level of the interval that just touches 0, so that p and interval never disagree.

Images: the half-widths of the bootstrap's interval (bootstrap.py); beyond the level that the replicates can reach, in
proportion to Student's t with units - 1 degrees of freedom.

Seeds: Student's t times a standard error. What all variants vary by is estimated together: sqrt(2 MS / S), with S seeds
and MS the residual mean square of the table of all scores after a mean for each variant and each seed. With 4 variants
and 3 seeds t is 2.45, where a pair alone has 4.30. If a variant's own pairs with the baseline vary more than that,
their standard error is taken instead: else a variant that varies three times as much as the others would be called
different without being so in 7 to 10 of 100 studies (docs/ablation.md has what was measured).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segkit.ablation.statistics.bootstrap import find_interval, p_value
from segkit.ablation.statistics.student import student_quantile

#: Replicates that must lie beyond an end for the percentile to be taken; further out Student's t goes on.
REACH = 5
#: The smallest p that is computed: what is smaller is said to be smaller.
SMALLEST_P = 1e-6
#: What two scores may differ by and be the same number, computed in another order.
ROUNDING = 1e-12

Scores = Mapping[str, Mapping[int, float]]  # [variant][seed]


@dataclass(frozen=True, eq=False)
class ImagePart:
    """What other images would make of a difference: its replicates `samples` (R,), its `value`, and the number of
    independent units that were resampled. No difference is above `limit` in size."""

    samples: np.ndarray
    value: float
    units: int
    limit: float = 1.0

    def half_widths(self, level: float) -> tuple[float, float]:
        """How far the interval reaches below and above the value."""
        reached = 1.0 - p_value(REACH, len(self.samples), self.units)
        low, high = find_interval(
            self.samples, self.value, units=self.units, level=min(level, reached), limit=self.limit
        )
        stretch = 1.0
        if level > reached:
            freedom = self.units - 1
            stretch = student_quantile(level, freedom) / student_quantile(reached, freedom)
        return stretch * (self.value - low), stretch * (high - self.value)


@dataclass(frozen=True)
class SeedPart:
    """What other trainings would make of a difference: its standard error, with the degrees of freedom of its t."""

    standard_error: float
    freedom: int

    def half_width(self, level: float) -> float:
        """How far the interval reaches on either side."""
        return student_quantile(level, self.freedom) * self.standard_error if self.standard_error else 0.0


@dataclass(frozen=True)
class Variation:
    """How much scores vary from seed to seed: a residual mean square with its degrees of freedom."""

    mean_square: float
    freedom: int


def joint_interval(value: float, images: ImagePart, seeds: SeedPart, level: float) -> tuple[float, float]:
    """The interval at `level` of a difference, within its limit."""
    below, above = images.half_widths(level)
    around = seeds.half_width(level)
    return clip(value - math.hypot(below, around), value + math.hypot(above, around), images.limit)


def clip(low: float, high: float, limit: float) -> tuple[float, float]:
    """The ends of an interval of differences that are not above `limit` in size."""
    return max(low, -limit), min(high, limit)


def joint_p(value: float, images: ImagePart, seeds: SeedPart) -> float:
    """1 - level of the widest interval that leaves 0 out, at least SMALLEST_P; 1 for a difference of 0."""
    if value == 0.0:
        return 1.0

    def leaves_out(p: float) -> bool:
        low, high = joint_interval(value, images, seeds, 1.0 - p)
        return low > 0.0 or high < 0.0

    if leaves_out(SMALLEST_P):
        return SMALLEST_P
    inside, outside = math.log(SMALLEST_P), 0.0
    for _ in range(32):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if leaves_out(math.exp(middle)) else (middle, outside)
    return math.exp(outside)


def find_variation(scores: Scores) -> Variation | None:
    """The residual mean square of all scores after a mean for each variant and for each seed, by least squares, so
    that seeds may be missing here and there. None without a degree of freedom."""
    cells = [(variant, seed) for variant, row in scores.items() for seed in row]
    seeds = sorted({seed for _, seed in cells})
    design = np.zeros((len(cells), len(scores) + len(seeds)))
    for place, (variant, seed) in enumerate(cells):
        design[place, list(scores).index(variant)] = 1.0
        design[place, len(scores) + seeds.index(seed)] = 1.0
    values = np.array([scores[variant][seed] for variant, seed in cells])
    if not len(values):
        return None
    fit, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    freedom = len(values) - int(rank)
    if freedom < 1:
        return None
    square = float(((values - design @ fit) ** 2).sum()) / freedom
    return Variation(square if square > ROUNDING**2 else 0.0, freedom)


def find_spreads(scores: Scores) -> dict[str, float]:
    """By variant, how many times as much as the others it varies from seed to seed, once what a seed does to all is
    taken off. Only of variants for which the others can tell."""
    ratios = {}
    for variant, row in scores.items():
        others = {name: other for name, other in scores.items() if name != variant}
        usual = find_variation(others)
        shared = [seed for seed in row if all(seed in other for other in others.values())]
        if usual is None or len(shared) < 2:
            continue
        rest = np.array([row[s] - np.mean([other[s] for other in others.values()]) for s in shared])
        own = max(0.0, float(rest.var(ddof=1)) - usual.mean_square / len(others))
        if usual.mean_square > 0.0:
            ratios[variant] = math.sqrt(own / usual.mean_square)
        elif own > 0.0:
            ratios[variant] = math.inf
    return ratios


def find_seed_parts(scores: Scores, baseline: str) -> dict[str, SeedPart | None]:
    """For each variant but the baseline what seeds do to its difference; None where it shares one seed only."""
    variation = find_variation(scores)
    parts: dict[str, SeedPart | None] = {}
    for variant, row in scores.items():
        if variant == baseline:
            continue
        shared = sorted(set(row) & set(scores[baseline]))
        if variation is None or len(shared) < 2:
            parts[variant] = None
            continue
        differences = np.array([row[seed] - scores[baseline][seed] for seed in shared])
        square = max(2.0 * variation.mean_square, float(differences.var(ddof=1)))
        parts[variant] = SeedPart(math.sqrt(square / len(shared)), variation.freedom)
    return parts
