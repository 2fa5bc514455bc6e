"""One variant's difference to the baseline, its verdict, and the sentence that a reader gets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segkit.ablation.statistics.unit import POINTS, Unit

#: What a difference can be called. "one seed": nothing, because what other seeds would do is not known.
VERDICTS = ("better", "worse", "within the margin", "not shown", "one seed", "identical")


@dataclass(frozen=True)
class Score:
    """Mean and sample standard deviation (ddof 1, None for one value) of a score over seeds."""

    mean: float
    std: float | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Difference:
    """A variant's score in `metric` minus the baseline's, averaged over the `seeds` both have.

    `interval` is for other images and other seeds, at `level`, widened for the number of `comparisons` as p is: it
    leaves 0 out exactly if `p_holm` < 1 - level. `images` (below and above the value) and `noise` (from seeds, on
    either side) are the half-widths that it is made of; `noise`, `p` and `p_holm` are None for one seed, whose interval
    is over images alone. `per_seed` are the differences in the order of `seeds`.

    `seeds_needed` and `images_needed` are about how many would have shown a difference of this size, the other number
    staying as it is; None where no number would, or where nothing is to be shown. `verdict` is one of VERDICTS:
    "within the margin" if the interval lies within ± `margin`, "identical" if what was counted of every image is equal.
    """

    variant: str
    value: float
    interval: tuple[float, float]
    p: float | None
    p_holm: float | None
    per_seed: tuple[float, ...]
    images: tuple[float, float]
    noise: float | None
    verdict: str
    baseline: str = "the baseline"
    seeds: tuple[int, ...] = ()
    level: float = 0.95
    comparisons: int = 1
    margin: float | None = None
    units: int = 0
    seeds_needed: int | None = None
    images_needed: int | None = None
    metric: str = "mIoU"
    unit: Unit = POINTS
    less_is_better: bool = False

    @property
    def from_images(self) -> float:
        """The half-width from images on the side of 0."""
        return self.images[0] if self.value > 0 else self.images[1]

    @property
    def reach(self) -> float:
        """The smallest difference that would have been told from 0: what the interval reaches on the side of 0."""
        reach = math.hypot(self.from_images, self.noise or 0.0)
        return min(1.0, reach) if self.unit is POINTS else reach

    @property
    def words(self) -> str:
        """The finding as one plain sentence, without capital and full stop."""
        return {
            "better": self._say_found,
            "worse": self._say_found,
            "within the margin": self._say_within,
            "not shown": self._say_not_shown,
            "one seed": self._say_one_seed,
            "identical": self._say_identical,
        }[self.verdict]()

    @property
    def _parts(self) -> str:
        """`±0.6 from seeds, ±0.3 from images`, of the half-width on the side of 0."""
        digits = self._digits
        noise, images = (self.unit.write(part, digits) for part in (self.noise or 0.0, self.from_images))
        return f"±{noise} from seeds, ±{images} from images"

    @property
    def _digits(self) -> int:
        return self.unit.digits_for([self.value, *self.interval])

    def _write(self, *values: float) -> list[str]:
        return [self.unit.write(value, self._digits) for value in values]

    def _say_found(self) -> str:
        low, high = self.interval if self.value > 0 else (-self.interval[1], -self.interval[0])
        value, low, high = self._write(abs(self.value), low, high)
        p = f"{'Holm ' if self.comparisons > 1 else ''}p {write_p(self.p_holm)}"
        return (
            f"{self.verdict} than {self.baseline} by {value} {self._points} ({self._level} interval "
            f"{low} to {high}, {p}; {self._parts}){self._say_small()}"
        )

    def _say_small(self) -> str:
        if self.margin is None or not is_within(self.interval, self.margin):
            return ""
        return f", though by less than the margin of {self.unit.factor * self.margin:g}"

    def _say_within(self) -> str:
        margin = f"{self.unit.factor * (self.margin or 0.0):g}"
        low, high = self._write(*self.interval)
        return (
            f"no different from {self.baseline} by more than {margin} {self._points} either way: the {self._level} "
            f"interval is {low} to {high} ({self._parts})"
        )

    def _say_not_shown(self) -> str:
        value, low, high = self._write(self.value, *self.interval)
        points = f"{'+' if self.value > 0 else ''}{value} {self._points}"
        return (
            f"no difference to {self.baseline} shown: {points}, the {self._level} interval {low} to {high} contains 0 "
            f"({self._parts}){self._say_needed()}"
        )

    def _say_needed(self) -> str:
        if self.value == 0.0:
            return ""
        needed = ((self.seeds_needed, "seeds"), (self.images_needed, "independent images"))
        ways = [f"about {number:,} {what}" for number, what in needed if number is not None]
        return f"; to show a difference of this size would take {' or '.join(ways) or 'more seeds and more images'}"

    def _say_one_seed(self) -> str:
        value, low, high = self._write(self.value, *self.interval)
        points = f"{'+' if self.value > 0 else ''}{value} {self._points}"
        interval = f"the {self._level} interval over images {low} to {high}"
        # Of a variant whose seeds are all equal, or a baseline, they are several.
        seed = "the one seed that both have" if len(self.seeds) < 2 else "what counts as one seed"
        return (
            f"{points} to {self.baseline} with {seed}, {interval}: no verdict, because what other seeds would show is "
            "not known"
        )

    @property
    def _points(self) -> str:
        return "points" if self.metric == "mIoU" else f"{self.unit.name} of {self.metric}"

    def _say_identical(self) -> str:
        return f"identical to {self.baseline}: the predictions are counted alike in every image"

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


def choose_verdict(
    gain: float, p_holm: float, interval: tuple[float, float], *, level: float, margin: float | None
) -> str:
    """The verdict of a difference over several seeds that is not identical to the baseline. A `gain` is the difference
    with the sign that makes more of it better."""
    if p_holm < 1.0 - level:
        return "better" if gain > 0 else "worse"
    return "within the margin" if margin is not None and is_within(interval, margin) else "not shown"


def is_within(interval: tuple[float, float], margin: float) -> bool:
    """Whether all of the interval lies within ± `margin`."""
    return -margin <= interval[0] and interval[1] <= margin


def write_p(p: float | None, smallest: float = 1e-4) -> str:
    """`= 0.012`, `= 0.0003`, or `< 0.0001`."""
    if p is None:
        return "unknown"
    if p < smallest:
        return f"< {smallest:.4f}"
    return f"= {p:.3f}" if p >= 0.001 else f"= {p:.1g}"


def _sample_std(values: Sequence[float], mean: float) -> float | None:
    if len(values) < 2:
        return None
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
