"""Runs that end by an error save what they trained first; what is only nice to have ends none."""

from pathlib import Path

import pytest
import torch

from segkit.cli import train
from segkit.cli.run_command import run_command
from segkit.errors import CannotWrite, DataError, NotFiniteError
from segkit.registry import OPTIMIZERS
from segkit.runs.checkpoint import load_checkpoint
from segkit.runs.folder import read_status
from segkit.runs.recording.best_effort import BestEffort
from segkit.runs.recording.recorder import Recorder
from segkit.system.run_files import RunFiles, list_checkpoints
from segkit.training.trainer import Trainer

TINY = """
name: tiny
device: cpu
data: {name: shapes, size: 32, train_size: 16, val_size: 4}
model: {name: unet, width: 4, depth: 2}
loss: {name: ce}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
train: {iterations: 8, batch_size: 4, checkpoint_every: 100, workers: 0}
eval: {every: 4, images: 2}
log: {every: 2, tensorboard: false, images_every: 4}
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


def fail_after(monkeypatch, owner, name, error, *, iteration):
    """Let a method raise `error` once so many updates are done."""
    method = getattr(owner, name)
    trainers = []
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda trainer: (trainers.append(trainer), fit(trainer))[1])

    def failing(self, *arguments, **options):
        if trainers and trainers[-1].iteration == iteration:
            raise error
        return method(self, *arguments, **options)

    monkeypatch.setattr(owner, name, failing)


FAULTS = {
    "data": (Trainer, "fetch", DataError("images/7.png is gone"), 5, 3),
    "disk": (Recorder, "_scalars", CannotWrite("cannot write results.csv: the disk is full"), 6, 7),
    "evaluation": (Trainer, "evaluate_model", DataError("images/3.png is gone"), 4, 3),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_present_iteration_is_saved_and_the_run_goes_on_from_it(tiny, monkeypatch, capsys, fault):
    owner, name, error, iteration, code = FAULTS[fault]
    assert run("--config", "tiny.yaml", "log.dir=whole") == 0
    with monkeypatch.context() as patch:
        fail_after(patch, owner, name, error, iteration=iteration)
        assert run("--config", "tiny.yaml") == code
    captured = capsys.readouterr()
    folder = only_run(tiny)
    said = f"saved     iteration {iteration}; continue with: python train.py --resume runs/tiny/{folder.name}"
    assert said in captured.out and said in (folder / "train.log").read_text()
    assert captured.err == f"{error}\n"
    status = read_status(folder)
    assert (status["state"], status["exit_code"], status["iteration"]) == ("failed", code, iteration)
    assert Path(status["checkpoint"]).name == f"{iteration:06}.pt"
    assert run("--resume", str(folder)) == 0
    [whole] = (tiny / "whole/tiny").iterdir()
    one, other = (load_checkpoint(path / "checkpoints/000008.pt")["trainer"] for path in (folder, whole))
    assert one["best"] == other["best"]
    assert all(torch.equal(one["model"][key], other["model"][key]) for key in other["model"])


def test_a_bug_keeps_its_traceback_and_what_was_trained(tiny, monkeypatch):
    fail_after(monkeypatch, Trainer, "total_loss", ZeroDivisionError("a bug"), iteration=3)
    with pytest.raises(ZeroDivisionError):
        run("--config", "tiny.yaml")
    assert (only_run(tiny) / "checkpoints/000003.pt").is_file()


@pytest.mark.parametrize(
    ("owner", "name", "error", "said"),
    [
        (
            OPTIMIZERS.get("sgd"),
            "step",
            RuntimeError("out of luck"),
            "not saved: the error came within the optimizer's",
        ),
        (Recorder, "update", NotFiniteError("the loss is nan"), ""),
    ],
)
def test_what_is_of_no_iteration_or_not_finite_is_not_saved(tiny, monkeypatch, owner, name, error, said):
    fail_after(monkeypatch, owner, name, error, iteration=3)
    try:
        run("--config", "tiny.yaml")
    except RuntimeError as raised:
        assert raised is error
    assert not list((only_run(tiny) / "checkpoints").iterdir())
    log = (only_run(tiny) / "train.log").read_text()
    assert said in log and "saved     iteration" not in log


def test_that_saving_fails_too_hides_nothing(tiny, monkeypatch, capsys):
    fail_after(monkeypatch, Trainer, "fetch", DataError("images/7.png is gone"), iteration=5)

    def full(*arguments, **options):
        raise CannotWrite("cannot write 000005.pt: the disk is full\n   disk at /")

    monkeypatch.setattr("segkit.runs.state.save_numbered", full)
    assert run("--config", "tiny.yaml") == 3
    captured = capsys.readouterr()
    assert captured.err == "images/7.png is gone\n"
    assert "not saved: iteration 5: cannot write 000005.pt: the disk is full\n" in captured.out


def test_pictures_plots_and_the_card_end_no_run(tiny, monkeypatch):
    def make_folders(recorder, *arguments):
        for path in (recorder.folder.val_labels, recorder.folder.model_card):
            path.mkdir(exist_ok=True)
        start(recorder, *arguments)

    start = Recorder.start
    monkeypatch.setattr(Recorder, "start", make_folders)
    assert run("--config", "tiny.yaml") == 0
    assert read_status(only_run(tiny))["state"] == "done"
    log = (only_run(tiny) / "train.log").read_text()
    for what in ("pictures", "the card"):
        assert log.count(f"warning: {what}: cannot write runs/tiny/") == 1


def test_what_failed_once_is_tried_again():
    lines, written = [], []
    spared = BestEffort(lines.append)

    def fail():
        raise CannotWrite("cannot write a.jpg: the disk is full\n   disk at /")

    for action in (fail, fail, lambda: written.append(1), fail):
        spared.write("pictures", action)
    assert written == [1]
    assert lines == ["warning: pictures: cannot write a.jpg: the disk is full; the run goes on"]


def test_a_finished_run_has_no_checkpoint_too_many(tiny, monkeypatch):
    """One that was killed after its last save, before what is older was removed, saves no other."""
    monkeypatch.setattr("segkit.runs.checkpoint.remove_older", lambda folder, *, keep: None)
    assert run("--config", "tiny.yaml", "train.checkpoint_every=2") == 0
    names = [path.name for path in list_checkpoints(RunFiles(only_run(tiny)).checkpoints)]
    assert names == ["000008.pt", "000006.pt"]
