"""An .onnx file in the place of a run: the same predictions and scores, with nothing else at hand."""

import re
import shutil
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from segkit.config.carried.places import NOT_SAID, is_place, left_out, refuse_unsaid_places, without_places
from segkit.config.load import config_from_mapping
from segkit.errors import CheckpointError, ConfigError
from segkit.runs.checkpoint import load_checkpoint, save_checkpoint
from segkit.runs.predictor import load_predictor
from tests.commands.pack.test_pack import write_files
from tests.paths import ROOT
from tests.runs.test_predictor import MAPPING, make_run
from tests.scripts import run_script

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'segkit[export]'")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pair(built_once):
    """A folder with a run and, alone in another, what was exported of it; the run was trained in fp32."""

    def build(folder):
        run = make_run(folder, saves="best", train={"amp": "off"}).path
        run.rename(folder / "run")
        assert (
            run_script("export", "--weights", folder / "run", "--output", folder / "alone" / "net.onnx") == 0
        )

    return built_once("exported-alone", build)


def test_the_same_predictions(pair, tmp_path):
    random = np.random.default_rng(0)
    for name, size in (("a", (31, 45)), ("b", (64, 48))):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
            tmp_path / "images" / f"{name}.png"
        )
    shutil.copy(pair / "alone/net.onnx", tmp_path / "net.onnx")
    for weights, out in ((pair / "run", "torch"), (tmp_path / "net.onnx", "onnx")):
        arguments = (
            "--source",
            tmp_path / "images",
            "--output",
            tmp_path / out,
            "--save",
            "ids",
            "--device",
            "cpu",
        )
        assert run_script("predict", "--weights", weights, *arguments) == 0
        tiles = (
            "predict.tile=[32,32]",
            "predict.flip=true",
            "--weights",
            weights,
            "--source",
            tmp_path / "images/b.png",
        )
        assert (
            run_script(
                "predict", *tiles, "--output", tmp_path / out / "tiles", "--save", "ids", "--device", "cpu"
            )
            == 0
        )
    for name in ("a_ids.png", "b_ids.png", "tiles/b_ids.png"):
        one, other = (np.asarray(Image.open(tmp_path / out / name)) for out in ("torch", "onnx"))
        assert np.array_equal(one, other) and len(np.unique(one)) > 1


def test_the_same_scores(pair, capsys):
    lines = []
    for weights in (pair / "run", pair / "alone/net.onnx"):
        assert run_script("evaluate", "--weights", weights, "--device", "cpu") == 0
        lines.append(capsys.readouterr().out.splitlines())
    assert lines[0][:-1] == lines[1][:-1]
    assert lines[0][-1].partition("   weights")[0] == lines[1][-1].partition("   weights")[0]
    assert lines[1][-1].endswith("net.onnx (exported, of iteration 0)")


def test_the_predictor_of_a_file_knows_what_the_run_knew(pair):
    run, file = load_predictor(pair / "run", CPU), load_predictor(str(pair / "alone/net.onnx"), CPU)
    for name in ("labels", "channels", "resize", "views", "temperature", "iteration", "value_range"):
        assert getattr(run, name) == getattr(file, name), name
    assert torch.equal(run.preprocess.mean, file.preprocess.mean)


def test_what_is_no_such_file(pair, tmp_path):
    def refusal(path, kind=CheckpointError):
        with pytest.raises(kind) as caught:
            load_predictor(path, CPU)
        return str(caught.value)

    path = tmp_path / "x.onnx"
    assert refusal(path) == f"no file {path}"
    path.write_bytes(b"nonsense" * 10)
    assert refusal(path).startswith(f"{path} cannot be read by ONNX Runtime: ")
    import onnx

    model = onnx.load(str(pair / "alone/net.onnx"))
    kept = [each for each in model.metadata_props if each.key != "mean"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, str(path))
    assert refusal(path) == (
        f"{path} was not exported by segkit, or by another version: its metadata have no usable 'mean'"
    )
    next(each for each in model.metadata_props if each.key == "output").value = '"ids"'
    model.metadata_props.add(key="mean", value="[0]")
    onnx.save(model, str(path))
    assert refusal(path, ConfigError) == (
        f"{path} gives ids and no logits, from which predictions are made -> export it without --with-preprocessing"
    )
    assert "x.pt2 is for torch.export.load -> the run, or a file of" in refusal(tmp_path / "x.pt2")


def test_a_file_is_not_calibrated(pair, capsys):
    path = pair / "alone/net.onnx"
    assert run_script("evaluate", "--weights", path, "--calibrate") == 2
    assert capsys.readouterr().err == (
        f"--calibrate is of the weights of a run, and {path} is exported -> the run, then export it again\n"
    )


def test_places_are_left_out_and_asked_for():
    data = {
        "name": "folder", "root": "data/mine", "classes": ["a", "b"], "label_map": {7: "ignore"},
        "masks": "/elsewhere/masks", "weight_map": {"name": "file", "root": "weights"},
    }  # fmt: skip
    accounts = {"wandb": {"entity": "me"}, "mlflow": {"tracking_uri": "https://me:secret@host"}}
    mapping = {**MAPPING, "data": data, "log": {"dir": "/home/me/runs", **accounts}}
    model = {**MAPPING["model"], "init_from": "/home/me/best.pt"}
    config = config_from_mapping({**mapping, "model": model}, origin="test")
    found = without_places(config)
    assert found["data"]["root"] == found["data"]["masks"] == found["data"]["weight_map"]["root"] == NOT_SAID
    assert found["data"]["images"] == config.to_mapping()["data"]["images"]
    assert (found["log"]["dir"], found["model"]["init_from"], found["model"]["width"]) == ("runs", None, 4)
    assert found["log"]["wandb"] is found["log"]["mlflow"] is None
    assert "secret" not in str(found) and {"log.dir", "log.wandb", "log.mlflow"} <= set(left_out(config))
    # As the file keeps it: its keys stay numbers.
    again = config_from_mapping(yaml.safe_load(yaml.safe_dump(found)), origin="file")
    assert again.data.params["label_map"] == config.data.params["label_map"] == {7: "ignore"}
    with pytest.raises(ConfigError) as caught:
        refuse_unsaid_places(again, "net.onnx")
    start, _, keys = str(caught.value).partition(" -> ")
    assert start == "net.onnx does not say where its data is"
    assert sorted(keys.split()) == ["data.masks=PATH", "data.root=PATH"]
    given = ["data.root=x", "data.masks=masks"]
    refuse_unsaid_places(config_from_mapping(found, origin="file", overrides=given), "net.onnx")


@pytest.mark.parametrize(
    ("text", "place"),
    [("/a/b", True), ("~/a", True), ("../a", True), ("a/../b", True), ("C:\\a", True), ("images/{split}", False),
     ("imagenet", False), ("*.png", False), ("", False)],
)  # fmt: skip
def test_a_place_is_an_absolute_path_or_leads_upwards(text, place):
    assert is_place(text) is place


def run_the_script_in_the_documents(monkeypatch, *arguments):
    # docs/export.md says in which environment it was run besides.
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "docs/export.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert not {"torch", "segkit"} & set(re.findall(r"import (\w+)", code))
    monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
    exec(compile(code, "docs/export.md", "exec"), {})


@pytest.mark.parametrize("inside", [False, True])
def test_the_script_in_the_documents_makes_the_same_ids(pair, tmp_path, monkeypatch, inside):
    path = pair / "alone/net.onnx"
    if inside:
        path = tmp_path / "ids.onnx"
        assert run_script("export", "--weights", pair / "run", "--with-preprocessing", "--output", path) == 0
    pixels = np.random.default_rng(1).integers(0, 256, (45, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    run_the_script_in_the_documents(monkeypatch, path, tmp_path / "a.png", tmp_path / "ids.png")
    found = np.asarray(Image.open(tmp_path / "ids.png"))
    assert np.array_equal(found, load_predictor(pair / "run", CPU).predict(pixels).numpy())
    assert len(np.unique(found)) > 1


def test_the_script_knows_grey_images_single_logits_and_photos_on_their_side(tmp_path, monkeypatch):
    data = {**write_files(tmp_path / "set"), "channels": 1}
    run = make_run(tmp_path, saves="best", train={"amp": "off"}, data=data, loss={"name": "bce"}).path
    pixels = np.random.default_rng(1).integers(0, 256, (45, 60), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    predictor, state = load_predictor(run, CPU), load_checkpoint(run / "best.pt")
    with torch.no_grad():  # so that there are both classes
        state["model"]["classifier.bias"] -= predictor.forward(torch.from_numpy(pixels)[None, None]).median()
    save_checkpoint(run / "best.pt", state)
    assert run_script("export", "--weights", run, "--output", tmp_path / "net.onnx") == 0
    run_the_script_in_the_documents(
        monkeypatch, tmp_path / "net.onnx", tmp_path / "a.png", tmp_path / "ids.png"
    )
    found = np.asarray(Image.open(tmp_path / "ids.png"))
    assert found.shape == (60, 45) and len(np.unique(found)) == 2
    assert np.array_equal(found, load_predictor(run, CPU).predict(tmp_path / "a.png").numpy())
