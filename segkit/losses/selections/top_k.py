"""Selection `top_k`: a fixed number of the hardest pixels."""

from dataclasses import dataclass

from torch import Tensor

from segkit.losses.scope import BATCH, Scope
from segkit.losses.selections.hardest import select_hardest
from segkit.losses.selections.selection import Selected, Selection
from segkit.registry import SELECTIONS
from segkit.types import PositiveInt


@SELECTIONS.register("top_k")
@dataclass(frozen=True)
class TopK(Selection):
    """The k hardest valid pixels, or all of them if they are fewer."""

    k: PositiveInt

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise ValueError(f"k must be a number of pixels >= 1, got {self.k!r}")

    def __call__(
        self, ce: Tensor, valid: Tensor, *, iteration: int | None = None, scope: Scope = BATCH
    ) -> Selected:
        return select_hardest(ce, valid, self.k, scope=scope)

    def describe(self, *, iterations: int, pixels: int) -> str:
        return f"k {self.k:,} of {pixels:,} pixels"

    def find_inactive(self, *, iterations: int, pixels: int, holder: str) -> str | None:
        if self.k < pixels:
            return None
        return f"keeps every pixel: k={self.k} but {holder} has {pixels:,} -> k: {max(1, pixels // 16)}"
