"""What MLflow is asked for, and what it keeps in a database of its own."""

import io
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from segkit.runs.recording.trackers import to_mlflow
from segkit.runs.recording.trackers.memory import Memory
from segkit.runs.recording.trackers.to_mlflow import ToMlflow
from tests.processes import run_python, wait_until
from tests.runs.recording.trackers.tracked import MLFLOW, RUN, read_calls, start, use_stand_ins

PNG = io.BytesIO()
Image.new("RGB", (5, 4)).save(PNG, format="PNG")

READ_RUNS = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
experiment = client.get_experiment_by_name("segkit")
for run in client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]):
    histories = {key: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)]
                 for key in run.data.metrics}
    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    print(json.dumps([run.info.run_name, run.info.status, run.data.params, run.data.tags, histories, files,
                      experiment.artifact_location]))
"""


def sent(calls: Path) -> list[tuple[str, float, int]]:
    """The points that were sent: name, value and iteration."""
    parts = [part for arguments in read_calls(calls, "log_batch") for part in arguments[1]]
    return [(part[0], part[1], part[3]) for part in parts if len(part) == 4]


def fail(calls: Path, *names: str) -> None:
    """Have the stand-in fail at these from now on."""
    Path(f"{calls}.fails").write_text(" ".join(names))


def log_a_run(folder, settings=MLFLOW, state=("done", 0), **changes):
    process = start("mlflow", folder, settings, **changes)
    process.give("scalars", 5, {"train/loss": 1.5, "val/iou/a (b)": float("nan")})
    process.give("picture", 5, "examples/0", PNG.getvalue())
    process.give("summary", {"iterations": 5, "best": {"mIoU": 0.5}, "device": "cpu"})
    process.end(*state)
    return process.reports


def test_a_run_is_begun_with_its_settings_and_ended_with_its_state(tmp_path, monkeypatch):
    calls = use_stand_ins(monkeypatch, tmp_path)
    reports = log_a_run(tmp_path)
    assert [report.text for report in reports] == ["http://there, run run-7"]
    names = [name for name, _ in read_calls(calls)]
    assert names == [
        *("connect", "get_experiment_by_name", "create_run", "log_batch", "log_text"),
        *("log_batch", "log_image", "log_batch", "log_dict", "set_tag", "set_tag", "set_terminated"),
    ]
    (begun,) = read_calls(calls, "create_run")
    tags = {
        "mlflow.source.name": "segkit",
        "mlflow.source.type": "LOCAL",
        "a": "b",
        "segkit.folder": "tiny/7",
    }
    assert begun == ["3", tags, "tiny/7"]
    assert read_calls(calls, "log_batch")[0][1] == [["seed", "3"], ["loss.name", "ce"]]
    points = sent(calls)
    assert points[0] == ("train/loss", 1.5, 5)
    assert (points[1][0], points[1][2]) == ("val/iou/a _b_", 5)
    assert points[2:] == [("final/iterations", 5.0, 5), ("final/best.mIoU", 0.5, 5)]
    assert read_calls(calls, "set_terminated") == [["run-7", "FINISHED"]]


@pytest.mark.parametrize(
    ("state", "called"), [(("stopped", 130, ""), "KILLED"), (("failed", 8, "out of memory"), "FAILED")]
)
def test_states_have_mlflows_names(tmp_path, monkeypatch, state, called):
    calls = use_stand_ins(monkeypatch, tmp_path)
    log_a_run(tmp_path, state=state)
    assert read_calls(calls, "set_terminated") == [["run-7", called]]
    tags = {key: value for _, key, value in read_calls(calls, "set_tag")}
    assert tags == {"segkit.state": state[0], "segkit.error": state[2] if len(state) > 2 else ""}


def test_what_a_server_did_not_take_is_sent_with_the_next(tmp_path, monkeypatch):
    calls = use_stand_ins(monkeypatch, tmp_path, fails="get_experiment_by_name create_experiment")
    process = start("mlflow", tmp_path, MLFLOW)
    process.give("scalars", 5, {"a": 1.0})
    process.give("scalars", 10, {"a": 2.0})
    wait_until(lambda: process.look() or (process._moved > 0 and len(read_calls(calls, "connect")) == 3))
    fail(calls)
    process.give("scalars", 15, {"a": 3.0})
    process.end("done", 0)
    assert sent(calls) == [("a", 1.0, 5), ("a", 2.0, 10), ("a", 3.0, 15)]
    assert [report.what for report in process.reports] == ["problem", "place"]
    assert read_calls(calls, "create_run") != []


def test_a_resumed_run_is_gone_on_with(tmp_path, monkeypatch):
    calls = use_stand_ins(monkeypatch, tmp_path)
    log_a_run(tmp_path)
    log_a_run(tmp_path)
    assert len(read_calls(calls, "create_run")) == 1
    assert read_calls(calls, "update_run") == [["run-7", "RUNNING"]]
    assert [point for point in sent(calls) if point[0] == "train/loss"] == [("train/loss", 1.5, 5)]
    log_a_run(tmp_path, {**MLFLOW, "tracking_uri": "http://elsewhere"})
    assert len(read_calls(calls, "create_run")) == 2


def test_settings_that_a_resumed_run_has_otherwise_are_told_by_a_tag(tmp_path, monkeypatch):
    calls = use_stand_ins(monkeypatch, tmp_path)
    log_a_run(tmp_path)
    log_a_run(tmp_path)
    tags = [arguments[1:] for arguments in read_calls(calls, "set_tag")]
    assert {name for name, _ in tags} == {"segkit.state", "segkit.error"}
    log_a_run(tmp_path, config={"seed": 4, "loss": {"name": "ce", "new": 1}})
    assert ["segkit.changed", "seed=4"] in [arguments[1:] for arguments in read_calls(calls, "set_tag")]
    parameters = [
        part for arguments in read_calls(calls, "log_batch") for part in arguments[1] if len(part) == 2
    ]
    assert parameters == [["seed", "3"], ["loss.name", "ce"], ["loss.new", "1"]]


def test_a_server_that_does_not_answer_is_left_alone_for_a_while(tmp_path, monkeypatch):
    """Else each picture would wait for it, and so would the end of the run."""
    clock = [0.0]
    monkeypatch.setattr(to_mlflow.time, "monotonic", lambda: clock[0])
    tracker = ToMlflow({**RUN, "settings": MLFLOW}, Memory(tmp_path / "m.json"), lambda report: None)
    tried = []

    def connect():
        tried.append(clock[0])
        clock[0] += 30.0
        raise OSError("no answer")

    monkeypatch.setattr(tracker, "_connect", connect)
    for _ in range(5):
        with pytest.raises(OSError, match="no answer"):
            tracker.begin()
    assert tried == [0.0]
    clock[0] += to_mlflow.PAUSE
    with pytest.raises(OSError, match="no answer"):
        tracker.begin()
    with pytest.raises(OSError, match="no answer"):
        tracker.end("done", 0, "")  # the last try
    assert len(tried) == 3


def is_there(*packages: str) -> bool:
    return all(find_spec(package) is not None for package in packages)


@pytest.mark.skipif(
    not is_there("mlflow", "sqlalchemy", "alembic"), reason="mlflow, sqlalchemy or alembic is not installed"
)
def test_mlflow_itself_keeps_runs_in_a_database_beside_them(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    local = {**MLFLOW, "tracking_uri": None}
    store = tmp_path / "runs"
    for state in (("stopped", 130, ""), ("done", 0, "")):
        # A loaded machine takes minutes to make the tables of the database.
        reports = log_a_run(tmp_path / "tracking", local, state, store=str(store), patience=1800)
        assert [report.what for report in reports] == ["place"], reports
    database = f"sqlite:///{store}/mlflow.db"
    assert reports[0].text.startswith(f"{database}, run ")
    done = run_python("-W", "ignore", "-c", READ_RUNS, database, cwd=store)
    assert done.returncode == 0, done.stderr
    ((name, status, parameters, tags, histories, files, artifacts),) = map(
        json.loads, done.stdout.splitlines()
    )
    assert (name, status) == ("tiny/7", "FINISHED")
    assert parameters == {"seed": "3", "loss.name": "ce"}
    assert tags["segkit.state"] == "done" and tags["a"] == "b"
    assert histories["train/loss"] == [[5, 1.5]] and histories["final/best.mIoU"][0] == [5, 0.5]
    assert {"configuration.yaml", "final.json", "images"} <= set(files)
    assert artifacts == (store / "mlflow-artifacts").as_uri()
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "tracking"}
