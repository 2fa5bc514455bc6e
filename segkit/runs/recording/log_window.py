"""The values of the updates between two logged lines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Values of an update that are logged under `train/`; what else a loss reports goes under `loss/`.
TRAIN_VALUES = ("loss", "ce", "aux_loss", "lr", "grad_norm", "grad_scale")


@dataclass
class Window:
    """Values of the updates since the last logged line, read from the device, and what this process took for them.

    A checkpoint holds the values, so that the first line after a resume is the mean over the whole window.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    updates: int = 0
    images: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, values: Mapping[str, float]) -> None:
        """Note the values of one update."""
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        """The mean of each value over the updates that reported it."""
        return {name: sum(values) / len(values) for name, values in self.values.items()}

    def state_dict(self) -> dict[str, Any]:
        """The values: the time they took belongs to this process."""
        return {"values": {name: list(values) for name, values in self.values.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Window":
        """A window that goes on from `state`."""
        return cls(values={name: list(values) for name, values in state["values"].items()})


def name_curves(values: Mapping[str, float]) -> dict[str, float]:
    """The values of updates under the names of their curves."""
    return {f"{'train' if name in TRAIN_VALUES else 'loss'}/{name}": value for name, value in values.items()}
