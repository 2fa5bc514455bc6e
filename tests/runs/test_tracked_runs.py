"""Runs that are tracked by other packages, here by stand-ins: what these get, and that nothing else changes."""

import csv
from contextlib import chdir
from pathlib import Path

import pytest
import torch

from segkit.cli import train
from segkit.cli.run_command import run_command
from segkit.runs import run as run_module
from segkit.runs.checkpoint import load_checkpoint
from segkit.runs.recording.trackers import kinds
from segkit.system.run_files import RunFiles
from tests.empty_plots import empty_plots
from tests.runs.recording.trackers.tracked import read_calls, use_stand_ins

TINY = """
name: tiny
data: {name: shapes, size: 32, train_size: 24, val_size: 6}
model: {name: unet, width: 4, depth: 2, dropout: 0.1}
loss: {name: ohem_ce, thresh: 0.7, n_min: 1/16}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
train: {iterations: 8, batch_size: 4, checkpoint_every: 2, workers: 0}
eval: {every: 4, images: 2}
log: {every: 2, images_every: 4}
"""
TRACKED = ("log.wandb={mode: offline}", "log.mlflow={tracking_uri: http://there}")


@pytest.fixture
def tiny(tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def run(*arguments: str) -> int:
    return run_command(train.main, list(arguments))


def only_run(folder: str = "runs") -> RunFiles:
    (path,) = Path(folder, "tiny").iterdir()
    return RunFiles(path)


def points(calls: Path) -> list[tuple[str, int]]:
    """What wandb was given: names and iterations, in order."""
    rows = [row["values"] for row in read_calls(calls, "log")]
    return [(name, row["iteration"]) for row in rows for name in row if name != "iteration"]


def weights(folder: str = "runs") -> dict[str, torch.Tensor]:
    return load_checkpoint(only_run(folder).checkpoints / "000008.pt")["trainer"]["model"]


@pytest.fixture(scope="module")
def untracked(tmp_path_factory):
    """The weights of the run that nobody tracks."""
    folder = tmp_path_factory.mktemp("untracked")
    (folder / "tiny.yaml").write_text(TINY)
    with chdir(folder), empty_plots():
        assert run("--config", "tiny.yaml", "log.tensorboard=false") == 0
        return weights()


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found)


def test_trackers_get_what_the_run_records_and_change_nothing(tiny, monkeypatch, capsys, untracked):
    calls = use_stand_ins(monkeypatch, tiny)
    assert run("--config", "tiny.yaml", *TRACKED, "log.tensorboard=false") == 0
    assert_same(weights(), untracked)
    assert "warning" not in capsys.readouterr().out
    folder = only_run()
    with folder.results.open() as file:
        rows = list(csv.DictReader(file))
    expected = {(name, int(row["iteration"])) for row in rows for name, cell in row.items() if cell} - {
        ("iteration", int(row["iteration"])) for row in rows
    }
    found = points(calls)
    assert len(found) == len(set(found))
    shown = {(f"examples/{number}", iteration) for number in (0, 1) for iteration in (4, 8)}
    best = {("val/best_mIoU", 4), ("val/best_mIoU", 8)}
    assert set(found) == expected | shown | best | {("train_batch", 0)}
    sent = [part for call in read_calls(calls, "log_batch") for part in call[1] if len(part) == 4]
    scalars = {(part[0], part[3]) for part in sent if not part[0].startswith("final/")}
    assert scalars == {(name, at) for name, at in expected | best}
    assert {tuple(call[2:]) for call in read_calls(calls, "log_image")} == shown | {("train_batch", 0)}
    final, ended = read_calls(calls, "summary")
    assert final["final"]["best"]["iteration"] in (4, 8) and ended == {"state": "done", "error": ""}
    (begun,) = read_calls(calls, "init offline")
    assert begun["name"] == f"tiny/{folder.path.name}" and begun["config"]["loss"]["thresh"] == 0.7
    assert read_calls(calls, "finish") == [{"exit_code": 0}]
    assert read_calls(calls, "set_terminated") == [["run-7", "FINISHED"]]


def test_trackers_that_fail_everywhere_end_no_run(tiny, monkeypatch, capsys, untracked):
    use_stand_ins(monkeypatch, tiny, fails="all")
    assert run("--config", "tiny.yaml", *TRACKED) == 0
    assert_same(weights(), untracked)
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert sorted(warnings) == [
        "warning: mlflow: RuntimeError: connect fails; the run goes on",
        "warning: wandb: RuntimeError: import fails; the run goes on",
    ]


def test_a_tracker_fails_with_each_call_and_the_run_goes_on(tiny, monkeypatch, capsys, untracked):
    use_stand_ins(
        monkeypatch, tiny, fails="log define_metric summary finish log_batch log_image set_terminated"
    )
    assert run("--config", "tiny.yaml", *TRACKED) == 0
    assert_same(weights(), untracked)
    assert capsys.readouterr().out.count("warning: ") == 2


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_a_package_that_is_missing_is_found_before_anything_is_made(tiny, monkeypatch, capsys, arguments):
    monkeypatch.setattr(kinds, "is_installed", lambda package: False)
    assert run("--config", "tiny.yaml", "log.wandb=true", *arguments) == 2
    assert "pip install 'segkit[wandb]'" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_resumed_run_goes_on_without_a_point_twice(tiny, monkeypatch):
    calls = use_stand_ins(monkeypatch, tiny)
    assert run("--config", "tiny.yaml", *TRACKED) == 0
    whole = points(calls)
    (only_run().checkpoints / "000008.pt").unlink()  # as if it had been killed before this was written
    assert run("--resume", "auto", "--config", "tiny.yaml", *TRACKED) == 0
    assert points(calls) == whole
    first, second = read_calls(calls, "init offline")
    assert first["id"] == second["id"]
    assert len(read_calls(calls, "create_run")) == 1


def test_a_run_that_goes_on_otherwise_logs_what_comes_again(tiny, monkeypatch):
    calls = use_stand_ins(monkeypatch, tiny)
    assert run("--config", "tiny.yaml", TRACKED[0]) == 0
    whole = points(calls)
    earlier = str(only_run().checkpoints / "000006.pt")
    assert run("--resume", earlier) == 0  # the continuation from there is given up
    again = points(calls)[len(whole) :]
    assert again == [point for point in whole if point[1] == 8]


def test_a_run_that_is_stopped_is_no_failed_one(tiny, monkeypatch):
    calls = use_stand_ins(monkeypatch, tiny)
    asked = []
    monkeypatch.setattr(run_module, "stop_code", lambda *_: asked.append(1) or (130 if len(asked) > 5 else 0))
    assert run("--config", "tiny.yaml", *TRACKED) == 130
    assert read_calls(calls, "summary")[-1] == {"state": "stopped", "error": ""}
    assert read_calls(calls, "finish") == [{"exit_code": 130}]
    assert read_calls(calls, "set_terminated") == [["run-7", "KILLED"]]


def test_a_run_that_fails_says_why(tiny, monkeypatch):
    calls = use_stand_ins(monkeypatch, tiny)
    assert run("--config", "tiny.yaml", *TRACKED, "optimizer.lr=1e30", "schedule.warmup=0") == 5
    ended = read_calls(calls, "summary")[-1]
    assert ended["state"] == "failed" and ended["error"].startswith("the loss is ")
    assert read_calls(calls, "finish") == [{"exit_code": 5}]
    assert read_calls(calls, "set_terminated") == [["run-7", "FAILED"]]


def test_pictures_are_kept_here_where_they_are_not_to_be_sent(tiny, monkeypatch):
    calls = use_stand_ins(monkeypatch, tiny)
    off = "log.wandb={mode: offline, pictures: false}"
    assert run("--config", "tiny.yaml", off, "log.mlflow={tracking_uri: http://there, pictures: false}") == 0
    assert not [name for name, _ in points(calls) if name.startswith(("examples", "train_batch"))]
    assert read_calls(calls, "log_image") == []
    assert only_run().train_batch.is_file()
