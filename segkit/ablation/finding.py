"""One answer to the question whether runs may be compared."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`level` is ok, warning or error; with `refuses`, a number computed from the runs would mean nothing."""

    level: str
    text: str
    refuses: bool = False
