"""What is nice to have and no reason to end a run: pictures, plots, the card."""

from collections.abc import Callable
from typing import Any

from segkit.errors import CannotWrite


class BestEffort:
    """Writes if it can. The first time that something cannot be written, `warn` gets a line; it is tried again whenever
    it is written anew."""

    def __init__(self, warn: Callable[[str], Any]):
        self._warn = warn
        self._said: set[str] = set()

    def write(self, what: str, action: Callable[[], Any]) -> None:
        """Do `action`, which writes `what` (such as "the plots") and may raise CannotWrite."""
        try:
            action()
        except CannotWrite as error:
            self.note(what, str(error).partition("\n")[0])

    def note(self, what: str, reason: str) -> None:
        """`what` could not be written, for that `reason`."""
        if what not in self._said:
            self._said.add(what)
            self._warn(f"warning: {what}: {reason}; the run goes on")
