"""Names that MLflow accepts, for the curves and settings of a run."""

import re
from collections.abc import Iterable

#: The most letters of a name.
LONGEST = 240


class SafeNames:
    """A name for each name, the same every time, and never the same for two."""

    def __init__(self) -> None:
        self._safe: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """The name itself where MLflow accepts it; else with `_` for what it does not."""
        if name not in self._safe:
            self._safe[name] = _first_free(make_safe(name), self._safe.values())
        return self._safe[name]


def make_safe(name: str) -> str:
    """Letters, digits, `_`, `-`, `.`, spaces and slashes stay; no part between slashes is empty or leads elsewhere."""
    parts = re.sub(r"[^\w\-. /]", "_", name).split("/")
    return "/".join("_" if part in ("", ".", "..") else part for part in parts)[:LONGEST]


def _first_free(name: str, taken: Iterable[str]) -> str:
    taken = set(taken)
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
