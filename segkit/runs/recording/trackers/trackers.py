"""All trackers of a run, as the recorder sees them: what it records goes to each; none can fail or hold it up."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segkit.config.schema import Log
from segkit.runs.recording.trackers.kinds import tracker_settings
from segkit.runs.recording.trackers.process import TrackerProcess


@dataclass(frozen=True)
class TrackedRun:
    """A run as its trackers know it: its `name` where their settings have none, the folder `store` in which MLflow's
    database is made if nobody names another, and the settings `config`, also as a text. `elsewhere` means that a
    resumed run may pass through its iterations otherwise than before."""

    name: str
    store: str
    config: dict[str, Any]
    config_text: str = ""
    elsewhere: bool = False


class Trackers:
    """What is recorded, for each of some trackers with their settings; nothing where there are none."""

    def __init__(
        self, run: TrackedRun | None = None, trackers: Iterable[tuple[TrackerProcess, dict[str, Any]]] = ()
    ):
        self.run = run
        self.trackers = list(trackers)

    @property
    def want_pictures(self) -> bool:
        """Whether one of them takes pictures."""
        return any(settings["pictures"] for _, settings in self.trackers)

    def begin(self) -> None:
        """Start them."""
        for process, settings in self.trackers:
            assert self.run is not None
            store = str(Path(self.run.store).absolute())
            here = {"pid": os.getpid(), "command": sys.argv or [""], "store": store, "settings": settings}
            process.begin({**asdict(self.run), **here})

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """A point of each curve."""
        self._give("scalars", iteration, {name: float(value) for name, value in values.items()})

    def pictures(self, pictures: Iterable[tuple[str, int, bytes]]) -> None:
        """Pictures, each with its name, its iteration and its PNG file, for those that take them."""
        for name, iteration, png in pictures:
            for process, settings in self.trackers:
                if settings["pictures"]:
                    process.give("picture", iteration, name, png)

    def summary(self, values: Mapping[str, Any]) -> None:
        """The final numbers, in plain types."""
        self._give("summary", dict(values))

    def report(self, tables: Mapping[str, tuple[list[str], list[list[Any]]]], files: list[str]) -> None:
        """Tables by name, each of columns and rows, and the paths of files."""
        self._give("tables", dict(tables))
        self._give("files", files)

    def say(self, line: Callable[[str], Any], warn: Callable[[str, str], Any]) -> None:
        """Say where the run is to be seen by `line`, and what could not be logged by `warn(tracker, reason)`."""
        for process, _ in self.trackers:
            process.look()
            reports, process.reports = process.reports, []
            for report in reports:
                if report.what == "place":
                    line(f"{process.kind:<9} {report.text}")
                else:
                    warn(process.kind, report.text)

    def end(self, state: str, code: int, error: str = "", *, wait: bool = True) -> None:
        """The run has ended: `state` is done, stopped or failed. Waits for what is left to be sent, unless told not
        to."""
        for process, _ in self.trackers:
            process.end(state, code, error, wait=wait)

    def _give(self, method: str, *arguments: Any) -> None:
        for process, _ in self.trackers:
            process.give(method, *arguments)


def open_trackers(log: Log, run: TrackedRun, folder: Path) -> Trackers:
    """What the run is tracked by as `log` says, if by anything; files of that lie in `folder`."""
    wanted = tracker_settings(log).items()
    return Trackers(run, [(TrackerProcess(kind, folder), settings) for kind, settings in wanted])
