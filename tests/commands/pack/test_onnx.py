"""An exported network in a packed run: only one of the same weights."""

import json
import shutil

import pytest
import torch

from segkit.commands.pack.pack import pack_run
from segkit.runs.checkpoint import load_checkpoint, save_checkpoint
from segkit.runs.predictor import load_predictor
from segkit.system.packed.read import read_packed
from tests.runs.test_predictor import make_run
from tests.scripts import run_script

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'segkit[export]'")
pytest.importorskip("safetensors", reason="safetensors is not installed: pip install 'segkit[weights]'")


@pytest.fixture(scope="module")
def exported(built_once):
    """A folder with a run whose network was exported into its folder, and with ids inside into another."""

    def build(folder):
        make_run(folder, saves="best", train={"amp": "off"}).path.rename(folder / "run")
        assert run_script("export", "--weights", folder / "run") == 0
        words = ("--with-preprocessing", "--output", folder / "ids.onnx")
        assert run_script("export", "--weights", folder / "run", *words) == 0

    return built_once("packed-onnx", build)


@pytest.fixture
def run(exported, tmp_path):
    shutil.copytree(exported / "run", tmp_path / "run")
    return tmp_path / "run"


def onnx_in(path) -> bytes | None:
    members = read_packed(path, []).manifest.members
    return read_packed(path, ["model.onnx"]).members["model.onnx"] if "model.onnx" in members else None


def test_the_exported_network_is_packed_as_it_is(run, exported, tmp_path, capsys):
    path = tmp_path / "net.zip"
    assert run_script("pack", run, "--output", path) == 0
    assert onnx_in(path) == (run / "model.onnx").read_bytes()
    assert "onnx      ONNX, fp32: normalised images to logits\n" in capsys.readouterr().out
    assert run_script("pack", run, "--output", path, "--force", "--onnx", exported / "ids.onnx") == 0
    assert onnx_in(path) == (exported / "ids.onnx").read_bytes()
    card = read_packed(path, ["README.md"]).members["README.md"].decode()
    assert "| model.onnx | ONNX, fp32: images in bytes to class ids |" in card
    assert run_script("pack", run, "--output", path, "--force", "--without", "onnx") == 0
    assert onnx_in(path) is None


def test_one_of_other_weights_is_left_out(run, exported, tmp_path, capsys):
    save_checkpoint(run / "best.pt", {**load_checkpoint(run / "best.pt"), "iteration": 6})
    path = tmp_path / "net.zip"
    assert run_script("pack", run, "--output", path) == 0
    again = f"-> python scripts/export.py --weights {run} --to onnx"
    reason = f"is not of the weights that are packed: its iteration is 0 instead of 6 {again}\n"
    assert f"onnx      left out: {run}/model.onnx {reason}" in capsys.readouterr().out
    assert onnx_in(path) is None
    assert run_script("pack", run, "--output", path, "--force", "--onnx", exported / "ids.onnx") == 2
    assert capsys.readouterr().err == f"{exported}/ids.onnx {reason}"


def test_one_of_another_run_of_the_same_iteration_is_left_out(run, exported, tmp_path, capsys):
    # As of two seeds, whose best weights are both those of the last iteration.
    state = load_checkpoint(run / "best.pt")
    other = {name: value.clone() for name, value in state["model"].items()}
    other["classifier.bias"] += 1
    save_checkpoint(run / "best.pt", {**state, "model": other})
    path = tmp_path / "net.zip"
    assert run_script("pack", run, "--output", path) == 0
    reason = "is not of the weights that are packed: its weights_fingerprint is "
    assert f"onnx      left out: {run}/model.onnx {reason}" in capsys.readouterr().out
    assert onnx_in(path) is None
    assert run_script("pack", run, "--output", path, "--force", "--onnx", exported / "ids.onnx") == 2
    assert capsys.readouterr().err.startswith(f"{exported}/ids.onnx {reason}")


def test_one_that_does_not_say_of_which_weights_is_left_out(run, tmp_path, capsys):
    import onnx

    model = onnx.load(str(run / "model.onnx"))
    kept = [each for each in model.metadata_props if each.key != "weights_fingerprint"]
    assert len(kept) == len(model.metadata_props) - 1
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, str(run / "model.onnx"))
    assert run_script("pack", run, "--output", tmp_path / "net.zip") == 0
    reason = "is of an older segkit, which did not note of which weights -> "
    assert f"onnx      left out: {run}/model.onnx {reason}" in capsys.readouterr().out


def test_one_from_before_the_calibration_is_left_out(run, tmp_path, capsys):
    (run / "temperature.json").write_text(
        json.dumps({"weights": "best.pt", "iteration": 0, "temperature": 1.5})
    )
    assert pack_run(str(run), output=tmp_path / "net.zip") == 0
    assert "its temperature is 1.0 instead of 1.5 ->" in capsys.readouterr().out


def test_what_is_no_exported_network(run, tmp_path, capsys):
    (run / "model.onnx").write_bytes(b"nonsense")
    assert run_script("pack", run, "--output", tmp_path / "net.zip") == 0
    assert f"left out: {run}/model.onnx is no network that segkit has exported (" in capsys.readouterr().out
    assert run_script("pack", run, "--output", tmp_path / "x.zip", "--onnx", run / "model.onnx") == 2
    assert f"{run}/model.onnx is no network that segkit has exported (" in capsys.readouterr().err


def test_a_packed_run_is_exported(run, tmp_path, capsys):
    path = tmp_path / "alone/net.zip"
    assert run_script("pack", run, "--output", path, "--without", "onnx") == 0
    assert run_script("export", "--weights", path) == 0
    assert f"weights  {path} (packed: the best, of iteration 0)" in capsys.readouterr().out
    names = [
        load_predictor(each, torch.device("cpu"))
        for each in (path.with_name("model.onnx"), run / "model.onnx")
    ]
    image = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(*(each.predict(image) for each in names))
