"""Selection: which pixels a loss keeps, decided without gradient on plain cross-entropy.

A selection is called with `ce` (N, *spatial), detached and >= 0, and `valid` of the same shape, and returns
how much of each pixel is kept. Counts that depend on the data stay on the device as 0-d tensors: nothing
here makes the host wait.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from segkit.schedule import parse_count

#: A number, or a pure function of the iteration.
Schedulable = float | Callable[[int], float]


@dataclass(frozen=True)
class Selected:
    """What a selection keeps.

    `share` (N, *spatial) in [0, 1]: how much of each pixel, a fraction only for pixels that tie at the
    boundary, 0 at ignored ones. `count`: the number of pixels kept, the sum of `share`, a 0-d integer tensor.
    """

    share: Tensor
    count: Tensor


@dataclass(frozen=True)
class All:
    """Every valid pixel."""

    def __call__(self, ce: Tensor, valid: Tensor, *, iteration: int | None = None) -> Selected:
        return Selected(share=valid.to(ce.dtype), count=valid.sum())

    def values_at(self, iteration: int) -> dict[str, float]:
        """The options that move with the iteration, at this one."""
        return {}

    def describe(self, *, iterations: int, pixels_per_batch: int) -> str:
        """The options, for one line on the console."""
        return ""


@dataclass(frozen=True)
class TopShare:
    """The k = max(1, int(share x valid pixels)) hardest valid pixels. `share` in (0, 1] may be a schedule."""

    share: Schedulable

    def __post_init__(self):
        if not callable(self.share) and not 0 < self.share <= 1:
            raise ValueError(f"share must be in (0, 1], got {self.share}")

    def __call__(self, ce: Tensor, valid: Tensor, *, iteration: int | None = None) -> Selected:
        share = value_at(self.share, iteration, name="share")
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], got {share} at iteration {iteration}")
        if share == 1:
            return All()(ce, valid)  # the same value, without looking for a boundary
        return select_hardest(ce, valid, (_in_float(valid.sum()) * share).long().clamp_min(1))

    def values_at(self, iteration: int) -> dict[str, float]:
        """The options that move with the iteration, at this one."""
        return {"keep_share": value_at(self.share, iteration, name="share")}

    def describe(self, *, iterations: int, pixels_per_batch: int) -> str:
        """The options, for one line on the console."""
        last = value_at(self.share, max(0, iterations - 1), name="share")
        name = str(self.share) if callable(self.share) else f"share {self.share:g}"
        return (
            f"{name} (= {max(1, int(last * pixels_per_batch)):,} of {pixels_per_batch:,} pixels in the end)"
        )


@dataclass(frozen=True)
class Ohem:
    """Pixels whose true class has a probability below `thresh`, or the `n_min` hardest if those are more.

    hard = {p in V: ce_p > -log(thresh)}; kept are the max(|hard|, min(n_min, |V|)) hardest valid pixels, which
    is hard itself if it has more than `n_min` pixels. `thresh` in (0, 1]. `n_min` is a count per batch (integer
    >= 1) or a share of the valid pixels (`"1/16"`, `"5%"`, 0.0625), rounded down, but at least 1.
    """

    thresh: float
    n_min: int | float | str | Fraction

    def __post_init__(self):
        if not 0 < self.thresh <= 1:
            raise ValueError(f"thresh must be a probability in (0, 1], got {self.thresh}")
        try:
            parse_count(self.n_min)
        except ValueError as error:
            raise ValueError(f"n_min {error}") from None

    def __call__(self, ce: Tensor, valid: Tensor, *, iteration: int | None = None) -> Selected:
        hard = ((ce > -math.log(self.thresh)) & valid).sum()
        n_min = parse_count(self.n_min)
        if isinstance(n_min, Fraction):
            part = n_min.limit_denominator(1_000_000)  # so that the product below stays within 64 bits
            n_min = (valid.sum() * part.numerator // part.denominator).clamp_min(1)
        return select_hardest(ce, valid, hard.clamp_min(n_min))

    def values_at(self, iteration: int) -> dict[str, float]:
        """The options that move with the iteration, at this one."""
        return {}

    def describe(self, *, iterations: int, pixels_per_batch: int) -> str:
        """The options, for one line on the console."""
        n_min = self.count_of(pixels_per_batch)
        if isinstance(self.n_min, int):
            return f"thresh {self.thresh:g}  n_min {n_min:,} of {pixels_per_batch:,} pixels"
        return f"thresh {self.thresh:g}  n_min {self.n_min} (= {n_min:,} of {pixels_per_batch:,} pixels)"

    def count_of(self, pixels: int) -> int:
        """`n_min` as a number of pixels, if `pixels` are valid."""
        n_min = parse_count(self.n_min)
        return max(1, math.floor(n_min * pixels)) if isinstance(n_min, Fraction) else n_min


def select_hardest(ce: Tensor, valid: Tensor, k: Tensor) -> Selected:
    """The `k` valid pixels of largest `ce`; pixels that tie for the last places share them equally.

    So the selection is exact and does not depend on the order of the pixels. `ce` is >= 0, and 0 at ignored
    pixels. `k` is a 0-d integer tensor; more than the valid pixels means all of them.
    """
    k = torch.minimum(k, valid.sum())
    boundary = kth_largest(ce, k)  # ignored pixels are 0, so they can tie with it but never move it
    above = ce > boundary
    tied = (ce == boundary) & valid
    places_left = (k - above.sum()).to(ce.dtype) / tied.sum().clamp_min(1).to(ce.dtype)
    return Selected(share=above.to(ce.dtype) + tied * places_left, count=k)


def kth_largest(values: Tensor, k: Tensor) -> Tensor:
    """The k-th largest of non-negative fp32 or fp64 values, as a 0-d tensor, without sorting.

    The bits of non-negative floats order like integers, so the answer is the largest bit pattern that at least
    k values reach. It is found bit by bit, from the highest: 31 counts for fp32, a fifth of the time of a sort.
    """
    integer, highest = (torch.int64, 62) if values.dtype == torch.float64 else (torch.int32, 30)
    bits = values.view(integer)
    found = torch.zeros((), dtype=integer, device=values.device)
    for bit in reversed(range(highest + 1)):
        candidate = found | (1 << bit)
        found = torch.where(torch.count_nonzero(bits >= candidate) >= k, candidate, found)
    return found.view(values.dtype)


def value_at(option: Schedulable, iteration: int | None, *, name: str) -> float:
    """The option itself, or its value at the iteration if it is a schedule; TypeError if that is missing."""
    if not callable(option):
        return option
    if iteration is None:
        raise TypeError(f"{name} is a schedule and needs the iteration: pass iteration=...")
    return option(iteration)


def _in_float(count: Tensor) -> Tensor:
    # fp64 so that k is what int(share * count) gives in Python; MPS has only fp32, exact below 2^24 pixels.
    return count.to(torch.float32 if count.device.type == "mps" else torch.float64)
