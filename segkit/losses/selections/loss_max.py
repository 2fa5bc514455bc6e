"""Selection `loss_max`: harder pixels weigh more, as much as a norm of the weights allows (loss max-pooling)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from segkit.losses.powers import raise_to
from segkit.losses.scope import BATCH, Scope
from segkit.losses.selections.loss_max_cpu import weigh_compiled
from segkit.losses.selections.selection import Selected, Selection
from segkit.registry import SELECTIONS
from segkit.types import NormOrder, Probability

#: Below this the exponent q = p / (p - 1) of the losses is above 21, whose powers leave the range of floats.
SMALLEST_P = 1.05


@SELECTIONS.register("loss_max")
@dataclass(frozen=True)
class LossMax(Selection):
    """Pixels weighed by the worst case of all weights within a p-norm, of which each weighs at most 1.

    The weights are those of Rota Bulo et al. 2017 (Loss max-pooling for semantic image segmentation) divided by the
    largest that they allow: w = argmax sum_V w ce over all w >= 0 with ||w||_p^p <= m and w <= 1, where m =
    max(1, `ratio` |V|) pixels could weigh 1 and the others 0. So w = min(1, (ce / t)^(q - 1)), 1 / p + 1 / q = 1,
    with the t at which sum_V w^p is m. `p` >= 1.05: towards 1 it is the m hardest, towards infinity all alike. `ratio`
    in (0, 1]; 1 is all. Raises ValueError for options out of range.

    t is found exactly: by halving the range of all floats it lies between two pixels, where the equation is solved.
    """

    p: NormOrder = 1.7
    ratio: Probability = 0.3

    def __post_init__(self) -> None:
        if not SMALLEST_P <= self.p < float("inf"):
            instead = " -> {name: top_share}, the hardest pixels alone" if self.p < SMALLEST_P else ""
            raise ValueError(f"p must be a number >= {SMALLEST_P}, got {self.p}{instead}")
        if not 0 < self.ratio <= 1:
            raise ValueError(f"ratio must be in (0, 1], got {self.ratio}")

    def __call__(
        self, ce: Tensor, valid: Tensor, *, iteration: int | None = None, scope: Scope = BATCH
    ) -> Selected:
        share = weigh_compiled(ce, valid, p=self.p, ratio=self.ratio, scope=scope)
        if share is None:
            ranked = valid & (ce == ce)  # NaN is not equal to itself
            budget = pooled_pixels(scope.sum(ranked), self.ratio)  # (G, 1, ..., 1)
            share = weigh_losses(torch.where(ranked, ce, 0.0), ranked, budget, p=self.p, scope=scope)
        return Selected(share=share, count=scope.sum(share))

    def describe(self, *, iterations: int, pixels: int) -> str:
        return f"p {self.p:g}  ratio {self.ratio:g}"

    def find_inactive(self, *, iterations: int, pixels: int, holder: str) -> str | None:
        return "weighs every pixel alike: ratio=1 -> ratio: 0.3" if self.ratio == 1 else None


def pooled_pixels(n_valid: Tensor, ratio: float) -> Tensor:
    """m = max(1, ratio x valid pixels), no whole number, in fp64 (on MPS fp32)."""
    precise = torch.float32 if n_valid.device.type == "mps" else torch.float64
    return (n_valid.to(precise) * ratio).clamp_min(1)


def weigh_losses(ce: Tensor, ranked: Tensor, budget: Tensor, *, p: float, scope: Scope = BATCH) -> Tensor:
    """The weights in [0, 1] of losses (N, *spatial) >= 0, 0 where a pixel is not `ranked`, whose p-th powers sum to
    `budget` (G, 1, ..., 1), and under which the weighted sum of the losses is largest; see `LossMax`.

    Where no more pixels than that have a loss, they weigh 1, and those without one share the rest.
    """
    q = p / (p - 1)
    precise = budget.dtype
    mean = scope.sum(ce).to(precise) / scope.sum(ranked).clamp_min(1)
    unit = mean + (mean == 0)  # so that powers stay in range
    loss = ce.to(precise) / unit
    power = raise_to(loss, q)
    below = find_last_below(ce, power, unit, budget, q=q, scope=scope)
    is_below = ce <= below
    left = budget - scope.sum(ranked & ~is_below)
    rest = scope.sum(torch.where(is_below, power, 0.0))
    # 0 if no pixel below has a loss
    threshold = raise_to(rest / left.clamp_min(torch.finfo(precise).tiny), 1 / q)
    weighed = raise_to((loss / (threshold + (threshold == 0))).clamp_max(1.0), q - 1)
    equal = raise_to((left / scope.sum(ranked & (ce == 0)).clamp_min(1)).clamp(0.0, 1.0), 1 / p)
    share = torch.where(is_below, torch.where(threshold > 0, weighed, equal), 1.0)
    return torch.where(ranked, share, 0.0).to(ce.dtype)


def find_last_below(
    ce: Tensor, power: Tensor, unit: Tensor, budget: Tensor, *, q: float, scope: Scope
) -> Tensor:
    """The largest float v (G, 1, ..., 1) at which sum min(1, ce / v)^q is still `budget`, or 0 if it never is.

    The sum falls as v grows, and the bits of non-negative floats order like integers, so they are halved: as often as
    there are bits, whatever the losses are. `power` is (ce / unit)^q.
    """
    double = ce.dtype == torch.float64
    integers = torch.int64 if double else torch.int32
    low = torch.zeros_like(budget, dtype=torch.int64)
    high = low + (0x7FF0000000000000 if double else 0x7F800000)  # infinity
    for _ in range(63 if double else 31):
        middle = low + (high - low) // 2
        value = middle.to(integers).view(ce.dtype).to(budget.dtype)
        largest = raise_to(value / unit, q)
        reached = scope.sum(torch.minimum(power, largest)) >= budget * largest
        low, high = torch.where(reached, middle, low), torch.where(reached, high, middle)
    return low.to(integers).view(ce.dtype)
