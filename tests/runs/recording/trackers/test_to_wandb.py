"""What wandb is asked for, and what it keeps without a network."""

import io
import json
from importlib.util import find_spec

import pytest
from PIL import Image

from tests.processes import run_python
from tests.runs.recording.trackers.tracked import WANDB, read_calls, start, use_stand_ins

PNG = io.BytesIO()
Image.new("RGB", (5, 4)).save(PNG, format="PNG")

#: Prints the records of a .wandb file: a header of seven bytes, then blocks of 32 kB as in LevelDB's logs.
READ_RECORDS = """
import json, struct, sys
from wandb.proto import wandb_internal_pb2
data, place, parts = open(sys.argv[1], "rb").read(), 7, b""
name = lambda item: item.key or "/".join(item.nested_key)
while place + 7 <= len(data):
    left = 32768 - place % 32768
    _, length, kind = struct.unpack("<IHB", data[place : place + 7]) if left >= 7 else (0, 0, 0)
    if kind == 0:
        place += left
        continue
    parts += data[place + 7 : place + 7 + length]
    place += 7 + length
    if kind in (1, 4):
        record, parts = wandb_internal_pb2.Record.FromString(parts), b""
        what = record.WhichOneof("record_type")
        if what == "history":
            print(json.dumps([what, {name(item): json.loads(item.value_json) for item in record.history.item}]))
        if what == "run":
            run = record.run
            config = {item.key: json.loads(item.value_json) for item in run.config.update}
            names = [run.run_id, run.project, run.display_name, run.run_group, list(run.tags)]
            print(json.dumps([what, {"names": names, "config": config}]))
        if what == "summary":
            values = {name(item): json.loads(item.value_json) for item in record.summary.update}
            print(json.dumps([what, values]))
        if what == "exit":
            print(json.dumps([what, record.exit.exit_code]))
        if what == "environment":
            print(json.dumps([what, str(record)]))
"""


def log_a_run(folder, **changes):
    """A run of a few values; the reports."""
    process = start("wandb", folder, WANDB, **changes)
    process.give("scalars", 5, {"train/loss": 1.5})
    process.give("picture", 5, "examples/0", PNG.getvalue())
    process.give("tables", {"t": (["a", "b"], [["x", 1.0], ["y", None]])})
    process.give("summary", {"best": {"mIoU": 0.5}})
    process.end("stopped", 130)
    return process.reports


def test_a_run_is_begun_with_its_settings_and_ended_with_its_state(tmp_path, monkeypatch):
    calls = use_stand_ins(monkeypatch, tmp_path)
    reports = log_a_run(tmp_path)
    assert [report.what for report in reports] == ["place"]
    (begun,) = read_calls(calls, "init offline")
    settings = json.loads(begun.pop("settings"))
    assert settings.pop("x_stats_pid") == 1 and settings.pop("program") == "train.py"
    assert settings == {"console": "off", "disable_git": True, "disable_code": True, "save_code": False}
    memory = json.loads((tmp_path / "wandb.json").read_text())
    assert begun == {
        "id": memory["facts"]["id"],
        "resume": "allow",
        "dir": str(tmp_path),
        "project": "p",
        "entity": None,
        "name": "tiny/7",
        "group": "g",
        "job_type": None,
        "tags": ["a", "b" * 64],
        "mode": "offline",
        "config": {"seed": 3, "loss": {"name": "ce"}, "segkit": {"folder": "tiny/7"}},
    }
    assert [values["values"] for values in read_calls(calls, "log")] == [
        {"iteration": 5, "train/loss": 1.5},
        {"iteration": 5, "examples/0": "5x4: iteration 5"},
        {"t": "['a', 'b']: [['x', 1.0], ['y', None]]"},
    ]
    assert read_calls(calls, "summary") == [
        {"final": {"best": {"mIoU": 0.5}}},
        {"state": "stopped", "error": ""},
    ]
    assert read_calls(calls, "finish") == [{"exit_code": 130}]


def test_a_resumed_run_keeps_its_id_and_another_project_gets_another(tmp_path, monkeypatch):
    calls = use_stand_ins(monkeypatch, tmp_path)
    for project in ("p", "p", "q"):
        start("wandb", tmp_path, {**WANDB, "project": project}).end("done", 0)
    first, second, third = (begun["id"] for begun in read_calls(calls, "init offline"))
    assert first == second != third


def test_the_environment_names_the_project_where_the_configuration_does_not(tmp_path, monkeypatch):
    calls = use_stand_ins(monkeypatch, tmp_path)
    settings = {**WANDB, "project": None}
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    start("wandb", tmp_path, settings).end("done", 0)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    start("wandb", tmp_path, settings).end("done", 0)
    assert [begun["project"] for begun in read_calls(calls, "init offline")] == ["segkit", "mine"]


def test_without_a_login_it_records_offline_and_says_how_to_send_that(tmp_path, monkeypatch):
    calls = use_stand_ins(monkeypatch, tmp_path, fails="online")
    process = start("wandb", tmp_path, {**WANDB, "mode": "online"})
    process.give("scalars", 5, {"train/loss": 1.5})
    process.end("done", 0)
    assert [report.text for report in process.reports] == [
        f"no server; it records offline, for `wandb sync {tmp_path}/offline-run`",
        f"{tmp_path}/offline-run",
    ]
    assert [name for name, _ in read_calls(calls)][1:3] == ["init online", "init offline"]
    assert len(read_calls(calls, "log")) == 1


@pytest.mark.parametrize("fails", ["import", "offline"])
def test_without_a_run_it_is_off(tmp_path, monkeypatch, fails):
    calls = use_stand_ins(monkeypatch, tmp_path, fails=fails)
    reports = log_a_run(tmp_path)
    assert [report.what for report in reports] == ["problem"]
    assert read_calls(calls, "log", "finish") == []


@pytest.mark.skipif(
    find_spec("wandb") is None or find_spec("wandb").origin is None, reason="wandb is not installed"
)
def test_wandb_itself_keeps_the_run_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tracking"
    for number in (1, 2):
        reports = log_a_run(folder)
        assert [report.what for report in reports] == ["place"], reports
        files = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
        assert len(files) == number
    assert list(tmp_path.iterdir()) == [folder]
    records = [[json.loads(line) for line in read_records(file)] for file in files]
    first, second = ({} for _ in files)
    for found, read in zip((first, second), records, strict=True):
        for what, content in read:
            found.setdefault(what, []).append(content)
    names = ["p", "tiny/7", "g", ["a", "b" * 64]]
    run = first["run"][0]
    assert run["names"][1:] == names and second["run"][0]["names"] == run["names"]
    assert run["config"]["loss"] == {"name": "ce"}
    rows = [{key: row[key] for key in row if not key.startswith("_")} for row in first["history"]]
    assert rows[0] == {"iteration": 5, "train/loss": 1.5}
    assert any("examples/0/path" in row and row["iteration"] == 5 for row in rows)
    assert {"final": {"best": {"mIoU": 0.5}}} in first["summary"] and {
        "state": "stopped",
        "error": "",
    } in first["summary"]
    assert first["exit"] == [130]
    assert not any("train/loss" in row for row in second["history"])  # which has it already
    about = " ".join(first["environment"])
    assert "train.py" in about and "git" not in about
    assert not list(folder.glob("wandb/*/files/code"))


def read_records(file) -> list[str]:
    done = run_python("-W", "ignore", "-c", READ_RECORDS, file)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
