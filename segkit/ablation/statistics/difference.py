"""One variant's difference to the baseline, its verdict, and the sentence that a reader gets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segkit.ablation.statistics.bootstrap import student_quantile


@dataclass(frozen=True)
class Score:
    """Mean and sample standard deviation (ddof 1, None for one value) of a score over seeds."""

    mean: float
    std: float | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Difference:
    """A variant's mIoU minus the baseline's, averaged over the `seeds` both have.

    `interval` (at `level`, unadjusted) and `p` are of the bootstrap over images, `p_holm` is p corrected for
    `comparisons` variants. `per_seed` are the differences in the order of `seeds`; `seed_noise` is half the width of
    Student's interval (at `level`) for their mean, None for one seed. `verdict` is one of "better", "worse", "within
    seed noise" (|value| <= seed_noise: that interval contains 0), "not shown" (p_holm >= 1 - level), "identical"
    (every matrix of every image is equal), "one seed: better", "one seed: worse".
    """

    variant: str
    value: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    per_seed: tuple[float, ...]
    seed_noise: float | None
    verdict: str
    baseline: str = "the baseline"
    seeds: tuple[int, ...] = ()
    level: float = 0.95
    comparisons: int = 1

    @property
    def words(self) -> str:
        """The finding as one plain sentence, without capital and full stop; scores in points (percent)."""
        if self.verdict == "identical":
            return f"identical to {self.baseline}: the predictions are counted alike in every image"
        if self.verdict == "not shown":
            return self._say_nothing_shown()
        return self._say_found()

    def _say_nothing_shown(self) -> str:
        value, low, high = _write_points(self.value, *self.interval)
        points = f"{'+' if self.value > 0 else ''}{value} points"
        start = (
            f"no difference to {self.baseline} shown: {points}, the {self._level} interval {low} to {high}"
        )
        if self.interval[0] <= 0 <= self.interval[1]:
            return f"{start} contains 0"
        return (
            f"{start} excludes 0 (p = {_write_p(self.p)}), but that does not survive the correction for "
            f"{self.comparisons} comparisons (Holm p = {_write_p(self.p_holm)})"
        )

    def _say_found(self) -> str:
        better = self.value > 0
        low, high = self.interval if better else (-self.interval[1], -self.interval[0])
        value, low, high, noise = _write_points(
            abs(self.value), low, high, self.seed_noise or 0.0, compared=True
        )
        p = f"{'Holm ' if self.comparisons > 1 else ''}p = {_write_p(self.p_holm)}"
        found = f"{'better' if better else 'worse'} than {self.baseline} by {value} points"
        return f"{found} ({self._level} interval {low} to {high}, {p}){self._say_seed_noise(noise)}"

    def _say_seed_noise(self, noise: str) -> str:
        if self.seed_noise is None:
            return " with one seed: whether other seeds would reverse it is not known"
        if self.verdict == "within seed noise":
            return f", but not beyond seed noise (±{noise} from {len(self.per_seed)} seeds): other seeds may reverse it"
        return f", beyond seed noise (±{noise} from {len(self.per_seed)} seeds)"

    @property
    def _level(self) -> str:
        return f"{100 * self.level:g} %"


def score(values: Sequence[float]) -> Score:
    """Mean and sample standard deviation of one score over seeds."""
    values = tuple(float(value) for value in values)
    if not values:
        raise ValueError("a score needs at least one value")
    mean = math.fsum(values) / len(values)
    return Score(mean, _sample_std(values, mean), values)


def find_seed_noise(per_seed: Score, level: float) -> float | None:
    """Half the width of Student's interval for the mean of paired differences over seeds; None for one seed.

    Not the standard deviation itself: with 3 seeds, noise alone exceeds it in 22 of 100 cases.
    """
    count = len(per_seed.values)
    if per_seed.std is None:
        return None
    return student_quantile(level, count - 1) * per_seed.std / math.sqrt(count)


def choose_verdict(value: float, seed_noise: float | None, *, significant: bool, identical: bool) -> str:
    """The verdict of a difference, as `Difference` lists them."""
    if identical:
        return "identical"
    if not significant:
        return "not shown"
    direction = "better" if value > 0 else "worse"
    if seed_noise is None:
        return f"one seed: {direction}"
    return "within seed noise" if abs(value) <= seed_noise else direction


def _sample_std(values: Sequence[float], mean: float) -> float | None:
    if len(values) < 2:
        return None
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _write_points(*shares: float, compared: bool = False) -> list[str]:
    """Shares as points, with one decimal, or as many more as it takes that nothing but 0 is written as 0.

    `compared`: the sentence calls the first larger than the last or not, so they are written alike only if equal.
    """
    texts: list[str] = []
    for digits in range(1, 6):
        texts = [f"{round(100 * share, digits) + 0.0:.{digits}f}" for share in shares]  # + 0.0: no minus zero
        vanished = any(share and not float(text) for share, text in zip(shares, texts, strict=True))
        alike = compared and texts[0] == texts[-1] and shares[0] != shares[-1]
        if not (vanished or alike):
            break
    return texts


def _write_p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1g}"
