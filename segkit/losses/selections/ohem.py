"""Selection `ohem`: the pixels whose true class is improbable (online hard example mining)."""

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from segkit.losses.scope import BATCH, Scope
from segkit.losses.selections.hardest import select_hardest
from segkit.losses.selections.hardest_cpu import may_look
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

    def __post_init__(self) -> None:
        if not 0 < self.thresh <= 1:
            raise ValueError(f"thresh must be a probability in (0, 1], got {self.thresh}")
        try:
            n_min = parse_count(self.n_min)
        except ValueError as error:
            raise ValueError(f"n_min {error}") from None
        if isinstance(n_min, Fraction):
            n_min = n_min.limit_denominator(1_000_000)  # so that the product below stays within 64 bits
        # As floats, which torch.compile makes inputs of its graph if they move; of a text, an int, a Fraction or a
        # logarithm it makes constants.
        object.__setattr__(self, "_least_hard", -math.log(self.thresh))
        object.__setattr__(self, "_is_share", isinstance(n_min, Fraction))
        object.__setattr__(self, "_numerator", float(n_min.numerator))
        object.__setattr__(self, "_denominator", float(n_min.denominator))

    def __call__(
        self, ce: Tensor, valid: Tensor, *, iteration: int | None = None, scope: Scope = BATCH
    ) -> Selected:
        hard = (ce > self._least_hard) & valid
        n_hard = scope.sum(hard)  # (G, 1, ..., 1)
        n_min = _as_count(self._numerator, n_hard)
        if self._is_share:
            n_min = (scope.sum(valid) * n_min // _as_count(self._denominator, n_hard)).clamp_min(1)
        if may_look(ce) and bool((n_hard >= n_min).all()):
            return Selected(share=hard.to(ce.dtype), count=n_hard)  # without looking for a boundary
        return select_hardest(ce, valid, n_hard.clamp_min(n_min), scope=scope)

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


def _as_count(number: float, like: Tensor) -> Tensor | int:
    """A whole number for arithmetic with the counts `like`. While a graph is traced it is a tensor, made by adding: of
    an int, or by torch.full, it would be a constant of the graph, which is compiled anew for the next number."""
    if not torch.compiler.is_compiling():
        return int(number)
    dtype = torch.float32 if like.device.type == "mps" else torch.float64
    return (torch.zeros_like(like, dtype=dtype) + number).to(like.dtype)
