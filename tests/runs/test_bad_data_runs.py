"""Runs on data sets with samples that cannot be used: what is said, written and repeated."""

import csv
import json
import multiprocessing
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import get_worker_info

from segkit.cli import train
from segkit.cli.run_command import run_command
from segkit.commands.evaluate import evaluate_weights
from segkit.data.datasets.folder import Folder
from segkit.data.loading.bad_samples import BadSample
from segkit.runs.checkpoint import load_checkpoint
from segkit.runs.folder import read_status
from segkit.runs.recording.bad_sample_log import BadSampleLog
from segkit.training.trainer import Trainer

TINY = """
name: tiny
device: cpu
data: {name: folder, root: data, classes: [a, b]}
model: {name: unet, width: 4, depth: 2}
loss: {name: ce}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
train: {iterations: 8, batch_size: 4, checkpoint_every: 2, workers: 0}
eval: {every: 4, images: 2}
log: {every: 2, tensorboard: false, images_every: 0}
"""
ADVICE = "mend or remove the file, or go on without such: data.on_bad_sample=skip"
SKIP = "data.on_bad_sample=skip"


@pytest.fixture
def tiny(tmp_path, monkeypatch, quick_plots):
    """A folder data set of 12 and 4 images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGKIT_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        for part, shape in (("images", (16, 16, 3)), ("masks", (16, 16))):
            (tmp_path / "data" / part / split).mkdir(parents=True)
            for n in range(count):
                values = random.integers(0, 2 if part == "masks" else 256, size=shape, dtype=np.uint8)
                Image.fromarray(values).save(tmp_path / "data" / part / split / f"{n:02d}.png")
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def run(*arguments: str) -> int:
    return run_command(train.main, list(arguments))


def only_run(folder: Path) -> Path:
    (found,) = (folder / "runs/tiny").iterdir()
    return found


def damage(folder: Path, split: str, *places: int) -> None:
    for place in places:
        path = folder / f"data/images/{split}/{place:02d}.png"
        # All at once: a worker that reads meanwhile must not find the file empty.
        damaged = path.with_suffix(".damaged")
        damaged.write_bytes(b"damaged")
        damaged.replace(path)


def weights(run: Path) -> dict:
    return load_checkpoint(run / "checkpoints/000008.pt")["trainer"]["model"]


# the log


def test_log_tells_of_a_file_once_and_counts(tmp_path):
    told = []
    log = BadSampleLog(tmp_path / "bad.csv", tell=told.append)
    log.write()
    assert log.total() is None and not (tmp_path / "bad.csv").exists()
    log.note(
        [BadSample("a.png", "cannot read a.png: broken", 0, "b"), BadSample("v.png", "cannot read v.png")]
    )
    log.note(
        [BadSample("a.png", "cannot read a.png: broken", 2, "c"), BadSample("v.png", "cannot read v.png")]
    )
    log.note([BadSample("sample 7", "label out of range: x", 2, "c")])
    assert told == [
        "bad data  cannot read a.png: broken; replaced by b",
        "bad data  cannot read v.png; left out",
        "bad data  sample 7: label out of range: x; replaced by c",
    ]
    assert log.counts() == {"train": 2, "replaced": 3, "val": 1}
    assert log.total() == f"bad data  2 train files replaced 3 times, 1 val file left out: {tmp_path}/bad.csv"
    log.write()
    assert (tmp_path / "bad.csv").read_text().splitlines() == [
        "part,file,reason,epoch,times",
        "train,a.png,cannot read a.png: broken,1,2",
        "val,v.png,cannot read v.png,,1",
        "train,sample 7,label out of range: x,3,1",
    ]
    again = BadSampleLog(tmp_path / "bad.csv", tell=told.append)
    again.load_state_dict(log.state_dict())
    again.note([BadSample("a.png", "cannot read a.png: broken", 5, "b")])
    assert len(told) == 3 and again.counts()["replaced"] == 4


# runs


def test_a_broken_file_ends_a_run_that_was_not_told_to_skip(tiny, capsys, monkeypatch):
    """The check before training reads it; a file that breaks later stops training."""
    damage(tiny, "train", 3)
    assert run("--config", "tiny.yaml") == 3
    assert not (tiny / "runs").exists()
    error = capsys.readouterr().err
    assert error.strip() == (
        f"cannot read data/images/train/03.png: not a PNG, JPEG, BMP, TIFF, WEBP or GIF image\n   -> {ADVICE}"
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_breaks_while_training(tiny, capsys, monkeypatch, workers):
    update = Trainer.update

    def breaking(self, batches):
        if self.iteration == 2:
            damage(tiny, "train", *range(12))
        return update(self, batches)

    monkeypatch.setattr(Trainer, "update", breaking)
    before = set(multiprocessing.active_children())
    assert run("--config", "tiny.yaml", f"train.workers={workers}", "train.iterations=30") == 3
    assert set(multiprocessing.active_children()) <= before, (
        "workers that the garbage collector would wait for"
    )
    error = capsys.readouterr().err.strip()
    pattern = r"cannot read data/images/train/\d\d.png: not a PNG, JPEG, BMP, TIFF, WEBP or GIF image\n   -> "
    assert re.fullmatch(pattern + ADVICE, error)
    status = read_status(only_run(tiny))
    assert (status["state"], status["exit_code"], status["error"]) == ("failed", 3, error)
    assert (
        status["checkpoint"] is not None and f"failed: {error}" in (only_run(tiny) / "train.log").read_text()
    )


def test_a_worker_that_the_system_kills_ends_the_run_with_a_message(tiny, capsys, monkeypatch):
    read = Folder.__getitem__

    def dying(self, index):
        if get_worker_info() is not None and "train" in str(self.mask_paths[0]):
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, index)

    monkeypatch.setattr(Folder, "__getitem__", dying)
    assert run("--config", "tiny.yaml", "train.workers=1", SKIP) == 3
    error = capsys.readouterr().err.strip()
    assert error.startswith("a process that loads data was ended by the system (")
    assert (
        "   -> fewer train.workers (0 needs no shared memory), a smaller batch, docker run --shm-size=8g"
        in error
    )
    status = read_status(only_run(tiny))
    assert (status["state"], status["exit_code"], status["error"]) == ("failed", 3, error)


def test_a_run_that_skips_says_what_and_how_often(tiny, capsys):
    damage(tiny, "train", 3, 7)
    damage(tiny, "val", 2)
    assert run("--config", "tiny.yaml", SKIP, "--check") == 0
    output = capsys.readouterr().out
    assert "cannot be used" in output and "bad data  cannot read data/images/val/02.png: not a" in output
    assert run("--config", "tiny.yaml", SKIP) == 0
    output, folder = capsys.readouterr().out, only_run(tiny)
    for name in ("train/03", "train/07", "val/02"):
        assert output.count(f"bad data  cannot read data/images/{name}.png") == 1
    assert output.count("; replaced by ") == 2 and output.count("; left out") == 1
    rows = list(csv.DictReader((folder / "bad_samples.csv").read_text().splitlines()))
    assert [row["part"] for row in rows] == ["val", "train", "train"]
    times = {row["file"]: row["times"] for row in rows}
    # 32 samples are 2 epochs of 12 and 8 of a third.
    replaced = int(times["data/images/train/03.png"]) + int(times["data/images/train/07.png"])
    assert 4 <= replaced <= 8 and times["data/images/val/02.png"] == "1"
    counts = {"train": 2, "replaced": replaced, "val": 1}
    assert json.loads((folder / "summary.json").read_text())["bad_samples"] == counts
    total = (
        f"bad data  2 train files replaced {replaced} times, 1 val file left out: {folder.relative_to(tiny)}/"
    )
    assert f"{total}bad_samples.csv" in output.splitlines()
    assert list(np.load(folder / "per_image.npz")["names"]) == ["00", "01", "03"]


def test_files_that_are_gone_are_skipped_everywhere(tiny, capsys):
    """Also where sizes of files are read, and where labels are counted."""
    for path in ("images/train/03.png", "masks/train/04.png", "images/val/00.png"):
        (tiny / "data" / path).unlink()
        (tiny / "data" / path).symlink_to("/nowhere/to/be/found")
    loss = "loss={name: ce, class_weights: balanced}"
    assert run("--config", "tiny.yaml", loss, "data.cache=ram", "train.iterations=4", SKIP) == 0
    assert "cannot read data/images/val/00.png: no such file; left out" in capsys.readouterr().out
    assert run("--config", "tiny.yaml", loss) == 3
    assert capsys.readouterr().err.startswith("cannot read ")


def test_a_run_without_bad_samples_says_nothing(tiny, capsys):
    assert run("--config", "tiny.yaml", SKIP) == 0
    assert "bad data" not in capsys.readouterr().out
    assert not (only_run(tiny) / "bad_samples.csv").exists()
    summary = json.loads((only_run(tiny) / "summary.json").read_text())
    assert summary["bad_samples"] == {"train": 0, "replaced": 0, "val": 0}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_with_bad_samples_is_the_whole_one(tiny, monkeypatch, workers):
    damage(tiny, "train", 1, 5, 6)
    damage(tiny, "val", 0)
    assert run("--config", "tiny.yaml", SKIP) == 0
    whole, table = weights(only_run(tiny)), (only_run(tiny) / "bad_samples.csv").read_text()
    (tiny / "runs").rename(tiny / "whole")
    update = Trainer.update

    def killed(self, batches):
        if self.iteration == 5:
            raise KeyboardInterrupt
        return update(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", killed)
        assert run("--config", "tiny.yaml", SKIP, f"train.workers={workers}") == 130
    assert (only_run(tiny) / "bad_samples.csv").exists()
    assert run("--resume", str(only_run(tiny)), f"train.workers={workers}") == 0
    resumed = weights(only_run(tiny))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert (only_run(tiny) / "bad_samples.csv").read_text() == table


def test_resuming_with_another_answer_to_bad_samples_warns(tiny, capsys):
    assert run("--config", "tiny.yaml", "train.iterations=4") == 0
    capsys.readouterr()
    assert run("--resume", str(only_run(tiny)), SKIP) == 0
    line = "resumed with another configuration: data.on_bad_sample: stop -> skip"
    assert line in capsys.readouterr().out.splitlines()


def test_best_and_worst_images_are_found_beside_bad_ones(tiny, monkeypatch):
    damage(tiny, "val", 0)
    seen = []
    monkeypatch.setattr(
        "segkit.runs.recording.recorder.Recorder.ranked",
        lambda self, name, images, panels: seen.append(
            ([i.name for i in images], [p["name"] for p in panels])
        ),
    )
    assert run("--config", "tiny.yaml", SKIP) == 0
    assert len(seen) == 2
    for ranked, shown in seen:
        assert ranked == shown and set(ranked) == {"01", "02", "03"}


def test_evaluating_leaves_out_and_names_bad_images(tiny, capsys):
    assert run("--config", "tiny.yaml", "train.iterations=2") == 0
    damage(tiny, "val", 1)
    capsys.readouterr()
    evaluate_weights(only_run(tiny), [SKIP], split="val", device="cpu", output=None)
    output = capsys.readouterr().out
    line = "bad data  cannot read data/images/val/01.png: not a PNG, JPEG, BMP, TIFF, WEBP or GIF image; left out"
    assert line in output.splitlines() and "bad data  1 val file left out" in output.splitlines()
    assert "3 images of folder val" in output


def test_bad_validation_images_alone_stop_even_a_run_that_skips(tiny, capsys):
    damage(tiny, "val", *range(4))
    assert run("--config", "tiny.yaml", SKIP) == 3
    error = capsys.readouterr().err.strip()
    assert error.startswith("none of the 4 validation images can be used; the first: cannot read ")
