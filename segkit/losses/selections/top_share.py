"""Selection `top_share`: a share of the valid pixels, the hardest."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from segkit.losses.scope import BATCH, Scope
from segkit.losses.selections.hardest import select_hardest
from segkit.losses.selections.selection import Selected, Selection, value_at
from segkit.registry import SELECTIONS
from segkit.types import Probability


@SELECTIONS.register("top_share")
@dataclass(frozen=True)
class TopShare(Selection):
    """The k = max(1, int(share x valid pixels)) hardest valid pixels.

    `share` in (0, 1], from Python also a pure function of the iteration. Such a function may offer
    `never_starts(iterations) -> str | None`, why it would be 1 throughout so long a run.
    """

    share: Probability | Callable[[int], float] = 0.15

    def __post_init__(self) -> None:
        if not callable(self.share) and not 0 < self.share <= 1:
            raise ValueError(f"share must be in (0, 1], got {self.share}")

    def __call__(
        self, ce: Tensor, valid: Tensor, *, iteration: int | None = None, scope: Scope = BATCH
    ) -> Selected:
        share = value_at(self.share, iteration, name="share")
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], got {share} at iteration {iteration}")
        n_valid = scope.sum(valid)  # (G, 1, ..., 1)
        if share == 1:
            return Selected(share=valid.to(ce.dtype), count=n_valid)  # without looking for a boundary
        k = (_in_float(n_valid) * share).long().clamp_min(1)
        return select_hardest(ce, valid, k, scope=scope)

    def values_at(self, iteration: int) -> dict[str, float]:
        return {"keep_share": value_at(self.share, iteration, name="share")}

    def describe(self, *, iterations: int, pixels: int) -> str:
        last = value_at(self.share, max(0, iterations - 1), name="share")
        name = str(self.share) if callable(self.share) else f"share {self.share:g}"
        return f"{name} (= {max(1, int(last * pixels)):,} of {pixels:,} pixels in the end)"

    def find_inactive(self, *, iterations: int, pixels: int, holder: str) -> str | None:
        if not callable(self.share):
            return "keeps every pixel: share=1 -> share: 0.15" if self.share == 1 else None
        never_starts = getattr(self.share, "never_starts", None)
        return never_starts(iterations) if never_starts else None


def _in_float(count: Tensor) -> Tensor:
    # fp64 so that k is what int(share * count) gives in Python; MPS has only fp32, exact below 2^24 pixels.
    return count.to(torch.float32 if count.device.type == "mps" else torch.float64)
