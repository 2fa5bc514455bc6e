"""The command line from end to end, on data that fits in seconds."""

import csv
import json
import math
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from contextlib import chdir, redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segkit.ablation.statistics.groups import group_images
from segkit.cli import evaluate, train
from segkit.cli.run_command import run_command
from segkit.commands.calibrate import find_temperature
from segkit.commands.evaluate import evaluate_weights, open_data
from segkit.commands.evaluate_per_image import evaluate_per_image
from segkit.errors import CannotWrite, CheckpointError, ConfigError, RunFolderInUse
from segkit.evaluation.boundary_quality import BorderCounts
from segkit.evaluation.calibration import CalibrationCounts
from segkit.evaluation.metrics import confusion_matrix, mean_iou
from segkit.evaluation.objects.counts import ObjectCounts
from segkit.evaluation.objects.report import objects_as_json
from segkit.evaluation.objects.request import ObjectRequest
from segkit.models.unet import UNet
from segkit.registry import MODELS
from segkit.runs.checkpoint import load_checkpoint, save_checkpoint
from segkit.runs.folder import RunFolder, read_status
from segkit.runs.predictor import Predictor, load_predictor
from segkit.system import device as device_module
from segkit.system.run_files import RunFiles
from segkit.training.trainer import Trainer
from tests.paths import ROOT
from tests.processes import HANG_LIMIT, finish, wait_until
from tests.scripts import run_script

HALTING_TRAIN = ROOT / "tests" / "halting_train.py"
TINY = """
name: tiny
data: {name: shapes, size: 32, train_size: 24, val_size: 6}
model: {name: unet, width: 4, depth: 2, dropout: 0.1}
loss: {name: ohem_ce, thresh: 0.7, n_min: 1/16}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
train: {iterations: 8, batch_size: 4, checkpoint_every: 2, ema: 0.9, workers: 0}
eval: {every: 4, images: 2}
log: {every: 2}
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def run(*arguments: str) -> int:
    return run_command(train.main, list(arguments))


def read_rows(folder: Path) -> list[dict]:
    return list(csv.DictReader((folder / "results.csv").read_text().splitlines()))


def only_run(folder: Path, name: str = "tiny") -> Path:
    runs = list((folder / "runs" / name).iterdir())
    assert len(runs) == 1
    return runs[0]


@pytest.fixture(scope="session")
def finished(built_once):
    """A working folder in which tiny.yaml was trained, plots and all, and what that printed in `printed`."""

    def train_tiny(folder):
        with chdir(folder), open("printed", "w") as file, redirect_stdout(file):
            Path("tiny.yaml").write_text(TINY)
            assert run("--config", "tiny.yaml") == 0

    return built_once("tiny", train_tiny)


@pytest.fixture
def trained(tiny, finished):
    """The folder of a finished run of tiny.yaml, a copy in the working folder."""
    shutil.copytree(finished / "runs", tiny / "runs")
    return only_run(tiny)


def test_run_folder_has_what_it_promises(finished):
    folder = only_run(finished)
    for name in ("results.png", "confusion_matrix.png", "labels.png"):
        with Image.open(folder / name) as plot:
            assert min(plot.size) > 200
    not_here = {
        RunFiles.bad_samples.name,
        RunFiles.tracking.name,
        RunFiles.predictions.name,
        RunFiles.calibration_plot.name,
        RunFiles.temperature.name,
        RunFiles.onnx.name,
        RunFiles.pt2.name,
        RunFiles.about_export.name,
        RunFiles.packed.name,
    }
    names = {entry.name for entry in RunFiles.entries().values()} - not_here
    assert {path.name for path in folder.iterdir()} == names
    files, shown = RunFiles(folder), [2, 4, 6, 8]
    pictures = [at(n) for n in shown for at in (files.example_picture, files.moment_picture)]
    assert {path for path in files.example_pictures.rglob("*") if path.is_file()} == set(pictures)
    assert list(files.list_moment_pictures()) == shown
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["000006.pt", "000008.pt"]
    status = read_status(folder)
    assert (status["state"], status["iteration"], status["exit_code"]) == ("done", 8, 0)
    rows = read_rows(folder)
    assert [int(row["iteration"]) for row in rows] == [2, 4, 6, 8]
    assert rows[-1]["val/mIoU"] and rows[-1]["train/ce"] and rows[-1]["loss/kept_fraction"]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["finished"] and summary["last"]["iou"].keys() == {
        "background",
        "circle",
        "square",
        "line",
        "star",
    }
    output = (finished / "printed").read_text()
    assert "loss      ohem_ce  thresh 0.7  n_min 1/16 (= 256 of 4,096 pixels)" in output
    assert re.search(r"^iter  8/8  loss \d\.\d+  ce \d\.\d+  kept \d+ %  lr ", output, re.MULTILINE)
    assert re.search(r"^val   8      mIoU \d+\.\d", output, re.MULTILINE)
    assert re.search(r"^class +IoU +Dice +recall +pixels %$", output, re.MULTILINE)
    assert output.splitlines() == (folder / "train.log").read_text().splitlines()


def test_tensorboard_shows_scalars_pictures_and_the_configuration(finished):
    folder = only_run(finished) / "tb"
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "histograms": 0})
    events.Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) >= {
        "train/loss", "train/ce", "train/lr", "loss/kept_fraction", "loss/threshold", "loss/k", "loss/ignored_fraction",
        "val/mIoU", "val/ce", "val/accuracy", "val/iou/star", "perf/img_per_s", "perf/data_wait", "perf/memory_gb",
    }  # fmt: skip
    assert [event.step for event in events.Scalars("train/loss")] == [2, 4, 6, 8]
    assert set(tags["images"]) == {"train_batch", "examples/0", "examples/1"}
    assert [event.step for event in events.Images("examples/0")] == [2, 4, 6, 8]
    assert set(tags["tensors"]) == {"config/text_summary", "custom_scalars__config__"}
    assert [event.step for event in events.Histograms("loss/true_class_probability")] == [2, 4, 6, 8]
    assert len(list(folder.iterdir())) == 1
    start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"loss.thresh" in start and b"train.iterations" in start


def test_configuration_in_the_run_folder_runs_again_and_gives_the_same_numbers(tiny):
    assert run("--config", "tiny.yaml", "loss.thresh=0.6") == 0
    first = only_run(tiny)
    assert run("--config", str(first)) == 0
    second = next(path for path in (tiny / "runs/tiny").iterdir() if path != first)
    one, other = (load_checkpoint(folder / "checkpoints/000008.pt") for folder in (first, second))
    assert one["config"] == other["config"] and one["config"]["loss"]["thresh"] == 0.6
    assert all(
        torch.equal(one["trainer"]["model"][key], other["trainer"]["model"][key])
        for key in one["trainer"]["model"]
    )


def test_check_writes_nothing(tiny, capsys):
    assert run("--config", "tiny.yaml", "--check") == 0
    assert sorted(path.name for path in tiny.iterdir()) == ["tiny.yaml"]
    output = capsys.readouterr().out
    assert "image (4, 3, 32, 32) -> logits (4, 5, 32, 32)" in output
    assert "nothing was written" in output


def test_overfit_reaches_a_loss_near_zero(tiny, capsys):
    code = run(
        "--config", "tiny.yaml", "--overfit", "2", "train.iterations=120", "optimizer.lr=0.2", "loss={name: ce}",
        "model={name: unet, width: 12, depth: 2}", "train.ema=null", "eval.every=120", "log.every=20",
        "log.tensorboard=false", "log.images_every=0",
    )  # fmt: skip
    assert code == 0
    assert "tensorboard --logdir" not in capsys.readouterr().out  # switched off, so not advised
    folder = only_run(tiny, "tiny-overfit")
    losses = [float(row["train/ce"]) for row in read_rows(folder)]
    assert losses[0] > 0.5
    assert losses[-1] < 0.05
    card = (folder / "README.md").read_text()
    assert "on the 2 training images that it learnt (`--overfit`), not on validation images: **mIoU" in card
    assert "| images | 2 for training, and scored on the same |" in card and "| augmentation | none |" in card


@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_stopped_run_resumes_to_the_same_weights(tiny, amp):
    """SIGTERM in the middle of a process of its own, exit code 143, then `--resume auto`."""
    overrides = [
        "train.iterations=60",
        "train.checkpoint_every=1000",
        "eval.every=25",
        "log.every=7",
        "train.workers=1",
        f"train.amp={amp}",
    ]
    environment = {**os.environ, "HALT_AFTER": "16", "HALT_MARK": "halted"}
    arguments = ["--config", "tiny.yaml", *overrides]
    command = [sys.executable, str(HALTING_TRAIN), *arguments]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(Path("halted").exists, lambda: process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    output, errors = finish(process)
    assert process.returncode == 143, errors
    folder = only_run(tiny)
    status = read_status(folder)
    assert (status["state"], status["iteration"]) == ("stopped", 16)
    card = (folder / "README.md").read_text()
    assert "**Unfinished**: stopped after 16 of 60 iterations" in card
    assert not (folder / "best8.jpg").exists()
    assert f"continue with: python train.py --resume runs/tiny/{folder.name}" in output
    assert run(*arguments, "--resume", "auto") == 0
    assert run(*arguments, "log.dir=whole") == 0
    assert only_run(tiny) == folder
    one = load_checkpoint(folder / "checkpoints/000060.pt")["trainer"]
    other = load_checkpoint(next((tiny / "whole/tiny").iterdir()) / "checkpoints/000060.pt")["trainer"]
    assert one["best"] == other["best"]
    for part in ("model", "ema"):
        assert all(torch.equal(one[part][key], other[part][key]) for key in other[part])
    numbers = [
        [{key: text for key, text in row.items() if not key.startswith("perf/")} for row in read_rows(run)]
        for run in (folder, next((tiny / "whole/tiny").iterdir()))
    ]
    assert numbers[0] == numbers[1] and len(numbers[0]) == 11 and "loss/kept_fraction" in numbers[0][0]
    card = (folder / "README.md").read_text()
    assert "Unfinished" not in card and "![Those with the lowest](worst8.jpg)" in card


def test_resume_with_another_loss_is_refused(trained, capsys):
    assert run("--config", "tiny.yaml", "--resume", "auto", "loss.thresh=0.5") == 4
    assert "loss.thresh: 0.7 -> 0.5" in capsys.readouterr().err


MISTAKES = {
    "typo in a key": (["loss.treshold=0.7"], 2, ["unknown key 'loss.treshold', did you mean 'thresh'?"]),
    "typo in a name": (["loss.name=ohm_ce"], 2, ["no loss named 'ohm_ce', did you mean 'ohem_ce'?"]),
    "wrong type": (["loss.thresh=high"], 2, ["loss.thresh", "a number in (0, 1]", "'high'"]),
    "missing folder": (
        ["data={name: folder, root: nowhere, classes: [a, b]}"],
        3,
        ["dataset folder not found: nowhere"],
    ),
    "cuda without CUDA": (["device=cuda"], 2, ["CUDA was asked for (device: cuda) but", "device=cpu"]),
    "n_min of every pixel": (
        ["loss.n_min=100000"],
        2,
        ["ohem_ce keeps every pixel: n_min=100000 but a batch has 4,096 -> n_min: 1/16"],
    ),
    "warm-up beyond the end": (
        ["loss={name: bootstrapped_ce}"],
        2,
        ["bootstrapped_ce would never start: start_warm=20000 but the run has 8 iterations"],
    ),
    "no weight map": (["loss={name: weighted_mask_ce}"], 2, ["weighted_mask_ce needs a weight map"]),
    "weight map without files": (
        ["data.weight_map={name: file}"],
        3,
        ["the weight map 'file' needs a data set of files, and train_"],
    ),
    "class weights of 0": (["loss.class_weights=[0, 0, 0, 0, 0]"], 2, ["class_weights must not all be 0"]),
    "one image for DeepLab": (
        ["model={name: deeplabv3_mobilenet_v3_large}", "train.batch_size=1"],
        2,
        ["deeplabv3_mobilenet_v3_large cannot train on one image at a time", "train.batch_size: 2"],
    ),
    "one pixel for batch normalisation": (
        ["train.batch_size=1", "augment={name: standard, crop_size: 2}", "loss={name: ce}"],
        2,
        ["unet with norm: batch cannot train on a single 2x2 image"],
    ),
}


@pytest.mark.parametrize(("overrides", "code", "parts"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_gives_one_screen_and_its_exit_code(tiny, capsys, monkeypatch, overrides, code, parts):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run("--config", "tiny.yaml", *overrides) == code
    message = capsys.readouterr().err
    assert all(part in message for part in parts), message
    assert "Traceback" not in message
    assert len(message.splitlines()) <= 12
    assert not (tiny / "runs").exists()


def test_label_out_of_range_names_the_file(tiny, capsys):
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tiny / "set" / kind / split).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (32, 32)).save(tiny / f"set/images/{split}/{number}.png")
            Image.new("L", (32, 32), 1).save(tiny / f"set/masks/{split}/{number}.png")
    Image.new("L", (32, 32), 7).save(tiny / "set/masks/train/2.png")
    assert run("--config", "tiny.yaml", "data={name: folder, root: set, classes: [a, b]}") == 3
    message = capsys.readouterr().err
    assert "label out of range: masks/train/2.png has ids 7 but data.classes has 2 classes (0-1)" in message


MODEL = '''
import torch
from segkit.registry import MODELS

@MODELS.register("three_layers")
class ThreeLayers(torch.nn.Sequential):
    """Three convolutions, for a test."""
    def __init__(self, num_classes: int, in_channels: int, *, width: int = 8):
        super().__init__(
            torch.nn.Conv2d(in_channels, width, 3, padding=1, stride=2), torch.nn.ReLU(),
            torch.nn.Conv2d(width, num_classes, 1),
        )
'''


@pytest.fixture
def forget(monkeypatch):
    """A function after which the model in the user's file is not known; called at the end too."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def forget_model():
        MODELS._constructors.pop("three_layers", None)
        sys.modules.pop("my_models_for_this_test", None)

    yield forget_model
    forget_model()


def test_model_in_a_users_file_trains_and_predicts(tiny, capsys, forget):
    Path("my_models_for_this_test.py").write_text(MODEL)
    arguments = ["--import", "my_models_for_this_test.py", "model={name: three_layers, width: 6}"]
    assert run("--config", "tiny.yaml", *arguments) == 0
    folder = only_run(tiny)
    Image.new("RGB", (45, 31), "red").save("picture.png")
    predict = ("predict", "--weights", folder, "--device", "cpu", "--source", "picture.png")
    forget()  # as in another process, which does not know the model yet
    assert run_script(*predict) == 2 and "no model named 'three_layers'" in capsys.readouterr().err
    assert run_script(*predict, *arguments[:2], "--save", "ids", "overlay", "palette") == 0
    written = sorted(path.name for path in (folder / "predictions").iterdir())
    assert written == ["picture.png", "picture_ids.png", "picture_overlay.jpg"]
    for name, mode in zip(written, ("P", "L", "RGB"), strict=True):
        with Image.open(folder / "predictions" / name) as picture:
            assert (picture.size, picture.mode) == ((45, 31), mode)
            assert mode != "L" or picture.getextrema()[1] < 5


def test_model_that_returns_a_tuple_trains_and_is_scored(tiny, capsys, forget):
    forward = "    def forward(self, image):\n        logits = super().forward(image)\n        return {}\n"
    module, arguments = Path("my_models_for_this_test.py"), ["--import", "my_models_for_this_test.py"]
    module.write_text(MODEL + forward.format("logits, [-logits]"))
    arguments.append("model={name: three_layers, width: 6}")
    assert run("--config", "tiny.yaml", "--check", *arguments) == 0
    assert run("--config", "tiny.yaml", *arguments) == 0
    folder = only_run(tiny)
    assert run_script("evaluate", *arguments[:2], "--weights", folder) == 0
    forget()
    module.write_text(MODEL + forward.format("{'seg': logits}"))
    capsys.readouterr()
    for option in ([], ["--check"]):
        assert run("--config", "tiny.yaml", *option, *arguments) == 2
        first, advice = capsys.readouterr().err.strip().splitlines()
        assert first == "the model returned dict {'seg': Tensor (1, 5, 16, 16)}"
        assert advice.startswith("   -> a model returns its logits (N, num_classes, h, w): as a tensor")
    assert only_run(tiny) == folder
    assert run_script("evaluate", *arguments[:2], "--weights", folder) == 2
    assert "the model returned dict {'seg': Tensor" in capsys.readouterr().err


def test_evaluate_script_repeats_the_best_score_of_training(trained):
    command = ("evaluate", "--weights", trained, "--output", "scores.json")
    assert run_script(*command) == 0
    scores = json.loads(Path("scores.json").read_text())
    summary = json.loads((trained / "summary.json").read_text())
    assert scores["mIoU"] == pytest.approx(summary["best"]["mIoU"], abs=1e-6)
    assert scores["images"] == 6
    assert run_script(*command, "data.val_size=3") == 0
    assert json.loads(Path("scores.json").read_text())["images"] == 3


def test_not_finite_loss_stops_with_its_iteration_and_images(tiny, capsys):
    assert run("--config", "tiny.yaml", "optimizer.lr=1e30", "train.ema=null") == 5
    message = capsys.readouterr().err
    assert re.search(
        r"the loss is (nan|inf) in the update after iteration \d; nothing of it was saved", message
    )
    assert "images: train-" in message or "images: shapes" in message or "images: " in message
    assert read_status(only_run(tiny))["exit_code"] == 5


@pytest.mark.parametrize(
    "model",
    [pytest.param("deeplabv3_mobilenet_v3_large", marks=pytest.mark.heavy), "lraspp_mobilenet_v3_large"],
)
def test_torchvision_model_trains_from_its_own_stride(tiny, model):
    code = run("--config", "tiny.yaml", f"model={{name: {model}}}", "train.iterations=2", "data.size=64")
    assert code == 0


def test_bf16_on_the_cpu(tiny):
    assert run("--config", "tiny.yaml", "train.amp=bf16", "train.iterations=2", "train.accumulate=4") == 0


def test_fp16_on_the_cpu_is_refused_before_there_is_a_folder(tiny, capsys):
    assert run("--config", "tiny.yaml", "train.amp=fp16") == 2
    assert capsys.readouterr().err.startswith("train.amp: fp16, but no CPU trains in it")
    assert not (tiny / "runs").exists()


@pytest.mark.parametrize("began", [True, False])
def test_run_goes_on_in_the_precision_it_began_in(tiny, monkeypatch, capsys, began):
    """`auto` is measured; what it came to is kept, and so are the bits."""
    states = []
    for folder, measured in (("whole", (began, began)), ("resumed", (began, not began))):
        for iterations, found in zip((4, 8), measured, strict=True):
            monkeypatch.setattr(device_module, "computes_bf16", lambda found=found: found)
            options = (f"log.dir={folder}", f"train.iterations={iterations}", "schedule={name: constant}")
            assert run("--config", "tiny.yaml", *options, "--resume", "auto") == 0
        path = next((tiny / folder / "tiny").iterdir()) / "checkpoints/000008.pt"
        states.append(load_checkpoint(path)["trainer"]["model"])
    assert f"amp {'bf16' if began else 'off'}" in capsys.readouterr().out.rpartition("resumed from")[0]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_run_of_an_older_segkit_goes_on_in_fp32(trained, monkeypatch, capsys):
    path = trained / "checkpoints/000008.pt"
    state = load_checkpoint(path)
    del state["precision"]
    save_checkpoint(path, state)
    monkeypatch.setattr(device_module, "computes_bf16", lambda: True)
    assert run("--resume", str(trained), "train.iterations=10") == 0
    assert "amp off" in capsys.readouterr().out


def test_run_that_comes_from_a_gpu_says_that_its_precision_is_another(trained, monkeypatch, capsys):
    path = trained / "checkpoints/000008.pt"
    state = load_checkpoint(path)
    state["precision"] = {"device": "cuda", "amp": "fp16"}
    save_checkpoint(path, state)
    before = json.loads((trained / "env.json").read_text())
    (trained / "env.json").write_text(json.dumps(before | {"amp": "fp16", "gpus": ["T4"]}))
    monkeypatch.setattr(device_module, "computes_bf16", lambda: False)
    assert run("--resume", str(trained), "train.iterations=10") == 0
    line = "resumed with amp off on cpu instead of fp16 on cuda: not the same bits"
    assert line in capsys.readouterr().out
    env = json.loads((trained / "env.json").read_text())
    changes = {change["key"]: (change["before"], change["after"]) for change in env["resumed"]}
    assert changes["env.amp"] == ("fp16", env["amp"]) == ("fp16", "off")
    assert changes["env.gpus"] == (["T4"], before["gpus"])
    assert "resumed" not in before and before["amp"] in ("off", "bf16")
    with np.load(trained / "per_image.npz") as arrays:
        assert str(arrays["precision"]) == "off"


def test_bf16_that_is_emulated_is_warned_of(tiny, monkeypatch, capsys):
    monkeypatch.setattr(device_module, "computes_bf16", lambda: False)
    assert run("--config", "tiny.yaml", "train.amp=bf16", "train.iterations=2") == 0
    assert "warning: train.amp: bf16, which this processor only emulates" in capsys.readouterr().out


def test_epochs_are_turned_into_iterations(tiny, capsys):
    assert run("--config", "tiny.yaml", "train.iterations=null", "train.epochs=1.5") == 0
    assert "schedule  9 iterations = 1.5 epochs" in capsys.readouterr().out


def test_second_process_cannot_write_the_same_run_folder(trained, capsys):
    with RunFolder.reopen(trained):
        assert run("--config", "tiny.yaml", "--resume", "auto") == 6
    assert "is in use by process" in capsys.readouterr().err


def test_two_runs_in_one_second_get_two_folders(tiny):
    assert run("--config", "tiny.yaml", "train.iterations=1") == 0
    assert run("--config", "tiny.yaml", "train.iterations=1") == 0
    assert len(list((tiny / "runs/tiny").iterdir())) == 2


def test_images_that_do_not_fit_together_are_found_before_a_run_folder_is_made(tiny, capsys):
    for split in ("train", "val"):
        for number, size in enumerate([(32, 32), (32, 40)]):
            for kind in ("images", "masks"):
                path = tiny / "sizes" / kind / split / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full(size, number, dtype=np.uint8)).save(path)
    data = "data={name: folder, root: sizes, classes: [a, b]}"
    assert run("--config", "tiny.yaml", data, "augment={name: none}", "train.batch_size=2") == 3
    assert "images of one batch differ in size: " in capsys.readouterr().err
    assert not (tiny / "runs").exists()
    assert (
        run("--config", "tiny.yaml", data, "augment={name: standard, crop_size: 16}", "train.iterations=1")
        == 0
    )


def test_tilde_in_the_runs_folder_is_the_home_folder(tiny, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny / "home"))
    assert run("--config", "tiny.yaml", "train.iterations=1", "log.dir=~/runs") == 0
    assert not (tiny / "~").exists()
    assert [path.name for path in (tiny / "home/runs").iterdir()] == ["tiny"]
    again = ("--config", "tiny.yaml", "train.iterations=2", "log.dir=~/runs", "--resume", "auto")
    assert run(*again) == 0


def test_resume_to_fewer_iterations_than_done_is_refused(trained, capsys):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    assert run("--resume", str(trained), "train.iterations=4") == 2
    assert capsys.readouterr().err == (
        f"{trained}/checkpoints/000008.pt has 8 iterations and the run is to have 4: nothing is left to do\n"
        "   -> train.iterations=16 to train on, or a new run without --resume\n"
    )
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before
    assert run("--resume", str(trained)) == 0  # done already, which a job that is queued again may find


def test_configuration_file_changes_with_the_checkpoint_not_before(trained, monkeypatch):
    """A resumed run that is killed early must be resumable as it was."""
    command = ("--resume", str(trained), "seed=7", "--allow-change", "seed", "train.iterations=12")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", lambda trainer: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(*command)
    assert "seed: 0" in (trained / "config.yaml").read_text()
    assert run(*command) == 0
    assert "seed: 7" in (trained / "config.yaml").read_text()
    assert run("--resume", str(trained)) == 0


def test_model_with_other_classes_is_found_before_a_run_folder_is_made(tiny, capsys, monkeypatch):
    monkeypatch.setattr(UNet, "forward", lambda model, image: image)
    assert run("--config", "tiny.yaml") == 2
    assert capsys.readouterr().err == (
        "model: unet gave (1, 3, 32, 32) for one image; logits of 5 classes have the shape (1, 5, h, w)\n"
    )
    assert not (tiny / "runs").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.width=16", "model belongs to the weights and cannot be changed here -> leave it out"),
        (
            "data.mean=[0, 0, 0]",
            "data.mean belongs to the weights and cannot be changed here -> leave it out",
        ),
        (
            "train.amp=bf16",
            "train.amp belongs to the weights and cannot be changed here -> leave it out",
        ),
        ("data.channels=1", "the weights are for images of 3 channels but the data has 1 -> data.channels=3"),
    ],
)
def test_evaluating_with_what_would_have_no_effect_is_refused(trained, override, message):
    with pytest.raises(ConfigError) as caught:
        evaluate_weights(str(trained), [override], split="val", device="cpu", output=None)
    assert str(caught.value) == message


def test_closed_terminal_stops_the_run_after_saving(tiny):
    """A real terminal that goes away: the system sends SIGHUP, and every later line fails."""
    arguments = ["--config", "tiny.yaml", "train.iterations=20"]
    environment = {**os.environ, "HALT_AFTER": "9", "HALT_MARK": "halted"}
    process, screen = pty.fork()
    if process == 0:
        os.execve(sys.executable, [sys.executable, str(HALTING_TRAIN), *arguments], environment)
    shown = b""
    while b"val   8 " not in shown:
        shown += os.read(screen, 4096)
    ended = partial(os.waitid, os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    wait_until(Path("halted").exists, ended)
    os.close(screen)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 129
    status = read_status(only_run(tiny))
    assert (status["state"], status["exit_code"]) == ("stopped", 129)
    assert load_checkpoint(Path(status["checkpoint"]))["trainer"]["iteration"] == status["iteration"] == 9
    assert "stopped   after" in (only_run(tiny) / "train.log").read_text()


def test_ctrl_c_after_the_reader_of_a_pipe_has_gone_saves(tiny):
    """As `train.py ... | tee log` and Ctrl-C, which ends tee first."""
    environment = {**os.environ, "HALT_AFTER": "9", "HALT_MARK": "halted"}
    command = [sys.executable, str(HALTING_TRAIN), "--config", "tiny.yaml", "train.iterations=20"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    process.stdout.readline()
    process.stdout.close()
    wait_until(Path("halted").exists, lambda: process.poll() is not None)
    process.send_signal(signal.SIGINT)
    assert process.wait(HANG_LIMIT) == 130
    status = read_status(only_run(tiny))
    assert (status["state"], status["exit_code"], status["iteration"]) == ("stopped", 130, 9)
    assert load_checkpoint(Path(status["checkpoint"]))["trainer"]["iteration"] == 9
    assert "stopped   after" in (only_run(tiny) / "train.log").read_text()


@pytest.mark.heavy
def test_a_full_disk_under_the_output_ends_nothing(tiny):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, str(HALTING_TRAIN), "--config", "tiny.yaml"],
            env={**os.environ, "HALT_AFTER": "0", "HALT_MARK": "halted"},
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=HANG_LIMIT,
        )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == (
        "stdout cannot be written any more: No space left on device; the work goes on without it"
    )
    assert read_status(only_run(tiny))["state"] == "done"
    assert "done      best mIoU" in (only_run(tiny) / "train.log").read_text()


def test_run_killed_within_a_window_has_the_rows_of_a_whole_one_after_a_resume(tiny):
    """The checkpoint of iteration 6 has the values of iterations 5 and 6, which the row of 8 is a mean over."""

    def rows() -> list[dict]:
        found = read_rows(only_run(tiny))
        return [{key: text for key, text in row.items() if not key.startswith("perf/")} for row in found]

    assert run("--config", "tiny.yaml", "log.every=4") == 0
    whole = rows()
    (only_run(tiny) / "checkpoints/000008.pt").unlink()
    assert run("--resume", str(only_run(tiny))) == 0
    assert rows() == whole and [row["iteration"] for row in whole] == ["4", "8"]


def test_checkpoint_of_an_older_segkit_can_be_resumed(trained, capsys):
    path = trained / "checkpoints/000008.pt"
    state = load_checkpoint(path)
    del state["recorder"], state["data_fingerprint"]
    # Options that came later, and mean by default what was before.
    del state["config"]["data"]["label_noise"], state["config"]["data"]["on_bad_sample"]
    save_checkpoint(path, state)
    assert run("--resume", str(trained), "train.iterations=10") == 0
    assert "label_noise" not in capsys.readouterr().out
    assert [int(row["iteration"]) for row in read_rows(trained)] == [2, 4, 6, 8, 10]


@pytest.mark.parametrize("name", ["best8.jpg", "README.md"])
def test_file_that_could_not_be_written_at_the_end_comes_with_a_resume(tiny, monkeypatch, capsys, name):
    def full(path, error=None):
        raise CannotWrite(f"cannot write {path}: the disk is full")

    with monkeypatch.context() as patch:
        if name == "README.md":
            patch.setattr("segkit.runs.end.write_text", lambda path, text: full(path))
        else:
            patch.setattr(
                "segkit.runs.recording.pictures.RunPictures.ranked", lambda drawn, path, *rest: full(path)
            )
        assert run("--config", "tiny.yaml") == 0
    assert f"{name}: the disk is full; the run goes on\n" in capsys.readouterr().out
    folder = only_run(tiny)
    assert read_status(folder)["state"] == "done" and not (folder / name).exists()
    before = json.loads((folder / "summary.json").read_text())
    assert run("--resume", str(folder)) == 0
    assert (folder / name).exists() and (folder / "worst8.jpg").exists()
    assert json.loads((folder / "summary.json").read_text())["last"] == before["last"]


def test_best_and_worst_images_are_those_of_the_last_evaluation(tiny, monkeypatch):
    ranked = {}
    monkeypatch.setattr(
        "segkit.runs.recording.recorder.Recorder.ranked",
        lambda recorder, path, images, panels: ranked.update(
            {path.name: list(zip(images, panels, strict=True))}
        ),
    )
    assert run("--config", "tiny.yaml") == 0
    with np.load(only_run(tiny) / "per_image.npz") as arrays:
        names = arrays["names"].tolist()
        matrices = torch.zeros(6, 5, 5, dtype=torch.int64)
        matrices[tuple(arrays[name] for name in ("image", "label", "prediction"))] = torch.from_numpy(
            arrays["pixels"]
        )
    scores = {name: mean_iou(matrix) for name, matrix in zip(names, matrices, strict=True)}
    for name, order in (("best8.jpg", -1), ("worst8.jpg", 1)):
        assert len(ranked[name]) == 6
        assert [image.name for image, _ in ranked[name]] == sorted(
            scores, key=lambda n: (order * scores[n], n)
        )
        for image, panel in ranked[name]:
            assert panel["name"] == image.name and panel["kept"] is None
            matrix = confusion_matrix(panel["target"], panel["prediction"], num_classes=5, ignore_index=255)
            assert torch.equal(matrix, matrices[names.index(image.name)])  # the weights that were evaluated


def test_summary_has_what_runs_are_compared_by(finished):
    summary = json.loads((only_run(finished) / "summary.json").read_text())
    assert summary["classes"] == ["background", "circle", "square", "line", "star"]
    assert summary["device"].startswith("cpu (") and summary["flops_per_image"] > summary["parameters"] > 0
    assert 0 < summary["training_seconds"] < summary["seconds"]
    assert summary["images_per_second"] == pytest.approx(8 * 4 / summary["training_seconds"])


def evaluate_images(weights: Path, *overrides: str, split: str = "val", **options) -> int:
    return evaluate_per_image([weights], overrides, split=split, device="cpu", output=None, **options)


def assert_alike(arrays, expected) -> None:
    """That all arrays of `expected` are the same; sums of a batch of another size may be rounded in another way."""
    for name, array in expected.items():
        same = (
            np.allclose(arrays[name], array, rtol=1e-6)
            if name == "ce_sums"
            else (arrays[name] == array).all()
        )
        assert same, name


def test_matrices_of_single_images_are_those_of_training(trained, capsys):
    path = trained / "per_image.npz"
    with np.load(path) as arrays:
        expected = {name: arrays[name] for name in arrays}
    for weights in (trained, trained / "checkpoints/000008.pt"):
        path.unlink()
        assert evaluate_images(weights, "eval.batch_size=1") == 0
        with np.load(path) as arrays:
            assert set(arrays) == set(expected)
            assert_alike(arrays, expected)
    assert f"wrote {path}: 6 images at iteration 8" in capsys.readouterr().out
    assert evaluate_images(trained / "checkpoints/000006.pt") == 0
    with np.load(path) as arrays:
        assert arrays["iteration"] == 6


def test_another_size_is_told_from_that_of_the_run(trained):
    for overrides, at in (((), None), (("eval.at=original",), "original"), (("eval.at=network",), None)):
        assert evaluate_images(trained, *overrides) == 0
        with np.load(trained / "per_image.npz") as arrays:
            assert (str(arrays["eval_at"]) if "eval_at" in arrays else None) == at


OBJECT_ARRAYS = ("objects", "object_entropies", "object_classes", "object_min_size")


def test_borders_and_objects_of_single_images_are_added_on_request(trained, tmp_path, capsys):
    path, output = trained / "per_image.npz", tmp_path / "scores.json"
    with np.load(path) as arrays:
        expected = {name: arrays[name] for name in arrays}
    objects = ObjectRequest(("star", "circle"), 3)
    assert evaluate_images(trained, boundary=2.0, objects=objects) == 0
    with np.load(path) as arrays:
        assert set(arrays) == {*expected, "borders", "boundary_tolerance", *OBJECT_ARRAYS}
        assert_alike(arrays, expected)
        assert arrays["borders"].shape == (6, 5, 6) and float(arrays["boundary_tolerance"]) == 2.0
        counts = torch.from_numpy(arrays["borders"])
        ids = [expected["class_names"].tolist().index(name) for name in objects.classes]
        assert (arrays["object_classes"].tolist(), int(arrays["object_min_size"])) == (ids, 3)
        per_image = ObjectCounts(arrays["objects"], arrays["object_entropies"], tuple(ids), 3)
    last = trained / "checkpoints/000008.pt"
    options = {"split": "val", "device": "cpu", "output": output, "boundary": 2.0, "objects": objects}
    assert evaluate_weights(last, [], **options) == 0
    found = json.loads(output.read_text())["objects"]
    assert found == objects_as_json(per_image, expected["class_names"].tolist())
    assert found["classes"]["circle"]["objects"] > 3
    scores, found = json.loads(output.read_text())["boundary"], BorderCounts(counts, 2.0).scores()
    assert [*scores["iou"].values()] == [None if math.isnan(value) else value for value in found.iou]
    assert [*scores["f1"].values()] == [None if math.isnan(value) else value for value in found.f1]
    assert scores["mean_iou"] == found.mean_iou and counts[:, :, 5].any()
    first, second = capsys.readouterr().out.split(f"wrote {path}: 6 images at iteration 8\n")
    assert first.partition("borders")[2] == second.partition("borders")[2], "the same table both times"


def test_confidences_of_single_images_are_added_on_request(trained, tmp_path, capsys):
    path, output = trained / "per_image.npz", tmp_path / "scores.json"
    with np.load(path) as arrays:
        expected = {name: arrays[name] for name in arrays}
    assert evaluate_images(trained, calibration=True) == 0
    with np.load(path) as arrays:
        assert set(arrays) == {*expected, "calibration", "confidence_unit", "brier_sums"}
        assert_alike(arrays, expected)
        counts = CalibrationCounts(
            *(torch.from_numpy(arrays[name]) for name in ("calibration", "brier_sums"))
        )
    last = trained / "checkpoints/000008.pt"
    assert evaluate_weights(last, [], split="val", device="cpu", output=output, calibration=True) == 0
    written, found = json.loads(output.read_text()), counts.scores()
    scores = written["calibration"]
    assert (scores["ece"], scores["brier"], scores["confidence"]) == (
        found.ece,
        found.brier,
        found.confidence,
    )
    assert scores["accuracy"] == written["accuracy"] and len(scores["bins"]) == 15
    assert [row["pixels"] for row in scores["bins"]] == found.bins[0]
    first, second = capsys.readouterr().out.split(f"wrote {path}: 6 images at iteration 8\n")
    table = first.partition("confidence against accuracy")[2]
    assert table == second.partition("confidence against accuracy")[2]
    assert f"ECE {100 * found.ece:.2f}  Brier {found.brier:.4f}" in table


def test_a_temperature_is_fitted_on_one_half_and_scored_on_the_other(trained, capsys):
    arguments = ["--weights", str(trained), "--device=cpu", "--calibrate", "--group-by", "2"]
    assert run_command(evaluate.main, arguments) == 0
    found = json.loads((trained / "temperature.json").read_text())
    assert (found["weights"], found["fitted_on"], found["scored_on"]) == ("best.pt", 4, 2)
    assert found["predict"]["flip"] is False
    assert found["after"]["accuracy"] == found["before"]["accuracy"]
    assert (found["after"]["confidence"] > found["before"]["confidence"]) == (found["temperature"] < 1)
    printed = capsys.readouterr().out
    assert f"temperature {found['temperature']:.4f}, fitted on 4 images of val; on the other 2:" in printed
    assert run_command(evaluate.main, [*arguments, "predict.flip=true"]) == 0
    assert json.loads((trained / "temperature.json").read_text())["predict"]["flip"] is True
    arguments[3:] = ["--calibrate", "--group-by", "no match"]
    assert run_command(evaluate.main, arguments) == ConfigError.exit_code
    (trained.parent / "best.pt").write_bytes((trained / "best.pt").read_bytes())
    arguments = ["--weights", str(trained.parent / "best.pt"), "--device=cpu", "--calibrate"]
    assert run_command(evaluate.main, arguments) == ConfigError.exit_code
    assert "--calibrate writes into a run folder, and" in capsys.readouterr().err


def test_a_temperature_is_scored_as_predictions_divide_by_it(trained, monkeypatch):
    """Logits that autocast leaves in bf16 were divided in it, which makes some of them equal."""
    forward = Predictor.forward
    monkeypatch.setattr(Predictor, "forward", lambda self, image: forward(self, image).bfloat16())
    predictor = load_predictor(trained, "cpu")
    halves = partial(group_images, group_by=None)
    found = find_temperature(predictor, [], split="val", group=halves)
    _, dataset = open_data(predictor, [], split="val")
    counts = torch.zeros(2)
    for place in range(1, len(dataset), 2):  # those that it was not fitted on
        image, target = dataset[place].image, dataset[place].target.as_subclass(torch.Tensor).long()
        with torch.no_grad():
            logits = predictor.views.logits(predictor.forward, image[None]).float() / found["temperature"]
        size = target.shape
        logits = torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)
        ce = torch.nn.functional.cross_entropy(logits, target[None], ignore_index=255, reduction="sum")
        counts += torch.stack([ce, (target != 255).sum()])
    assert found["after"]["ce"] == pytest.approx(float(counts[0] / counts[1]), rel=1e-6)


def test_training_counts_confidences_if_it_is_told_to(tiny):
    assert run("--config", "tiny.yaml", "train.iterations=2", "eval.every=2", "eval.calibration=true") == 0
    folder = only_run(tiny)
    with np.load(folder / "per_image.npz") as arrays:
        expected = {name: arrays[name] for name in ("calibration", "confidence_unit", "brier_sums")}
    scores = json.loads((folder / "summary.json").read_text())["last"]["calibration"]
    (row,) = read_rows(folder)
    assert float(row["val/ece"]) == pytest.approx(scores["ece"], rel=1e-5) and scores["ece"] > 0
    assert float(row["val/brier"]) == pytest.approx(scores["brier"], rel=1e-5)
    with Image.open(folder / "calibration.png") as plot:
        assert min(plot.size) > 200
    (folder / "calibration.png").unlink()
    assert evaluate_images(folder, calibration=True) == 0
    assert (folder / "calibration.png").is_file()
    with np.load(folder / "per_image.npz") as arrays:
        assert all(np.array_equal(arrays[name], array) for name, array in expected.items())


def test_the_intact_ones_of_several_runs_are_scored(trained, tmp_path, capsys, monkeypatch):
    broken = trained.with_name("broken")
    shutil.copytree(trained, broken)
    for checkpoint in (broken / "checkpoints").iterdir():
        checkpoint.write_bytes(b"")
    (trained / "per_image.npz").unlink()
    amp = json.loads((trained / "env.json").read_text())["amp"]
    monkeypatch.setattr(device_module, "computes_bf16", lambda: amp == "off")  # unlike where it was trained
    arguments = ["--weights", str(broken), str(trained), "eval.batch_size=2", "--per-image", "--device=cpu"]
    assert run_command(evaluate.main, arguments) == CheckpointError.exit_code
    printed = capsys.readouterr()
    assert f"wrote {trained / 'per_image.npz'}: 6 images at iteration 8" in printed.out
    assert f"1 of 2 runs failed:\n  {broken}  exit status 4\n     --per-image scores" in printed.err
    with np.load(trained / "per_image.npz") as arrays:
        assert {str(arrays["precision"]), amp} == {"off", "bf16"}


def test_matrices_that_would_not_be_the_runs_own_are_refused(tiny, trained):
    folder = trained
    before = (folder / "per_image.npz").read_bytes()
    for moved in (tiny / "moved.pt", folder / "000008.pt"):
        shutil.copy(folder / "checkpoints/000008.pt", moved)
    for weights in (tiny / "moved.pt", folder / "best.pt", folder / "000008.pt"):
        with pytest.raises(CheckpointError) as caught:
            evaluate_images(weights)
        assert str(caught.value) == (
            f"--per-image writes into a run folder what its last weights score, got {weights}\n"
            "   -> give the run folder, or a numbered checkpoint in its checkpoints/"
        )
    with pytest.raises(
        CheckpointError, match=r"the newest of checkpoints/\*.pt in a run folder, and .* has none"
    ):
        evaluate_images(tiny)
    for override in ("data.val_size=3", "predict.flip=true"):
        with pytest.raises(ConfigError) as caught:
            evaluate_images(folder, override)
        assert str(caught.value) == (
            "--per-image is the run's own score on its own data, which an override below "
            f"{override.partition('.')[0]} changes -> leave out --per-image, or the override"
        )
    with pytest.raises(ConfigError) as caught:
        evaluate_images(folder, split="train")
    assert str(caught.value) == "--per-image is of the validation set, got --split train -> leave --split out"
    with RunFolder.reopen(folder), pytest.raises(RunFolderInUse):
        evaluate_images(folder)
    assert (folder / "per_image.npz").read_bytes() == before
