"""A run on several data sets: a score of each part, in every place where scores are, and the same bits when resumed."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from segkit.commands.evaluate import evaluate_weights
from segkit.runs.checkpoint import load_checkpoint
from segkit.runs.predictor import load_predictor
from tests.runs.planted_scores import TINY, only_run, run
from tests.scripts import run_script

SHAPES = {
    "name": "shapes",
    "size": 32,
    "train_size": 6,
    "val_size": 4,
    "class_map": {"*": "thing"},
    "weight": 0.5,
}
FOLDER = {"name": "folder", "root": "own", "classes": ["ground", "thing"], "title": "mine", "weight": 3.0}
MIX = {"name": "mix", "classes": ["background", "thing"]}
DATA = f"data={json.dumps({**MIX, 'parts': [SHAPES, {**FOLDER, 'class_map': {'ground': 'background'}}]})}"


@pytest.fixture
def place(tmp_path, monkeypatch, quick_plots, save):
    """A working folder with images of one's own."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        for n in range(3):
            labels = np.zeros((32, 32), dtype=np.uint8)
            labels[n : n + 12, 6:20] = 1
            save(
                tmp_path / f"own/images/{part}/{n}.png", random.integers(0, 255, (32, 32, 3)).astype(np.uint8)
            )
            save(tmp_path / f"own/masks/{part}/{n}.png", labels)
    return tmp_path


def test_each_part_has_a_score_of_its_own(place, capsys):
    assert run("--config", "tiny.yaml", DATA, "train.iterations=4") == 0
    folder = only_run()
    with (folder / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/mIoU"]]
    assert all(row["val/mIoU/shapes"] and row["val/mIoU/mine"] for row in rows)
    assert "by part: shapes " in capsys.readouterr().out
    last = json.loads((folder / "summary.json").read_text())["last"]
    for name, score in last["parts"].items():
        assert score == pytest.approx(float(rows[-1][f"val/mIoU/{name}"]), abs=1e-5)
    assert run_script("evaluate", "--weights", folder, "--output", "scores.json") == 0
    shown = capsys.readouterr().out
    assert "by part: shapes " in shown and "  mine " in shown
    scores = json.loads(Path("scores.json").read_text())
    assert list(scores["parts"]) == ["shapes", "mine"]


def test_a_resumed_run_has_the_same_bits(place):
    assert run("--config", "tiny.yaml", DATA, "train.iterations=7", "train.workers=2") == 0
    folder = only_run()
    whole = load_checkpoint(folder / "checkpoints/000007.pt")["trainer"]["model"]
    (folder / "checkpoints/000007.pt").unlink()
    assert run("--resume", f"{folder}/checkpoints/000004.pt", "train.workers=0") == 0
    again = load_checkpoint(folder / "checkpoints/000007.pt")["trainer"]["model"]
    assert whole and all(torch.equal(whole[key], again[key]) for key in whole)


def test_images_are_predicted_in_the_size_that_all_parts_were_brought_to(place, capsys):
    """Weights of resized parts were shown images in their own size, which they were neither trained nor scored on."""
    parts = [{**FOLDER, "classes": ["background", "thing"], "resize": [16, 24], "title": t} for t in "xy"]
    data = f"data={json.dumps({**MIX, 'parts': parts})}"
    assert run("--config", "tiny.yaml", data, "augment.crop_size=16", "train.iterations=2") == 0
    predictor = load_predictor(only_run(), "cpu")
    assert predictor.resize == predictor.views.resize == (16, 24)
    assert predictor.predict(place / "own/images/val/0.png").shape == (32, 32)
    card = (only_run() / "README.md").read_text()
    capsys.readouterr()
    evaluate_weights(only_run(), [], split="val", device="cpu", output=None)
    assert "6 images of mix val, resized to 16 x 24: mIoU" in capsys.readouterr().out
    assert "resized to 16 x 24" in card
