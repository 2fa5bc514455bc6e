"""How the classes of a data set are named and drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

from segkit.colors import Color


@dataclass(frozen=True)
class Labels:
    """How classes are named and drawn."""

    class_names: Sequence[str]
    palette: Sequence[Color]
    ignore_index: int
