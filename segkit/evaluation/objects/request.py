"""Which objects somebody wants to have scored."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from segkit.errors import ConfigError


@dataclass(frozen=True)
class ObjectRequest:
    """The connected pixels of these classes, by name, are objects; those of fewer than `min_size` pixels are none.

    Raises ConfigError for a size that is none.
    """

    classes: tuple[str, ...]
    min_size: int = 0

    def __post_init__(self) -> None:
        if self.min_size < 0:
            raise ConfigError(f"--min-size is a number of pixels, got {self.min_size} -> --min-size 20")

    def find_ids(self, class_names: Sequence[str]) -> list[int]:
        """The ids of the classes, each once. Raises ConfigError for one that is not among `class_names`."""
        for name in self.classes:
            if name not in class_names:
                close = difflib.get_close_matches(name, class_names, n=1)
                meant = f", did you mean '{close[0]}'?" if close else ""
                raise ConfigError(
                    f"--objects {name}: there is no such class{meant} -> one of {', '.join(class_names)}"
                )
        return [list(class_names).index(name) for name in dict.fromkeys(self.classes)]
