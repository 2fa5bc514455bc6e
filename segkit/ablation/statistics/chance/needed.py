"""How many seeds, or images, would have shown a difference of the size that was found."""

import math

from segkit.ablation.statistics.chance.distributions import student_quantile
from segkit.ablation.statistics.chance.seeds import SeedPart

MOST_SEEDS = 100  # beyond, nobody trains them


def find_seeds_needed(
    value: float, from_images: float, part: SeedPart, *, seeds: int, level: float
) -> int | None:
    """With so many seeds the interval at `level` would leave out 0, were the difference, what a seed does and the part
    from images (its half-width) the same. None where even MOST_SEEDS would not do."""
    for number in range(seeds, MOST_SEEDS + 1):
        freedom = part.freedom * (number - 1) / (seeds - 1)
        noise = student_quantile(level, freedom) * part.standard_error * math.sqrt(seeds / number)
        if math.hypot(from_images, noise) < abs(value):
            return number
    return None


def find_images_needed(value: float, from_images: float, noise: float, *, units: int) -> int | None:
    """The same for independent images, whose half-width shrinks with the root of their number. None where the part
    from seeds alone is as large as the difference."""
    room = value**2 - noise**2
    return math.ceil(units * from_images**2 / room) if room > 0.0 else None
