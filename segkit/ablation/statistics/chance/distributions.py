"""Student's t and Fisher's F, for degrees of freedom that need not be whole numbers.

Both are made of the regularised incomplete beta function, which neither torch nor numpy has.
"""

import math
from functools import lru_cache
from statistics import NormalDist

#: Beyond this level no number of images or seeds that anybody has tells anything.
HIGHEST_LEVEL = 0.999
#: What a continued fraction may still change by when it is broken off, and the most terms of one: many times what a
#: million degrees of freedom take.
PRECISION, MOST_TERMS = 1e-15, 100_000


def incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b): the share of a beta distribution below `x` in [0, 1] (DLMF, https://dlmf.nist.gov/8.17)."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # the fraction converges fast on the other side only
        return 1.0 - incomplete_beta(1.0 - x, b, a)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(logarithm) / a / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d_1 / (1 + d_2 / (1 + ...)) of DLMF 8.17.22, from the front: the ratios of successive numerators and
    denominators are kept, and their product is the value (Lentz 1976, Applied Optics 15)."""
    value = above = 1.0
    below = 0.0
    for number in range(1, MOST_TERMS):
        m = number // 2
        if number % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        below = 1.0 / (1.0 + term * below)
        above = 1.0 + term / above
        value *= above * below
        if abs(above * below - 1.0) < PRECISION:
            return value
    raise ArithmeticError(f"the incomplete beta function of {x}, {a}, {b} does not converge")


def student_inside(t: float, freedom: float) -> float:
    """P(|T| < t)."""
    return 1.0 - incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


@lru_cache(maxsize=10_000)
def student_quantile(level: float, freedom: float) -> float:
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


def fisher_beyond(ratio: float, above: float, below: float) -> float:
    """P(F > `ratio`) of a ratio of mean squares with the degrees of freedom `above` and `below` the line."""
    return incomplete_beta(below / (below + above * ratio), below / 2, above / 2)
