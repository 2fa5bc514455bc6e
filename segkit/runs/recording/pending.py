"""The values of updates that are still on the device, until all are read together."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segkit.distributed.ranks import ALONE, Ranks
from segkit.system.printable import show_path


class Update(NamedTuple):
    """The values of one update as floats, and the names of its images."""

    iteration: int
    values: dict[str, float]
    names: list[str]


class PendingValues:
    """Values of updates, read off the device with one copy. In several processes their means, alike in all."""

    def __init__(self, class_names: Sequence[str], ranks: Ranks = ALONE):
        self.class_names, self.ranks = class_names, ranks
        self._updates: list[tuple[int, dict[str, Any], list[str]]] = []

    def add(self, iteration: int, values: dict[str, Any], names: list[str]) -> None:
        """Keep the values of an update: floats, and detached tensors, unread."""
        self._updates.append((iteration, values, names))

    def read(self) -> list[Update]:
        """All that was added since. Of an update whose loss is not finite the names are those of all processes.

        A tensor with a value per class becomes as many values, `NAME/CLASS`.
        """
        updates, self._updates = self._updates, []
        tensors = [v.detach() for _, values, _ in updates for v in values.values() if isinstance(v, Tensor)]
        numbers = torch.cat([t.float().reshape(-1) for t in tensors]) if tensors else None
        left = iter([] if numbers is None else self.ranks.mean(numbers).tolist())
        read = []
        for iteration, values, names in updates:
            floats: dict[str, float] = {}
            for name, value in values.items():
                if not isinstance(value, Tensor):
                    floats[name] = float(value)
                elif value.numel() == 1:
                    floats[name] = next(left)
                else:
                    floats |= {f"{name}/{class_name}": next(left) for class_name in self.class_names}
            if not math.isfinite(floats["loss"]):
                names = [name for part in self.ranks.gather(names) for name in part]
            read.append(Update(iteration, floats, names))
        return read


def describe_not_finite(iteration: int, value: float, names: list[str], checkpoint: Path | None) -> str:
    """The message for a loss of that value in the update that made the `iteration`, on the images `names`."""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    shown = ", ".join(show_path(name) for name in names[:8]) + more
    last = f"last good checkpoint: {checkpoint}" if checkpoint else "no checkpoint yet"
    return (
        f"the loss is {value} in the update after iteration {iteration - 1}; nothing of it was saved\n"
        f"   images: {shown}\n"
        f"   {last}\n"
        "   -> a lower optimizer.lr, a longer schedule.warmup, train.clip_norm=1, or train.amp=off"
    )
