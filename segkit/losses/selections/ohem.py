"""Selection `ohem`: the pixels whose true class is improbable (online hard example mining)."""

import math
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor

from segkit.losses.scope import BATCH, Batch
from segkit.losses.selections.hardest import select_hardest
from segkit.losses.selections.selection import Selected, Selection
from segkit.registry import SELECTIONS
from segkit.schedule import parse_count
from segkit.types import Count, Probability


@SELECTIONS.register("ohem")
@dataclass(frozen=True)
class Ohem(Selection):
    """Pixels with p(true class) < thresh, or the n_min hardest if those are more.

    hard = {p in V: ce_p > -log(thresh)}; kept are the max(|hard|, min(n_min, |V|)) hardest valid pixels, which
    is hard itself if it has more than `n_min` pixels. `thresh` in (0, 1]. `n_min` is a count (integer >= 1) or a
    share of the valid pixels (`"1/16"`, `"5%"`, 0.0625), rounded down, but at least 1.
    """

    thresh: Probability = 0.7
    n_min: Count | Fraction = "1/16"

    def __post_init__(self):
        if not 0 < self.thresh <= 1:
            raise ValueError(f"thresh must be a probability in (0, 1], got {self.thresh}")
        try:
            parse_count(self.n_min)
        except ValueError as error:
            raise ValueError(f"n_min {error}") from None

    def __call__(
        self, ce: Tensor, valid: Tensor, *, iteration: int | None = None, scope: Batch = BATCH
    ) -> Selected:
        hard = scope.sum((ce > -math.log(self.thresh)) & valid)  # (G, 1, ..., 1)
        n_min = parse_count(self.n_min)
        if isinstance(n_min, Fraction):
            part = n_min.limit_denominator(1_000_000)  # so that the product below stays within 64 bits
            n_min = (scope.sum(valid) * part.numerator // part.denominator).clamp_min(1)
        return select_hardest(ce, valid, hard.clamp_min(n_min), scope=scope)

    def describe(self, *, iterations: int, pixels: int) -> str:
        n_min = self.count_of(pixels)
        if isinstance(self.n_min, int):
            return f"thresh {self.thresh:g}  n_min {n_min:,} of {pixels:,} pixels"
        return f"thresh {self.thresh:g}  n_min {self.n_min} (= {n_min:,} of {pixels:,} pixels)"

    def find_inactive(self, *, iterations: int, pixels: int, holder: str) -> str | None:
        if self.count_of(pixels) < pixels:
            return None
        return f"keeps every pixel: n_min={self.n_min} but {holder} has {pixels:,} -> n_min: 1/16"

    def count_of(self, pixels: int) -> int:
        """`n_min` as a number of pixels, if `pixels` are valid."""
        n_min = parse_count(self.n_min)
        return max(1, math.floor(n_min * pixels)) if isinstance(n_min, Fraction) else n_min
