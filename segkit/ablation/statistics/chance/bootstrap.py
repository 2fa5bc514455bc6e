"""Paired bootstrap over images: how much a difference would vary had other images of the same kind been the test.

A *unit* is what is drawn: an image, or a group of images that are not independent. A replicate draws as many units
as there are, with replacement, the same ones for both sides and all seeds.

Interval: the percentile interval with its tails widened for few units (Hesterberg 2015, "What teachers should know
about the bootstrap", The American Statistician 69, section 5.3): the tail Phi(-z) is taken instead of alpha / 2, with
z = t_{1 - alpha/2, units - 1} * sqrt(units / (units - 1)), because resampling understates the variance by
(units - 1) / units and estimates it from few units. p is the inversion of that same interval: the interval excludes
0 exactly if p < 1 - level.

Measured: how often the 95 % interval held the true difference in mIoU, in 4,000 simulated data sets from each of 4
populations (with and without a difference; images differing moderately or strongly in difficulty; 6 classes, one of
them in a fifth of the images), lowest and highest of the four:

| images | this interval | plain percentile | BCa (1,000 data sets) |
| -----: | ------------: | ---------------: | --------------------: |
|      5 |    90 to 93 % |       78 to 82 % |                       |
|     10 |    92 to 94 % |       86 to 88 % |                       |
|     20 |    92 to 94 % |       89 to 91 % |            84 to 88 % |
|     50 |    93 to 94 % |       92 to 93 % |            90 to 91 % |
|    100 |    93 to 95 % |       93 to 94 % |            90 to 92 % |

BCa, the textbook's refinement, covers less than the plain percentile here: mIoU is a mean of ratios of which some
rest on few images, and the bias and acceleration estimated from those are noise.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from segkit.ablation.statistics.chance.distributions import student_inside

CHUNK_CELLS = 1_000_000  # numbers held for one chunk of replicates, 8 MB each time they are held


def sum_units(table: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The sums of each unit, (G, R, K), from those of its images (N, R, K), by group number (N,)."""
    kind = np.int64 if np.issubdtype(table.dtype, np.integer) else table.dtype
    sums = np.zeros((groups.max() + 1, *table.shape[1:]), dtype=kind)
    np.add.at(sums, groups, table)
    return sums


def draw_units(generator: np.random.Generator, units: int, replicates: int) -> np.ndarray:
    """How often each unit is drawn: float64 (replicates, units), each row summing to `units`."""
    drawn = generator.integers(0, units, size=(replicates, units))
    drawn += np.arange(replicates)[:, None] * units
    times = np.bincount(drawn.ravel(), minlength=replicates * units)
    return times.reshape(replicates, units).astype(np.float64)


def draw_chunks(units: int, *, replicates: int, seed: int, width: int) -> Iterator[np.ndarray]:
    """How often each unit is drawn (B, units) in chunks of B replicates, for tables of `width` numbers a unit.

    The draws depend on `units`, `seed` and the place of the replicate only, not on the chunks.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    chunk = max(1, CHUNK_CELLS // (units + width))
    for start in range(0, replicates, chunk):
        yield draw_units(generator, units, min(chunk, replicates - start))


def resample(times: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The sums (B, R, K) of what was drawn `times` (B, G) from a table (G, R, K).

    Sums of integers are exact in float64 up to 2^53, and its matrix product is far faster than int64's.
    """
    return (times @ table.reshape(len(table), -1).astype(np.float64)).reshape(-1, *table.shape[1:])


@lru_cache(maxsize=10_000)
def p_value(beyond: int, replicates: int, units: int) -> float:
    """Two-sided p of a difference of which `beyond` of the replicates lie at 0 or on the other side of it.

    Never 0: the observed set counts as one more replicate (Davison and Hinkley 1997, section 4.2.3).
    """
    tail = (beyond + 1) / (replicates + 1)
    if units < 2 or tail >= 0.5:
        return 1.0
    z = -NormalDist().inv_cdf(tail)
    return 1.0 - student_inside(z * math.sqrt((units - 1) / units), units - 1)


def find_interval(
    samples: np.ndarray, value: float, *, units: int, level: float, limit: float = 1.0
) -> tuple[float, float]:
    """The interval of a difference in [-limit, limit] that has p >= 1 - level, from its replicates (R,).

    It always contains `value`. All that is possible where so few units, or replicates, allow no statement.
    """
    count = len(samples)
    # The smallest number of replicates beyond an end at which p says that the end is still possible.
    k = bisect_left(range(count // 2 + 1), 1.0 - level, key=lambda beyond: p_value(beyond, count, units))
    if k == 0:
        return -limit, limit
    ordered = np.partition(samples, (k - 1, count - k))
    return min(float(ordered[k - 1]), value), max(float(ordered[count - k]), value)
