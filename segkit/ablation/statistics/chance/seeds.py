"""What other trainings, other seeds, would make of a difference: its standard error and degrees of freedom.

Its square, over S seeds, is what the baseline and the variant vary by from seed to seed, divided by S. What variants
vary by is estimated together: MS, the residual mean square of the table of their scores after a mean for each variant
and each seed. So with 4 variants and 3 seeds t is 2.45, where a pair alone has 4.30. But losses differ in how much they
vary, and what does

- the baseline is in all differences at once. With one estimate for all, 7 to 14 of 100 studies of 3 to 12 variants
  called one different without an effect where the baseline varied three times as much. So it is estimated by itself,
  and taken where it makes the error larger;
- a variant by so much that an F test tells would make all intervals wide. It is left out of MS, and its own pairs with
  the baseline are all that is asked about it;
- another variant is at least in its own pairs: where these vary more, their standard error is taken;
- a variant does not at all, having the same score with all seeds, tells nothing of the others: it is 0.0 of a class
  that nobody finds. As one that varies little it would make the only variant that finds the class far too sure.

docs/ablation.md has what was measured of this.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from segkit.ablation.statistics.chance.distributions import fisher_beyond, student_quantile

#: What two scores may differ by and be the same number, computed in another order.
ROUNDING = 1e-12
#: In how many studies of variants that vary alike one may be left out of what they vary by together. It costs that one
#: power, and the others nothing.
WRONGLY_APART = 0.05
#: How soon the degrees of freedom fall to those of the baseline's own estimate, as this exceeds that of all. Chosen by
#: simulation: with 4 and three seeds or more, false verdicts stay below 6 % where the baseline varies 1 to 10 times as
#: much (with two seeds they are 7 to 10 % in studies of 6 and 12 variants), and the power for variants that vary alike
#: falls by a sixth with 3 seeds and hardly with 5.
STEEPNESS = 4

Scores = Mapping[str, Mapping[int, float]]  # [variant][seed]


@dataclass(frozen=True)
class SeedPart:
    """What other trainings would make of a difference: its standard error, with the degrees of freedom of its t."""

    standard_error: float
    freedom: float

    def half_width(self, level: float) -> float:
        """How far the interval reaches on either side."""
        return student_quantile(level, self.freedom) * self.standard_error if self.standard_error else 0.0


@dataclass(frozen=True)
class Variation:
    """How much something varies from seed to seed: a mean square with its degrees of freedom."""

    mean_square: float
    freedom: float


@dataclass(frozen=True)
class Beside:
    """A variant beside others: the `others`' own variation, None if they are too few to tell, and what this one `adds`
    to their residuals. If it varies as they do the two mean squares are independent estimates of the same, and their
    ratio is Fisher's F. `number` is how many others there are to a seed of this one."""

    adds: Variation
    others: Variation | None
    number: float

    @property
    def own_square(self) -> float:
        """The variance of this one alone: with n others what it adds is (n own + MS) / (n + 1)."""
        usual = self.adds.mean_square if self.others is None else self.others.mean_square
        return max(0.0, self.adds.mean_square + (self.adds.mean_square - usual) / self.number)

    @property
    def p(self) -> float:
        """How often chance adds so much to others that vary alike; 1 where they do not vary."""
        if self.others is None or self.others.mean_square == 0.0:
            return 1.0
        ratio = self.adds.mean_square / self.others.mean_square
        return fisher_beyond(ratio, self.adds.freedom, self.others.freedom)


def find_variation(scores: Scores) -> Variation | None:
    """The residual mean square of all scores after a mean for each variant and for each seed, by least squares, so
    that seeds may be missing here and there. None without a degree of freedom."""
    _, table = _tabulate(scores)
    there = ~np.isnan(table)
    if not there.any():
        return None
    if there.all():
        residuals = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
        freedom = (len(table) - 1) * (table.shape[1] - 1)
    else:
        effects, rank = _fit_seeds(table, there)
        residuals = _centre(table - effects, there)
        freedom = int(there.sum()) - int(there.any(axis=1).sum()) - rank
    if freedom < 1:
        return None
    square = float((residuals**2).sum()) / freedom
    return Variation(square if square > ROUNDING**2 else 0.0, freedom)


def find_seed_effects(scores: Scores) -> dict[int, float]:
    """What each seed does to all variants, by the same fit: 0 on average over the seeds that can be compared."""
    seeds, table = _tabulate(scores)
    if not seeds:
        return {}
    effects, _ = _fit_seeds(table, ~np.isnan(table))
    return dict(zip(seeds, effects.tolist(), strict=True))


def _tabulate(scores: Scores) -> tuple[list[int], np.ndarray]:
    """The seeds, and the scores (variants, seeds), NaN where there is none."""
    seeds = sorted({seed for row in scores.values() for seed in row})
    return seeds, np.array([[row.get(seed, math.nan) for seed in seeds] for row in scores.values()])


def _fit_seeds(table: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, int]:
    """What each seed does (seeds,), and how many of these can be told: all but one of those that variants connect.

    A mean for each variant is taken off both sides of the least squares first, which leaves equations of the seeds
    alone; with a column for each variant it took a hundred times as long for 60 of them.
    """
    counts = np.maximum(there.sum(axis=1, keepdims=True), 1)
    # The Laplacian of the seeds, which are tied where a variant has both.
    ties = np.diag(there.sum(axis=0)) - there.T @ (there / counts)
    effects, _, rank, _ = np.linalg.lstsq(ties, _centre(table, there).sum(axis=0), rcond=None)
    return effects, int(rank)


def _centre(table: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The scores that are there less the mean of their variant, 0 elsewhere."""
    known = np.where(there, table, 0.0)
    means = known.sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1, keepdims=True), 1)
    return np.where(there, known - means, 0.0)


def put_beside(row: Mapping[int, float], others: Scores) -> Beside | None:
    """A variant's scores by seed beside those of others. None where they share too few seeds to tell how it varies."""
    both = find_variation({**others, "": row})  # no variant has an empty name
    alone = find_variation(others)
    shared = sum(seed in row for other in others.values() for seed in other)
    if both is None or not shared:
        return None
    square, freedom = (alone.mean_square * alone.freedom, alone.freedom) if alone else (0.0, 0.0)
    if both.freedom <= freedom:
        return None
    added = max(0.0, both.mean_square * both.freedom - square) / (both.freedom - freedom)
    adds = Variation(added if added > ROUNDING**2 else 0.0, both.freedom - freedom)
    return Beside(adds, alone, shared / sum(any(seed in other for other in others.values()) for seed in row))


def find_apart(scores: Scores) -> set[str]:
    """The variants that vary so much more than the others that chance does so in one study of twenty: one after the
    other is left out while the rest, at least two, can tell. Who does not vary is not asked."""
    rest, apart = {variant: row for variant, row in scores.items() if varies(row)}, set[str]()
    while len(rest) > 2:
        chances = {
            variant: beside.p
            for variant, row in rest.items()
            if (beside := put_beside(row, {name: other for name, other in rest.items() if name != variant}))
        }
        if not chances:
            break
        variant = min(chances, key=lambda name: chances[name])
        if chances[variant] >= WRONGLY_APART / len(rest):
            break
        del rest[variant]
        apart.add(variant)
    return apart


def varies(row: Mapping[int, float]) -> bool:
    """Whether these scores by seed are not all the same."""
    return max(row.values()) - min(row.values()) > ROUNDING


def others_of(variant: str, scores: Scores, apart: Collection[str]) -> dict[str, Mapping[int, float]]:
    """Whom a variant is compared with: all others, but for who stands `apart` or does not vary."""
    return {
        name: row for name, row in scores.items() if name != variant and name not in apart and varies(row)
    }


def find_spreads(scores: Scores, apart: Collection[str] = ()) -> dict[str, float]:
    """By variant, how many times as much as the others it varies from seed to seed, once what a seed does to all is
    taken off. Only of variants for which the others can tell; who stands `apart`, or does not vary, is not asked about
    others."""
    ratios = {}
    for variant, row in scores.items():
        beside = put_beside(row, others_of(variant, scores, apart))
        if beside is None or beside.others is None:
            continue
        if beside.others.mean_square > 0.0:
            ratios[variant] = math.sqrt(beside.own_square / beside.others.mean_square)
        elif beside.own_square > 0.0:
            ratios[variant] = math.inf
    return ratios


def find_seed_parts(scores: Scores, baseline: str) -> dict[str, SeedPart | None]:
    """For each variant but the baseline what seeds do to its difference; None where it shares one seed only."""
    variants = {name: row for name, row in scores.items() if name != baseline}
    apart = find_apart(variants)
    together = {name: row for name, row in variants.items() if name not in apart and varies(row)} or variants
    beside = put_beside(scores[baseline], together)
    usual = None if beside is None else _vary_together(beside)
    parts: dict[str, SeedPart | None] = {}
    for variant, row in variants.items():
        shared = sorted(set(row) & set(scores[baseline]))
        if len(shared) < 2:
            parts[variant] = None
            continue
        own = float(np.var([row[seed] - scores[baseline][seed] for seed in shared], ddof=1))
        if variant in apart or usual is None:
            parts[variant] = SeedPart(math.sqrt(own / len(shared)), len(shared) - 1)
        else:
            parts[variant] = SeedPart(math.sqrt(max(own, usual.mean_square) / len(shared)), usual.freedom)
    return parts


def _vary_together(baseline: Beside) -> Variation:
    """What the baseline and a variant that is like the others vary by, added up.

    It is 2 MS of all of them, or what the baseline by itself and MS of the others make if that is more, r times. Then
    its degrees of freedom, which are (n + 1) (S - 1) for all of them together, go towards those of its own two
    parts (Satterthwaite 1946, "An approximate distribution of estimates of variance components", Biometrics 2).
    """
    adds, others = baseline.adds, baseline.others or Variation(baseline.adds.mean_square, 0.0)
    freedom = adds.freedom + others.freedom
    one_for_all = 2.0 * (adds.mean_square * adds.freedom + others.mean_square * others.freedom) / freedom
    # own_square + MS, in terms of the two that are independent.
    from_baseline = adds.mean_square * (1.0 + 1.0 / baseline.number)
    from_others = others.mean_square * (1.0 - 1.0 / baseline.number)
    by_itself = from_baseline + from_others
    if by_itself <= one_for_all:
        return Variation(one_for_all, freedom)
    least = by_itself**2 / (
        from_baseline**2 / adds.freedom + (from_others**2 / others.freedom if others.freedom else 0.0)
    )
    return Variation(by_itself, least + (freedom - least) * (one_for_all / by_itself) ** STEEPNESS)
