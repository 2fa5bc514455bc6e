"""Selection `all`: every valid pixel."""

from dataclasses import dataclass

from torch import Tensor

from segkit.losses.scope import BATCH, Scope
from segkit.losses.selections.selection import Selected, Selection
from segkit.registry import SELECTIONS


@SELECTIONS.register("all")
@dataclass(frozen=True)
class All(Selection):
    """Every valid pixel."""

    def __call__(
        self, ce: Tensor, valid: Tensor, *, iteration: int | None = None, scope: Scope = BATCH
    ) -> Selected:
        return Selected(share=valid.to(ce.dtype), count=scope.sum(valid))
