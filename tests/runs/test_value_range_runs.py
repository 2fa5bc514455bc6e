"""What a run found out about its images is kept with it: for resuming, scoring and predictions anywhere else."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from segkit.data.decoding.images_and_masks import read_image
from segkit.errors import DataError
from segkit.runs.checkpoint import load_checkpoint, save_checkpoint
from segkit.runs.predictor import load_predictor
from tests.runs.planted_scores import TINY, only_run, run
from tests.runs.test_predictor import make_run
from tests.scripts import run_script

FOLDER = "data={name: folder, root: twelve, classes: [ground, thing], channels: 1}"


@pytest.fixture
def trained(tmp_path, monkeypatch, quick_plots, save):
    """The folder of a run on images of 12 bits, in a working folder."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        for n in range(4):
            labels = np.zeros((32, 32), dtype=np.uint8)
            labels[n : n + 12, 6:20] = 1
            image = random.integers(0, 2000, (32, 32)).astype(np.uint16) + 2000 * labels.astype(np.uint16)
            image[0, 0], image[0, 1] = 0, 4000
            save(tmp_path / "twelve/images" / part / f"{n}.png", image)
            save(tmp_path / "twelve/masks" / part / f"{n}.png", labels)
    assert run("--config", "tiny.yaml", FOLDER, "train.iterations=4") == 0
    return only_run()


def test_configuration_and_checkpoint_have_what_was_found(trained):
    log = (trained / "train.log").read_text()
    assert "\n          data.value_range: [0.0, 4000.0], from the training images; kept with the run\n" in log
    kept = yaml.safe_load((trained / "config.yaml").read_text())["data"]["value_range"]
    best = load_checkpoint(trained / "best.pt")["config"]["data"]["value_range"]
    assert kept == best == [0.0, 4000.0]


def test_a_resumed_run_keeps_it_although_the_file_says_auto(trained, save, capsys):
    brighter = np.full((32, 32), 60000, dtype=np.uint16)
    save(Path("twelve/images/train/0.png"), brighter)
    arguments = ("--config", "tiny.yaml", FOLDER, "--resume", "auto", "train.iterations=6")
    assert run(*arguments) == 4, "other data"
    capsys.readouterr()
    assert run(*arguments, "--allow-change", "data") == 0
    assert "value_range" not in capsys.readouterr().out
    assert load_checkpoint(trained / "checkpoints/000006.pt")["config"]["data"]["value_range"] == [
        0.0,
        4000.0,
    ]


def test_predictions_read_images_as_training_did(trained):
    predictor = load_predictor(trained)
    path = Path("twelve/images/val/1.png")
    pixels = torch.from_numpy(read_image(path, channels=1, value_range=(0, 4000))[0])
    assert torch.equal(predictor.read_image(path), pixels)
    assert torch.equal(predictor.predict(path), predictor.predict(pixels))


def test_a_run_from_before_divided_by_256(trained):
    best = load_checkpoint(trained / "best.pt")
    del best["config"]["data"]["value_range"]
    save_checkpoint("old.pt", best)
    path = Path("twelve/images/val/1.png")
    assert load_predictor("old.pt").read_image(path).max() == 4000 >> 8


def test_a_model_of_8_bits_is_not_given_more(trained, save):
    best = load_checkpoint(trained / "best.pt")
    best["config"]["data"]["value_range"] = "auto"
    save_checkpoint("eight.pt", best)
    predictor = load_predictor("eight.pt")
    assert predictor.predict(save(Path("a.png"), np.zeros((32, 32), dtype=np.uint8))).shape == (32, 32)
    words = r"type uint16, and nothing says which .*\n   -> the weights were trained on images of 1 channels and 8 bits"
    with pytest.raises(DataError, match=words):
        predictor.predict(Path("twelve/images/val/1.png"))


def test_scores_are_of_images_read_as_in_training(trained, capsys):
    assert run_script("evaluate", "--weights", trained) == 0
    capsys.readouterr()
    for override in ("data.value_range=[0, 60000]", "data.value_range=dtype"):
        assert run_script("evaluate", "--weights", trained, override) == 2
        assert "the weights were trained with data.value_range [0.0, 4000.0], and" in capsys.readouterr().err


def test_several_data_sets_in_one_keep_what_they_have_in_common(tmp_path, monkeypatch, save):
    """A camera of 12 bits and one of 8: what the first was read with is what its images are predicted with."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for root, most in (("twelve", 4000), ("eight", 255)):
        for part in ("train", "val"):
            for n in range(2):
                image = random.integers(0, most, (32, 32)).astype(np.uint16 if most > 255 else np.uint8)
                image[0, 0], image[0, 1] = 0, most
                save(Path(root, "images", part, f"{n}.png"), image)
                save(Path(root, "masks", part, f"{n}.png"), (image > most // 2).astype(np.uint8))
    of = {"name": "folder", "classes": ["low", "high"], "channels": 1}
    parts = [{**of, "root": "twelve"}, {**of, "root": "eight"}]
    data = {"name": "mix", "classes": ["low", "high"], "parts": parts}
    folder = make_run(tmp_path, saves="best", data=data).path
    predictor, path = load_predictor(folder), Path("twelve/images/val/1.png")
    assert predictor.value_range == (0.0, 4000.0)
    pixels = torch.from_numpy(read_image(path, channels=1, value_range=(0, 4000))[0])
    assert torch.equal(predictor.read_image(path), pixels) and pixels.max() == 255
    assert predictor.read_image(Path("eight/images/val/0.png")).max() == 255
    assert run_script("evaluate", "--weights", folder) == 0

    parts[1] = {**parts[0], "value_range": [0, 8000]}
    other = load_predictor(make_run(tmp_path / "other", saves="best", data=data).path)
    assert other.value_range is None
    with pytest.raises(DataError, match=r"channels and 8 bits, or with another value_range in each part"):
        other.read_image(path)


@pytest.mark.parametrize("channels", [2, 4])
def test_other_numbers_of_bands_are_trained_on(tmp_path, monkeypatch, quick_plots, channels):
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    for part in ("train", "val"):
        for n in range(4):
            image = np.random.default_rng(n).integers(0, 4096, (32, 32, channels)).astype(np.uint16)
            for kind, values in (("images", image), ("masks", (image[..., -1] > 2000).astype(np.uint8))):
                path = tmp_path / "bands" / kind / part / f"{n}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    data = f"data={{name: folder, root: bands, classes: [low, high], channels: {channels}}}"
    assert (
        run("--config", "tiny.yaml", data, "augment={name: standard, crop_size: 32}", "train.iterations=2")
        == 0
    )
    assert load_predictor(only_run()).predict(Path("bands/images/val/0.tif")).shape == (32, 32)
    assert run("--config", "tiny.yaml", data.replace(f"channels: {channels}", "channels: 3")) == 3
