"""Student's t and Fisher's F against tables, integrals and SciPy."""

import math

import numpy as np
import pytest

from segkit.ablation.statistics.chance.distributions import (
    fisher_beyond,
    incomplete_beta,
    student_inside,
    student_quantile,
)

# Upper 2.5 % points of Student's t, from the tables.
T_TABLE = {
    1: 12.7062,
    2: 4.30265,
    3: 3.18245,
    4: 2.77645,
    5: 2.57058,
    19: 2.09302,
    100: 1.98397,
    101: 1.98373,
}
# Upper 1 % points of Fisher's F, from the tables, by the degrees of freedom above and below the line.
F_TABLE = {(1, 1): 4052.181, (2, 4): 18.0, (4, 2): 99.249, (3, 30): 4.510, (10, 10): 4.849}


@pytest.mark.parametrize(("freedom", "t"), T_TABLE.items())
def test_student_equals_the_tables(freedom, t):
    assert student_inside(t, freedom) == pytest.approx(0.95, abs=3e-6)
    assert student_quantile(0.95, freedom) == pytest.approx(t, rel=1e-4)


@pytest.mark.parametrize("freedom", [1, 2, 2.6, 3, 6, 7, 50])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.7, 5.0])
def test_student_equals_the_integral(freedom, t):
    x = np.linspace(-t, t, 20_001)
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    density = scale * (1 + x**2 / freedom) ** (-(freedom + 1) / 2)
    area = (density.sum() - density[0]) * (x[1] - x[0])  # the density is symmetric: the trapezoid rule
    assert student_inside(t, freedom) == pytest.approx(area, abs=1e-7)


@pytest.mark.parametrize("freedom", [1, 1.2, 2, 3, 4.7, 8, 24, 199, 1e6])
@pytest.mark.parametrize("level", [0.0, 0.3, 0.8, 0.95, 0.999, 1 - 1e-6])
def test_student_quantile_equals_scipys(level, freedom):
    stats = pytest.importorskip("scipy.stats")
    assert student_quantile(level, freedom) == pytest.approx(stats.t.ppf(0.5 + level / 2, freedom), rel=1e-6)


@pytest.mark.parametrize(("freedom", "ratio"), F_TABLE.items())
def test_fisher_equals_the_tables(freedom, ratio):
    assert fisher_beyond(ratio, *freedom) == pytest.approx(0.01, rel=1e-3)
    assert fisher_beyond(0.0, *freedom) == 1.0


@pytest.mark.parametrize("a", [0.5, 1.0, 2.7, 40.0, 5e5])
@pytest.mark.parametrize("b", [0.5, 1.0, 3.1, 1000.0])
@pytest.mark.parametrize("x", [0.0, 1e-9, 0.01, 0.4, 0.6, 0.99, 1.0])
def test_the_incomplete_beta_equals_scipys(a, b, x):
    special = pytest.importorskip("scipy.special")
    assert incomplete_beta(x, a, b) == pytest.approx(special.betainc(a, b, x), rel=1e-9, abs=1e-13)
