"""What a tracker's process remembers of a run, in its folder, for the process that goes on with it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value")


class Memory:
    """`facts` such as the id of the run, and the last iteration that was logged of each curve and picture.

    A resumed run passes once more through iterations that were logged before it ended; `fresh` leaves them out.
    """

    def __init__(self, path: Path):
        self.path = path
        self.facts: dict[str, Any] = {}
        self.logged: dict[str, int] = {}
        self._read()
        self._before = dict(self.logged)

    def log_again(self) -> None:
        """Leave nothing out: the run goes elsewhere than before."""
        self._before = {}

    def fresh(self, iteration: int, values: Mapping[str, Value]) -> dict[str, Value]:
        """Those of the values that an earlier process has not logged."""
        return {name: value for name, value in values.items() if iteration > self._before.get(name, -1)}

    def note(self, iteration: int, names: Mapping[str, Any]) -> None:
        """These were logged. Raises OSError."""
        for name in names:
            self.logged[name] = max(iteration, self.logged.get(name, -1))
        self._write()

    def remember(self, **facts: Any) -> None:
        """Keep what the next process needs to know. Raises OSError."""
        if self.facts != {**self.facts, **facts}:
            self.facts |= facts
            self._write()

    def forget(self) -> None:
        """Begin anew: what was remembered is of a run that is gone."""
        self.facts, self.logged, self._before = {}, {}, {}

    def _read(self) -> None:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            self.facts, self.logged = dict(content["facts"]), dict(content["logged"])
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
        ):  # none yet, or damaged: the tracker gets another run
            return

    def _write(self) -> None:
        # Not `write_json`, which waits for the disk: this is written at every line of the console.
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        content = {"facts": self.facts, "logged": self.logged}
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(temporary, self.path)
