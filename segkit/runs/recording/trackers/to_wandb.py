"""A run in Weights & Biases. Its files lie in the folder of the run; see `docs/trackers.md` for what is sent."""

import io
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from segkit.runs.recording.trackers.memory import Memory
from segkit.runs.recording.trackers.protocol import Report

#: The project where neither the configuration nor the environment names one.
PROJECT = "segkit"
#: The x axis of all curves. wandb's own counts calls, and refuses to go back.
AXIS = "iteration"
#: The most letters of a tag.
LONGEST_TAG = 64

#: What keeps wandb from sending code, and from the console, as far as this version has it.
_SETTINGS = {
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "disable_job_creation": True,
    "silent": True,
}


class ToWandb:
    """One run. `run` is what a run begins with, `memory` has the id that it goes on under."""

    keeps_trying = False

    def __init__(self, run: Mapping[str, Any], memory: Memory, tell: Callable[[Report], None]):
        self.facts, self.memory, self.tell = run, memory, tell
        self.run: Any = None

    def begin(self) -> None:
        """Begin the run, without the network if that fails: it can be sent later."""
        sys.argv = list(self.facts["command"])  # what wandb shows as the command of the run
        import wandb

        wanted = self.facts["settings"]
        if self.memory.facts.get("project") != wanted["project"]:
            self.memory.forget()
        run_id = self.memory.facts.get("id") or secrets.token_hex(4)
        self.memory.remember(id=run_id, project=wanted["project"])
        arguments = {
            "id": run_id,
            "resume": "allow",
            "dir": str(self.memory.path.parent),
            "project": wanted["project"] or os.environ.get("WANDB_PROJECT") or PROJECT,
            "name": wanted["name"] or self.facts["name"],
            "config": {**self.facts["config"], "segkit": {"folder": self.facts["name"]}},
            "tags": [tag[:LONGEST_TAG] for tag in wanted["tags"] if tag] or None,
            "settings": self._settings(wandb),
            **{key: wanted[key] for key in ("entity", "group", "job_type")},
        }
        try:
            self.run = wandb.init(mode=wanted["mode"], **arguments)
        except Exception as error:
            if wanted["mode"] == "offline":
                raise
            self.run = wandb.init(mode="offline", **arguments)
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            self.tell(Report("problem", f"{reason}; it records offline, for `wandb sync {self._files()}`"))
        self.run.define_metric(AXIS, hidden=True)
        self.run.define_metric("*", step_metric=AXIS)
        self.tell(Report("place", self.run.url or self._files()))

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """A point of each curve."""
        self.run.log({AXIS: iteration, **values})

    def picture(self, iteration: int, name: str, png: bytes) -> None:
        """A picture, with its iteration below it: wandb goes through pictures by its own count."""
        import wandb
        from PIL import Image

        with Image.open(io.BytesIO(png)) as image:
            shown = wandb.Image(image, caption=f"iteration {iteration:,}")
        self.run.log({AXIS: iteration, name: shown})

    def summary(self, values: Mapping[str, Any]) -> None:
        """The final numbers, below `final`."""
        self.run.summary.update({"final": values})

    def tables(self, tables: Mapping[str, tuple[list[str], list[list[Any]]]]) -> None:
        """Tables by name."""
        import wandb

        self.run.log(
            {name: wandb.Table(columns=columns, data=rows) for name, (columns, rows) in tables.items()}
        )

    def files(self, paths: list[str]) -> None:
        """The files together, as an artifact; a page also as a panel."""
        import wandb

        artifact = wandb.Artifact(f"report-{self.run.id}", type="report")
        for path in paths:
            artifact.add_file(path)
        self.run.log_artifact(artifact)
        for path in (path for path in paths if path.endswith(".html")):
            self.run.log({"report": wandb.Html(Path(path).read_text(encoding="utf-8"), inject=False)})

    def end(self, state: str, code: int, error: str) -> None:
        """Finish the run: wandb calls one with another exit status than 0 failed, so `state` says which it is."""
        self.run.summary.update({"state": state, "error": error})
        self.run.finish(exit_code=code)

    def _settings(self, wandb: Any) -> Any:
        known = getattr(wandb.Settings, "model_fields", {})
        settings = {**_SETTINGS, "program": self.facts["command"][0], "x_stats_pid": self.facts["pid"]}
        return wandb.Settings(**{key: value for key, value in settings.items() if key in known})

    def _files(self) -> str:
        """The folder that wandb has made for this part of the run."""
        return str(Path(self.run.dir).parent)
