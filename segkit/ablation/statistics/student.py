"""Student's t for integer degrees of freedom."""

import math
from functools import lru_cache
from statistics import NormalDist

#: Beyond this level no number of images or seeds that anybody has tells anything.
HIGHEST_LEVEL = 0.999


def student_inside(t: float, freedom: int) -> float:
    """P(|T| < t) (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    odd, square = freedom % 2, math.cos(angle) ** 2
    # A sum over powers of the cosine; from one term to the next it is cos^2 (k - 1) / k.
    total = term = 1.0
    for k in range(2 + odd, freedom, 2):
        term *= square * (k - 1) / k
        total += term
    if not odd:
        return math.sin(angle) * total
    series = math.sin(angle) * math.cos(angle) * total if freedom > 1 else 0.0
    return 2.0 / math.pi * (angle + series)


@lru_cache(maxsize=10_000)
def student_quantile(level: float, freedom: int) -> float:
    """The t with P(|T| < t) = `level`."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    # Newton's steps from the left never pass the root: P is concave. The normal quantile lies to its left; from there a
    # few steps do, or in a heavy tail some that each about double t.
    t = NormalDist().inv_cdf((1.0 + level) / 2)
    for _ in range(200):
        density = 2.0 * scale * (1.0 + t * t / freedom) ** (-(freedom + 1) / 2)
        step = (level - student_inside(t, freedom)) / density
        t += step
        if step <= 1e-12 * t:
            break
    return t
