"""Memory that ran out, in training, scoring, predicting and reading: one message with what to change, and status 8."""

import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.cli import check_data, evaluate, predict, train
from segkit.cli.run_command import run_command
from segkit.config.load import load_config
from segkit.distributed.ranks import Ranks
from segkit.errors import OutOfMemory
from segkit.models.unet import UNet
from segkit.runs import checkpoint
from segkit.runs.checkpoint import newest_intact, save_checkpoint
from segkit.runs.end import explain
from segkit.runs.predictor import Predictor
from segkit.system.run_files import RunFiles
from segkit.training.build import build
from segkit.training.trainer import Trainer

CONFIG = """
name: tiny
device: cpu
data: {name: shapes, size: 32, train_size: 8, val_size: 2}
model: {name: unet, width: 4, depth: 2}
loss: {name: ce}
train: {iterations: 2, batch_size: 4, workers: 0}
eval: {images: 0}
log: {tensorboard: false, images_every: 0}
"""
TORCH = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000 bytes. Error code 12 (Cannot allocate memory)"  # noqa: E501
NUMPY = "Unable to allocate 7.11 PiB for an array with shape (1000000000000000,) and data type float64"
GPU = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB."
ERRORS = {
    "python": (MemoryError(), ""),
    "numpy": (MemoryError(NUMPY), " (7.11 PiB were asked for)"),
    "torch": (RuntimeError(TORCH), " (4 GB were asked for)"),
    "gpu": (torch.OutOfMemoryError(GPU), " (2.00 GiB were asked for)"),
    "system": (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), ""),
}
each_error = pytest.mark.parametrize(("error", "asked"), ERRORS.values(), ids=ERRORS)


@pytest.fixture
def here(tmp_path_factory, monkeypatch, quick_plots):
    """A working folder, apart from the data."""
    folder = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(folder)
    (folder / "tiny.yaml").write_text(CONFIG)
    return folder


def raising(error):
    def refuse(*arguments, **options):
        raise error

    return refuse


def refusal(capsys, command, *arguments):
    """What the command says on stderr, after the check that it ends with status 8 and shows no traceback."""
    assert run_command(command.main, list(arguments)) == OutOfMemory.exit_code == 8
    said = capsys.readouterr().err
    assert "Traceback" not in said and "damaged" not in said
    return said.strip()


@pytest.mark.parametrize(
    "batch, world, advice",
    [
        (8, 2, "train.batch_size=4 train.accumulate=4"),
        (12, 4, "train.batch_size=4 train.accumulate=6"),  # a batch of 6 could not be shared by 4
        (
            5,
            1,
            "train.batch_size=1 train.accumulate=10",
        ),  # 2 x 4 would be another update, and refused on resuming
        (4, 4, "smaller crops (augment.crop_size)"),
    ],
)
def test_the_smaller_batch_is_one_that_the_run_can_go_on_with(here, batch, world, advice):
    words = ("train.accumulate=2", "train.batch_size=12", "data.train_size=12")
    experiment = build(load_config("tiny.yaml", words))
    experiment = replace(experiment, batch_size=batch, ranks=Ranks(0, world))
    assert str(explain(MemoryError(), experiment)).partition("-> ")[2].startswith(advice)


@each_error
def test_in_training(here, monkeypatch, capsys, error, asked):
    monkeypatch.setattr(Trainer, "update", raising(error))
    said = refusal(capsys, train, "--config", "tiny.yaml")
    assert said == (
        f"out of memory{asked} at batch 4, 32x32 pixels\n"
        "   -> train.batch_size=2 train.accumulate=2, smaller crops (augment.crop_size), "
        "eval.batch_size=1 if it happened while validating"
    )
    (folder,) = (here / "runs" / "tiny").iterdir()
    status = json.loads(RunFiles(folder).status.read_text())
    assert (status["state"], status["exit_code"], status["error"]) == ("failed", 8, said)


@each_error
def test_before_there_is_a_run_folder(here, monkeypatch, capsys, error, asked):
    monkeypatch.setattr(UNet, "forward", raising(error))
    for option in ([], ["--check"]):
        said = refusal(capsys, train, "--config", "tiny.yaml", *option)
        assert said.startswith(f"out of memory{asked}\n   -> a smaller train.batch_size")
    assert not (here / "runs").exists()


@each_error
def test_in_scoring_and_predicting(here, monkeypatch, capsys, error, asked):
    assert run_command(train.main, ["--config", "tiny.yaml"]) == 0
    (folder,) = (here / "runs" / "tiny").iterdir()
    Image.fromarray(np.zeros((32, 32, 3), dtype=np.uint8)).save("x.png")
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "forward", raising(error))
        said = refusal(capsys, evaluate, "--weights", str(folder))
        assert said.endswith(
            f"out of memory{asked}\n   -> eval.batch_size=1, fewer train.workers (0: none), or --device cpu"
        )
        said = refusal(capsys, predict, "--weights", str(folder), "--source", "x.png")
        assert said.splitlines()[-2:] == [
            f"out of memory{asked}",
            "   -> tiles: predict.tile=[512,512], or --device cpu",
        ]
    monkeypatch.setattr("segkit.data.decoding.images_and_masks.Image.open", raising(error))
    said = refusal(capsys, predict, "--weights", str(folder), "--source", "x.png")
    assert said.splitlines()[-2] == f"out of memory{asked}"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(TORCH)], ids=["python", "torch"])
@pytest.mark.parametrize("skip", ["stop", "skip"])
def test_no_file_is_blamed_for_it(here, make_folder, monkeypatch, capsys, error, skip):
    root = make_folder()
    data = f"data={{name: folder, root: {root}, classes: [a, b, c], on_bad_sample: {skip}}}"
    monkeypatch.setattr("segkit.data.decoding.images_and_masks.Image.open", raising(error))
    said = refusal(capsys, train, "--config", "tiny.yaml", data)
    assert said.startswith("out of memory while loading data") and str(root) not in said
    said = refusal(capsys, check_data, "--config", "tiny.yaml", data)
    assert said.startswith("out of memory") and str(root) not in said


@each_error
def test_an_intact_checkpoint_is_not_passed_over(tmp_path, monkeypatch, error, asked):
    for number in (1, 2):
        save_checkpoint(tmp_path / f"{number:06}.pt", {"iteration": number})
    monkeypatch.setattr(checkpoint.torch, "load", raising(error))
    with pytest.raises(type(error)):
        newest_intact(tmp_path)
