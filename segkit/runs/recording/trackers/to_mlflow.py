"""A run in MLflow: on a server, or in a database beside the runs."""

import fcntl
import io
import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from segkit.config.keys import flatten
from segkit.runs.recording.trackers.memory import Memory
from segkit.runs.recording.trackers.names import SafeNames
from segkit.runs.recording.trackers.protocol import Report

#: The experiment where neither the configuration nor the environment names one.
EXPERIMENT = "segkit"
#: Where runs are kept unless somebody says where, in `log.dir`: the database, and the folder of pictures and files.
DATABASE, ARTIFACTS = "mlflow.db", "mlflow-artifacts"
#: What one request may hold, and the most letters of a setting that every server takes.
MOST_METRICS, MOST_PARAMETERS, LONGEST_PARAMETER = 1000, 100, 500
#: The tag of the settings that a resumed run has otherwise than its parameters say.
CHANGED = "segkit.changed"
#: Points that are kept while a server does not answer.
MOST_UNSENT = 200_000
#: Seconds after which a call that failed was to a server that does not answer; for so long it is left alone then.
SLOW, PAUSE = 2.0, 60.0
#: How MLflow calls the states of a run.
STATES = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class ToMlflow:
    """One run. `run` is what a run begins with, `memory` has the id that it goes on under.

    Curves are sent once there is a run to send them to: what could not be sent is sent with the next.
    """

    keeps_trying = True

    def __init__(self, run: Mapping[str, Any], memory: Memory, tell: Callable[[Report], None]):
        self.facts, self.memory, self.tell = run, memory, tell
        self.client: Any = None
        self.run_id = ""
        self.unsent: list[Any] = []
        self.safe = SafeNames()
        self.silence: tuple[float, Exception] | None = None

    def begin(self) -> None:
        """Begin the run, or go on with it."""
        with self._reached():
            pass

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """A point of each curve."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.unsent += [
            Metric(self.safe(name), float(value), now, iteration) for name, value in values.items()
        ]
        del self.unsent[:-MOST_UNSENT]
        with self._reached():
            self._send()

    def picture(self, iteration: int, name: str, png: bytes) -> None:
        """A picture."""
        from PIL import Image

        with self._reached(), Image.open(io.BytesIO(png)) as image:
            self.client.log_image(self.run_id, image, key=name, step=iteration)

    def summary(self, values: Mapping[str, Any]) -> None:
        """The final numbers: the file as a whole, and the numbers in it as curves of one point, below `final`."""
        flat = flatten(values, "final/")
        numbers = {key: value for key, value in flat.items() if type(value) in (int, float)}
        self.scalars(int(values.get("iterations", 0)), numbers)
        with self._reached():
            self.client.log_dict(self.run_id, dict(values), "final.json")

    def tables(self, tables: Mapping[str, tuple[list[str], list[list[Any]]]]) -> None:
        """Tables are shown from the files that they come from."""

    def files(self, paths: list[str]) -> None:
        """The files, as artifacts."""
        with self._reached():
            for path in paths:
                self.client.log_artifact(self.run_id, path)

    def end(self, state: str, code: int, error: str) -> None:
        """Send what is left, and say how the run has ended."""
        self.silence = None  # the last try
        with self._reached():
            self._send()
            self.client.set_tag(self.run_id, "segkit.state", state)
            self.client.set_tag(self.run_id, "segkit.error", error[:LONGEST_PARAMETER])
            self.client.set_terminated(self.run_id, STATES[state])

    # --- inside

    @contextmanager
    def _reached(self) -> Generator[None]:
        """Speak to the run, made first if it is not there. A server that did not answer is left alone for a while: what
        it failed by is raised again at once."""
        began = time.monotonic()
        if self.silence is not None and began < self.silence[0] + PAUSE:
            raise self.silence[1]
        self.silence = None
        try:
            self._connect()
            yield
        except Exception as error:
            if time.monotonic() - began > SLOW:
                self.silence = (time.monotonic(), error)
            raise

    def _connect(self) -> None:
        """Find or make experiment and run, unless that is done."""
        if self.run_id:
            return
        from mlflow import MlflowClient

        uri, store = self._place()
        with _alone(store):
            client = MlflowClient(tracking_uri=uri)
            experiment = self._find_experiment(client, store)
            run_id = self._go_on(client, experiment) or self._make_run(client, experiment)
        self.client, self.run_id = client, run_id
        self.tell(Report("place", f"{uri or os.environ['MLFLOW_TRACKING_URI']}, run {run_id}"))

    def _place(self) -> tuple[str | None, Path | None]:
        """Where the tracking is, None for where the environment says; and the folder of a store of our own."""
        wanted = self.facts["settings"]["tracking_uri"]
        if wanted or os.environ.get("MLFLOW_TRACKING_URI"):
            return wanted, None
        store = Path(self.facts["store"])
        return f"sqlite:///{store / DATABASE}", store

    def _find_experiment(self, client: Any, store: Path | None) -> str:
        wanted = self.facts["settings"]["experiment"]
        if wanted is None and os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return os.environ["MLFLOW_EXPERIMENT_ID"]
        name = wanted or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        artifacts = None if store is None else (store / ARTIFACTS).as_uri()
        found = client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        try:
            return client.create_experiment(name, artifact_location=artifacts)
        except Exception:
            found = client.get_experiment_by_name(name)  # another run has made it meanwhile
            if found is None:
                raise
            return found.experiment_id

    def _go_on(self, client: Any, experiment: str) -> str | None:
        """The run that this one goes on with; None if there is none."""
        known = self.memory.facts.get("run_id")
        if not known or self.memory.facts.get("place") != self._remembered_place(experiment):
            return None
        try:
            run = client.get_run(known)
        except Exception as error:
            if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
                raise
            self.tell(Report("problem", f"run {known} is gone: it begins another"))
            return None
        client.update_run(known, status="RUNNING")
        self._log_settings(client, known, there=run.data.params, changed=run.data.tags.get(CHANGED, ""))
        return known

    def _make_run(self, client: Any, experiment: str) -> str:
        self.memory.forget()
        wanted = self.facts["settings"]
        tags = {"mlflow.source.name": "segkit", "mlflow.source.type": "LOCAL", **wanted["tags"]}
        tags["segkit.folder"] = self.facts["name"]
        name = wanted["run_name"] or self.facts["name"]
        run_id = client.create_run(experiment, tags=tags, run_name=name).info.run_id
        self.memory.remember(run_id=run_id, place=self._remembered_place(experiment))
        self._log_settings(client, run_id, there={}, changed="")
        return run_id

    def _remembered_place(self, experiment: str) -> list[str]:
        return [str(self._place()[0] or os.environ.get("MLFLOW_TRACKING_URI")), experiment]

    def _log_settings(self, client: Any, run_id: str, *, there: Mapping[str, str], changed: str) -> None:
        """The configuration, as a file and as parameters. MLflow lets none of these change, so that a tag has those
        that a resumed run goes on with otherwise; `changed` is what it has before."""
        from mlflow.entities import Param

        names = SafeNames()
        wanted = {
            names(key): str(value)[:LONGEST_PARAMETER] for key, value in flatten(self.facts["config"]).items()
        }
        new = [Param(name, value) for name, value in wanted.items() if name not in there]
        for first in range(0, len(new), MOST_PARAMETERS):
            client.log_batch(run_id, params=new[first : first + MOST_PARAMETERS])
        other = (f"{name}={value}" for name, value in wanted.items() if there.get(name, value) != value)
        now = ", ".join(other)[:LONGEST_PARAMETER]
        if now != changed:
            client.set_tag(run_id, CHANGED, now)
        if self.facts["config_text"]:
            client.log_text(run_id, self.facts["config_text"], "configuration.yaml")

    def _send(self) -> None:
        while self.unsent:
            self.client.log_batch(self.run_id, metrics=self.unsent[:MOST_METRICS])
            del self.unsent[:MOST_METRICS]


@contextmanager
def _alone(store: Path | None) -> Generator[None]:
    """Let the runs of an ablation make their common database one after the other."""
    if store is None:
        yield
        return
    (store / ARTIFACTS).mkdir(parents=True, exist_ok=True)
    os.chdir(store / ARTIFACTS)  # in which earlier versions make a folder of their own, empty
    handle = os.open(store, os.O_RDONLY)
    try:
        with suppress(OSError):  # a disk without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
