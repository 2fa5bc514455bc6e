"""One interval for what other images and other trainings would have shown, and the p that follows from it.

A difference D of two data-set scores, averaged over seeds, varies for two reasons: other images would have been the
test, and other trainings (seeds) the models. Each gives a half-width, and the joint interval is

    D - sqrt(lower_images^2 + seeds^2)  to  D + sqrt(upper_images^2 + seeds^2),

which keeps the level of its parts where these are independent and skewed or not (the method of variance estimates
recovery: Zou and Donner 2008, "Construction of confidence limits about effect measures", Statistics in Medicine 27).
p is 1 - level of the interval that just touches 0, so that p and interval never disagree.

Images: the half-widths of the bootstrap's interval (bootstrap.py); beyond the level that the replicates can reach, in
proportion to Student's t with units - 1 degrees of freedom.

Seeds: Student's t times a standard error (seeds.py).
"""

import math
from dataclasses import dataclass

import numpy as np

from segkit.ablation.statistics.chance.bootstrap import find_interval, p_value
from segkit.ablation.statistics.chance.distributions import student_quantile
from segkit.ablation.statistics.chance.seeds import SeedPart

#: Replicates that must lie beyond an end for the percentile to be taken; further out Student's t goes on.
REACH = 5
#: The smallest p that is computed: what is smaller is said to be smaller.
SMALLEST_P = 1e-6


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
