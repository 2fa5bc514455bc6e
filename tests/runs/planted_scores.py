"""Runs of seconds whose validation scores are chosen, so that a test knows which moment is the best."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from segkit.cli import train
from segkit.cli.run_command import run_command
from segkit.runs.checkpoint import load_checkpoint
from segkit.training.trainer import Trainer

TINY = """
name: tiny
device: cpu
data: {name: shapes, size: 32, train_size: 8, val_size: 4}
model: {name: unet, width: 4, depth: 2}
loss: {name: ohem_ce, thresh: 0.7, n_min: 1/16}
optimizer: {name: sgd, lr: 0.05}
train: {iterations: 8, batch_size: 2, checkpoint_every: 2, keep_checkpoints: 9, ema: 0.9, workers: 0}
eval: {every: 2, images: 2}
log: {every: 2, tensorboard: false, images_every: 2}
"""


def run(*arguments: str) -> int:
    """`segkit train` with these arguments; its exit code."""
    return run_command(train.main, list(arguments))


def train_with_scores(patch: pytest.MonkeyPatch, scores: dict[int, float], *arguments: str) -> Path:
    """Train (or go on) to the end with these mIoUs, at most 0.5, by iteration; returns the only run folder."""
    original = Trainer.evaluate_model

    def evaluate_model(trainer: Trainer, *, limit: int | None = None):
        result = original(trainer, limit=limit)
        return (
            result if limit or result is None else replace(result, matrix=_matrix(scores[trainer.iteration]))
        )

    with patch.context() as inner:
        inner.setattr(Trainer, "evaluate_model", evaluate_model)
        assert run(*arguments) == 0
    return only_run()


def only_run() -> Path:
    (folder,) = Path("runs/tiny").iterdir()
    return folder


def read_summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def weights_of(checkpoint: Path) -> tuple[int, float, dict[str, torch.Tensor]]:
    """Iteration, mIoU and weights of a best.pt."""
    state = load_checkpoint(checkpoint)
    return state["iteration"], round(state["mean_iou"], 6), state["model"]


def average_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The weights that validation scored at a numbered checkpoint: its moving average."""
    average = load_checkpoint(checkpoint)["trainer"]["ema"]
    return {key.removeprefix("module."): value for key, value in average.items() if key.startswith("module.")}


def _matrix(score: float) -> torch.Tensor:
    """A confusion matrix of 5 classes: all labels are 0, and the others of the two predictions are wrong."""
    matrix = torch.zeros(5, 5, dtype=torch.int64)
    right = round(2000 * score)
    matrix[0, 0], matrix[0, 1] = right, 1000 - right
    return matrix
