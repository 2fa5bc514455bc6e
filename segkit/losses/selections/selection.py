"""What a selection is: how much of each pixel a loss keeps, decided without gradient on plain cross-entropy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from segkit.losses.scope import BATCH, Scope

#: A number, or a pure function of the iteration.
Schedulable = float | Callable[[int], float]


@dataclass(frozen=True)
class Selected:
    """What a selection keeps.

    `share` (N, *spatial) in [0, 1]: how much of each pixel, a fraction only for pixels that tie at the
    boundary or if the selection weighs them, 0 at ignored ones. `count` (G, 1, ..., 1): the number of pixels kept of
    each group of the scope, the sum of `share`, integer unless they are weighed.
    """

    share: Tensor
    count: Tensor


class Selection(Protocol):
    """A rule for which pixels to keep; a new one subclasses this for the parts it does not need."""

    def __call__(
        self, ce: Tensor, valid: Tensor, *, iteration: int | None = None, scope: Scope = BATCH
    ) -> Selected:
        """What to keep of the pixels (N, *spatial): `ce` is detached and 0 at ignored pixels. Counts that depend on
        the data stay on the device, and `scope` sums them over the pixels that belong together."""
        ...

    def values_at(self, iteration: int) -> dict[str, float]:
        """The options that move with the iteration, at this one, to be logged."""
        return {}

    def describe(self, *, iterations: int, pixels: int) -> str:
        """The options, for one line on the console, where `pixels` belong together."""
        return ""

    def find_inactive(self, *, iterations: int, pixels: int, holder: str) -> str | None:
        """Why all pixels would be kept throughout the run, where `holder` ("a batch") has so many, or None."""
        return None


def value_at(option: Schedulable, iteration: int | None, *, name: str) -> float:
    """The option itself, or its value at the iteration if it is a schedule; TypeError if that is missing."""
    if not callable(option):
        return option
    if iteration is None:
        raise TypeError(f"{name} is a schedule and needs the iteration: pass iteration=...")
    return option(iteration)
