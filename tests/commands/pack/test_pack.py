"""A packed run is the run: the same answers to the bit, the same training, from the file alone."""

import importlib.util
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.commands.pack.pack import pack_run
from segkit.config.load import load_config
from segkit.runs.checkpoint import load_checkpoint, save_checkpoint
from segkit.runs.predictor import load_predictor
from segkit.system.locks import take_lock
from segkit.system.packed.read import read_packed
from segkit.system.run_files import RunFiles
from tests.runs.test_predictor import MAPPING, make_run
from tests.scripts import run_script

pytest.importorskip("safetensors", reason="safetensors is not installed: pip install 'segkit[weights]'")

CPU = torch.device("cpu")


def write_files(folder: Path) -> dict:
    """A data set of files with two classes, and the block that reads it."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind, most in (("images", 256), ("masks", 2)):
            (folder / kind / split).mkdir(parents=True)
            for number in range(3):
                shape = (30, 40, 3) if kind == "images" else (30, 40)
                pixels = random.integers(0, most, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / kind / split / f"{number}.png")
    return {"name": "folder", "root": str(folder), "classes": ["a", "b"]}


def pack(run: Path, path: Path, **options) -> Path:
    assert pack_run(str(run), output=path, **options) == 0
    return path


def seen(predictor, channels: int) -> list[torch.Tensor]:
    """All that a predictor says of images of several sizes."""
    generator = torch.Generator().manual_seed(0)
    answers = []
    for size in ((31, 45), (64, 80)):
        image = torch.randint(0, 256, (channels, *size), generator=generator, dtype=torch.uint8)
        answers += predictor.predict_with(image, "confidence", "probabilities").values()
    return answers


KINDS = {
    "u-net": {},
    "at a stride": {"model": {"name": "light_fpn"}},
    "in tiles": {"predict": {"tile": [32, 32], "overlap": 0.5, "flip": True, "scales": [1.0, 0.75]}},
    "grey": {"data": {**MAPPING["data"], "channels": 1}},
    "fp32, plain memory": {"train": {"amp": "off", "channels_last": False}},
    "other mean": {"data": {**MAPPING["data"], "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 0.2]}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_answers_to_the_bit(kind, tmp_path):
    options = KINDS[kind]
    run = make_run(tmp_path, **options).path
    about = {"weights": "best.pt", "iteration": 0, "temperature": 1.7}
    (run / "temperature.json").write_text(json.dumps(about))
    path = pack(run, tmp_path / "away/net.zip")
    before = load_predictor(run, CPU)
    wanted = seen(before, before.channels)
    shutil.rmtree(tmp_path / "runs")
    after = load_predictor(path, CPU)
    found = seen(after, before.channels)
    assert all(map(torch.equal, wanted, found)) and len(found[0].unique()) > 1
    same = (
        "labels",
        "channels",
        "logits_channels",
        "resize",
        "views",
        "temperature",
        "iteration",
        "value_range",
    )
    for name in same:
        assert getattr(before, name) == getattr(after, name), name
    assert after.temperature == 1.7 and after.why == "packed: the best, of iteration 0" and after.path == path
    assert torch.equal(before.preprocess.mean, after.preprocess.mean)


def test_files_of_two_classes_with_one_logit_and_a_size(tmp_path):
    data = {**write_files(tmp_path / "set"), "resize": [16, 24]}
    run = make_run(tmp_path, data=data, loss={"name": "bce"}).path
    path = pack(run, tmp_path / "net.zip")
    before, after = load_predictor(run, CPU), load_predictor(path, CPU)
    assert (after.logits_channels, after.resize, after.labels) == (1, (16, 24), before.labels)
    assert all(map(torch.equal, seen(before, 3), seen(after, 3)))


def test_images_of_five_channels_and_sixteen_bits(tmp_path):
    tifffile = pytest.importorskip(
        "tifffile", reason="tifffile is not installed: pip install 'segkit[formats]'"
    )
    data = {**write_files(tmp_path / "set"), "images": "images/{split}/{stem}.tif", "channels": 5}
    random = np.random.default_rng(0)
    for path in (tmp_path / "set/images").rglob("*.png"):
        pixels = random.integers(0, 4000, (30, 40, 5), dtype=np.uint16)
        tifffile.imwrite(path.with_suffix(".tif"), pixels, photometric="minisblack", planarconfig="contig")
        path.unlink()
    run = make_run(tmp_path, data={**data, "value_range": [0, 4000]}).path
    path = pack(run, tmp_path / "net.zip")
    before, after = load_predictor(run, CPU), load_predictor(path, CPU)
    assert (after.channels, after.value_range) == (5, (0, 4000)) == (before.channels, before.value_range)
    image = tmp_path / "set/images/val/0.tif"
    assert torch.equal(before.read_image(image), after.read_image(image))
    assert torch.equal(before.predict(image), after.predict(image))
    assert all(map(torch.equal, seen(before, 5), seen(after, 5)))


@pytest.mark.skipif(
    importlib.util.find_spec("segmentation_models_pytorch") is None,
    reason="segmentation-models-pytorch is not installed: pip install 'segkit[smp]'",
)
def test_a_network_of_another_library(tmp_path):
    model = {"name": "smp", "architecture": "Unet", "encoder": "resnet18", "weights": "none"}
    run = make_run(tmp_path, model=model, data={**MAPPING["data"], "size": 64}).path
    path = pack(run, tmp_path / "net.zip")
    before, after = (seen(load_predictor(each, CPU), 3) for each in (run, path))
    assert all(map(torch.equal, before, after))
    card = read_packed(path, ["README.md"]).members["README.md"].decode()
    assert "(segkit's extra `weights`), and its extra `smp` for the network." in card


def test_which_weights_are_packed_is_said(tmp_path):
    run = make_run(tmp_path).path
    checkpoint = pack(run / "checkpoints/000004.pt", tmp_path / "one.zip")
    assert load_predictor(checkpoint, CPU).why == "packed: those of one checkpoint, of iteration 0"
    wanted = load_predictor(run / "checkpoints/000004.pt", CPU).model.state_dict()
    found = load_predictor(checkpoint, CPU).model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    (run / "best.pt").unlink()
    last = pack(run, tmp_path / "last.zip")
    assert load_predictor(last, CPU).why == "packed: the last, of iteration 0"


def test_the_commands_take_it(tmp_path, monkeypatch, capsys):
    run = make_run(tmp_path, train={"amp": "off"}).path
    path = pack(run, tmp_path / "elsewhere/net.zip")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    capsys.readouterr()
    shown, written = [], []
    for weights, out in ((run, "a"), (path, "b")):
        common = ("--weights", weights, "--device", "cpu")
        forms = ("--save", "ids", "confidence", "probabilities")
        tiles = ("predict.tile=[32,32]",)
        assert (
            run_script(
                "predict",
                *tiles,
                *common,
                "--source",
                tmp_path / "image.png",
                "--output",
                tmp_path / out,
                *forms,
            )
            == 0
        )
        written.append({each.name: each.read_bytes() for each in (tmp_path / out).glob("*.png")})
        assert run_script("evaluate", *common, "--calibration") == 0
        shown.append([line.partition("   weights")[0] for line in capsys.readouterr().out.splitlines()[1:]])
    assert written[0] == written[1] and len(written[0]) == 2
    assert shown[0] == shown[1] and len(shown[0]) > 10
    assert run_script("predict", "--weights", path, "--source", tmp_path / "image.png") == 0
    assert (tmp_path / "elsewhere/predictions/image.png").is_file()  # beside the file
    assert not [
        each for each in (tmp_path / "elsewhere").iterdir() if each.name not in ("net.zip", "predictions")
    ]


def test_the_same_run_gives_the_same_bytes(tmp_path, capsys):
    run = make_run(tmp_path).path
    first = pack(run, tmp_path / "first.zip").read_bytes()
    for path in run.rglob("*"):
        os.utime(path, (0, 0))
    assert pack(run, tmp_path / "second.zip").read_bytes() == first
    shutil.copytree(run, tmp_path / "copy")
    assert pack(tmp_path / "copy", tmp_path / "third.zip").read_bytes() == first
    state = load_checkpoint(run / "best.pt")
    state["model"] = dict(reversed(state["model"].items()))
    save_checkpoint(run / "best.pt", state)
    assert pack(run, tmp_path / "fourth.zip").read_bytes() == first


# --- what is refused, and what is kept then


def test_a_file_that_is_there_stays(tmp_path, capsys):
    run = make_run(tmp_path).path
    assert run_script("pack", run) == 0
    path = RunFiles(run).packed
    before = path.read_bytes()
    assert run_script("pack", run, "--without", "pictures") == 2
    assert (
        capsys.readouterr().err == f"{path} is there already -> --force to replace it, or --output FILE.zip\n"
    )
    assert run_script("pack", run, "--force", "--license", "mit") == 0
    assert path.read_bytes() != before
    assert [each.name for each in run.glob(".*")] == [".lock"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--output", "x.tar"), "--output x.tar: a packed run ends with .zip"),
        (("--output", "there.zip"), "--output there.zip: there is a folder of this name"),
        (
            ("--license", "My Own"),
            "--license My Own: expected an identifier of the Hub, such as apache-2.0 or other",
        ),
        (("--dataset", "a/b/c"), "--dataset a/b/c: expected an identifier of the Hub, such as OWNER/NAME"),
        (
            ("--onnx", "x", "--without", "onnx"),
            "--onnx and --without onnx contradict each other -> leave one of them out",
        ),
        (("--onnx", "none.onnx"), "none.onnx"),
    ],
)
def test_what_cannot_be_packed(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    Path("there.zip").mkdir()
    run = make_run(tmp_path).path
    assert run_script("pack", run, *words) == 2
    assert capsys.readouterr().err.startswith(message)
    assert not RunFiles(run).packed.exists()


def test_a_place_that_cannot_be_written(tmp_path, capsys):
    run = make_run(tmp_path).path
    (tmp_path / "file").write_text("theirs")
    assert run_script("pack", run, "--output", tmp_path / "file" / "net.zip") == 7
    found = capsys.readouterr().err
    assert found.startswith(f"cannot write {tmp_path / 'file'}: a file is where a folder should be\n")


def test_the_card_tells_frozen_parameters_apart(tmp_path):
    run = make_run(tmp_path, model={**MAPPING["model"], "freeze": ["stem"]}).path
    (run / "summary.json").write_text('{"parameters": 1234}')
    with zipfile.ZipFile(pack(run, tmp_path / "net.zip")) as archive:
        card = archive.read("README.md").decode()
    assert "with 1,234 trained parameters, and others that were frozen, trained with" in card


def test_weights_without_a_run(tmp_path, capsys):
    run = make_run(tmp_path).path
    shutil.copy(run / "best.pt", tmp_path / "best.pt")
    for weights, code, message in (
        (tmp_path / "best.pt", 2, "best.pt lies in no run folder, and a run is what is packed"),
        (tmp_path / "none", 4, "no weights at"),
        (tmp_path / "none.zip", 4, "no file"),
        (tmp_path / "net.onnx", 2, "net.onnx is exported already -> the run that it is of"),
    ):
        assert run_script("pack", weights) == code
        assert message in capsys.readouterr().err


def test_a_run_that_goes_on_is_not_packed(tmp_path, capsys):
    run = make_run(tmp_path).path
    lock = take_lock(RunFiles(run).lock, "it", "wait")
    try:
        assert run_script("pack", run) == 6
        assert f"run folder {run} is in use by process {os.getpid()}" in capsys.readouterr().err
    finally:
        os.close(lock)


def test_the_library_that_is_missing(tmp_path, monkeypatch, capsys):
    run = make_run(tmp_path).path
    path = pack(run, tmp_path / "net.zip")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    for words in (
        ("pack", run),
        ("evaluate", "--weights", path),
        ("predict", "--weights", path, "--source", tmp_path),
    ):
        image = Image.new("RGB", (8, 8))
        image.save(tmp_path / "a.png")
        assert run_script(*words) == 2
        message = capsys.readouterr().err
        assert " needs safetensors, which cannot be imported (" in message
        assert message.endswith("-> pip install 'segkit[weights]'\n")
    assert load_config(path).name == "tiny"  # which needs none
