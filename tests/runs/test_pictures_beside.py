"""Runs whose pictures another process draws: none is lost at a signal, and none ends a run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from segkit.cli import train
from segkit.cli.run_command import run_command
from segkit.errors import DataError
from segkit.evaluation import pictures
from segkit.runs import state
from segkit.runs.folder import read_status
from segkit.training.trainer import Trainer
from tests.paths import ROOT
from tests.processes import HANG_LIMIT, wait_until

HALTING_TRAIN = ROOT / "tests/halting_train.py"

TINY = """
name: tiny
device: cpu
data: {name: shapes, size: 32, train_size: 16, val_size: 4}
model: {name: unet, width: 4, depth: 2}
loss: {name: ce}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
train: {iterations: 8, batch_size: 4, checkpoint_every: 2, workers: 0}
eval: {every: 4, images: 2}
log: {every: 2, tensorboard: false, images_every: 1}
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def run(*arguments: str) -> int:
    return run_command(train.main, list(arguments))


def only_run(folder: Path) -> Path:
    [found] = (folder / "runs/tiny").iterdir()
    return found


def moments(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "examples").glob("*.*"))


def test_a_run_stopped_by_sigterm_has_the_pictures_of_all_its_iterations(tiny):
    environment = {**os.environ, "HALT_AFTER": "5", "HALT_MARK": "halted"}
    command = [sys.executable, str(HALTING_TRAIN), "--config", "tiny.yaml"]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    wait_until(Path("halted").exists, lambda: process.poll() is not None)
    os.killpg(process.pid, signal.SIGTERM)  # to all of the job, as a batch system does it
    assert process.wait(HANG_LIMIT) == 143
    folder = only_run(tiny)
    assert read_status(folder)["state"] == "stopped" and read_status(folder)["iteration"] == 5
    assert moments(folder) == [f"{n:06}.jpg" for n in range(1, 6)]
    names = ("train_batch0.jpg", "loss_pixels.jpg", "results.png", "confusion_matrix.png", "labels.png")
    assert [name for name in names if not (folder / name).is_file()] == []


def test_a_run_that_fails_has_them_too(tiny, monkeypatch):
    fetch = Trainer.fetch

    def failing(trainer, batches):
        if trainer.iteration == 5:
            raise DataError("images/7.png is gone")
        return fetch(trainer, batches)

    monkeypatch.setattr(Trainer, "fetch", failing)
    assert run("--config", "tiny.yaml") == 3
    assert read_status(only_run(tiny))["state"] == "failed"
    assert moments(only_run(tiny)) == [f"{n:06}.jpg" for n in range(1, 6)]


def test_a_checkpoint_comes_after_the_pictures_of_its_iteration(tiny, monkeypatch):
    """So that a run that is killed at any moment, and resumed, lacks none."""
    seen = {}
    save = state.save_numbered

    def look(folder, whole, *, iteration, keep):
        seen[iteration] = moments(only_run(tiny))
        return save(folder, whole, iteration=iteration, keep=keep)

    monkeypatch.setattr(state, "save_numbered", look)
    assert run("--config", "tiny.yaml") == 0
    assert seen == {k: [f"{n:06}.jpg" for n in range(1, k + 1)] for k in (2, 4, 6, 8)}


def test_a_bug_in_a_picture_is_a_warning_and_the_log_has_its_traceback(tiny, monkeypatch, capsys):
    def fail(rows):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(pictures, "moments", fail)
    assert run("--config", "tiny.yaml") == 0
    assert read_status(only_run(tiny))["state"] == "done"
    warning = "warning: pictures: ZeroDivisionError: a bug; the run goes on"
    assert capsys.readouterr().out.count(warning) == 1
    log = (only_run(tiny) / "train.log").read_text()
    assert log.count(warning) == 1 and "in show_examples" in log
    assert len(moments(only_run(tiny))) == 8  # what comes before the bug is there
