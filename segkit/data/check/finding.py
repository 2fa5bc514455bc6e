"""One thing that a check found."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finding:
    """`text` says what was found, in how many files, and names the first.

    kind      a word that stays the same between versions, for scripts that read check.json
    severity  `problem`: training would fail or learn something else than meant; `warning`: somebody should look;
              `note`: good to know
    files     all files concerned
    """

    kind: str
    severity: str
    text: str
    files: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The finding in plain values."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "text": self.text,
            "files": list(self.files),
        }


def problem(kind: str, text: str, files: Iterable[str | Path] = ()) -> Finding:
    """Something with which training would fail, or learn something else than meant."""
    return Finding(kind, "problem", text, tuple(map(str, files)))


def warning(kind: str, text: str, files: Iterable[str | Path] = ()) -> Finding:
    """Something that somebody should look at."""
    return Finding(kind, "warning", text, tuple(map(str, files)))


def note(kind: str, text: str, files: Iterable[str | Path] = ()) -> Finding:
    """Something good to know."""
    return Finding(kind, "note", text, tuple(map(str, files)))


def counted(count: int, one: str, many: str) -> str:
    """`1 image is` or `3 images are`."""
    return f"{count} {one if count == 1 else many}"
