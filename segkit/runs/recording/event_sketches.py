"""Events of TensorBoard that are made where pictures are drawn and written where the events file is."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.tensorboard import summary

#: Bars of a histogram of probabilities.
BARS = 50


class Sketch(NamedTuple):
    """An event, encoded, and the iteration it is of."""

    encoded: bytes
    iteration: int


class EventSketches:
    """Encodes events and keeps them in `made`; none if they are not `wanted`."""

    def __init__(self, *, wanted: bool):
        self.wanted = wanted
        self.made: list[Sketch] = []

    def image(self, name: str, picture: Tensor, iteration: int) -> None:
        """A uint8 picture (3, H, W)."""
        if self.wanted:
            self._keep(summary.image(name, picture, dataformats="CHW"), iteration)

    def probabilities(self, name: str, parts: Iterable[Tensor], iteration: int) -> None:
        """A histogram of the values in [0, 1] of all `parts` together; none if there are no values."""
        if not self.wanted:
            return
        found = summarise_probabilities(parts)
        if found["num"]:
            self._keep(summary.histogram_raw(name, **found), iteration)

    def _keep(self, event: Any, iteration: int) -> None:
        self.made.append(Sketch(event.SerializeToString(), iteration))


def summarise_probabilities(parts: Iterable[Tensor]) -> dict[str, Any]:
    """The arguments of TensorBoard's `histogram_raw` for values in [0, 1], in BARS bars of equal width."""
    counts = torch.zeros(BARS, dtype=torch.float64)
    smallest, largest, number, total, squares = 1.0, 0.0, 0, 0.0, 0.0
    for part in parts:
        values = part.detach().float().cpu().flatten().clamp(0, 1)
        if not values.numel():
            continue
        counts += torch.histc(values, bins=BARS, min=0, max=1).double()
        smallest, largest = min(smallest, float(values.min())), max(largest, float(values.max()))
        number += values.numel()
        total += float(values.sum(dtype=torch.float64))
        squares += float(values.double().square().sum())
    return {
        "min": smallest,
        "max": largest,
        "num": number,
        "sum": total,
        "sum_squares": squares,
        "bucket_limits": [(bar + 1) / BARS for bar in range(BARS)],
        "bucket_counts": counts.tolist(),
    }
