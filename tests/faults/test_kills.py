"""150 SIGKILLs, 25 in each of six set-ups: what is resumed equals what was never killed, bit by bit and in every file.

A run is killed at a moment drawn at random (tests/faults/forked.py), resumed by the same command, perhaps killed again,
until it is done; then another begins. `SEGKIT_FAULT_SEED` draws other moments.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segkit.cli import train
from segkit.errors import CheckpointError
from segkit.runs.checkpoint import load_checkpoint
from segkit.system.device import choose_amp
from segkit.system.run_files import RunFiles, iteration_of, list_checkpoints
from segkit.training import build
from segkit.training.trainer import Trainer
from tests.empty_plots import replace_plots
from tests.faults.drawn_data import draw_data
from tests.faults.forked import Ended, run_forked
from tests.faults.histories import read_history, unlike

pytestmark = pytest.mark.faults

KILLS = 25
SEED = int(os.environ.get("SEGKIT_FAULT_SEED", "0"))

CONFIG = """
name: tiny
device: cpu
data: {name: shapes, size: 32, train_size: 12, val_size: 4}
model: {name: unet, width: 4, depth: 2}
loss: {name: ohem_ce, thresh: 0.7, n_min: 1/16}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
train: {iterations: 9, batch_size: 2, checkpoint_every: 2, workers: 0}
eval: {every: 3, images: 2}
log: {every: 2, tensorboard: false, images_every: 4}
"""

#: What is unlike CONFIG, and what of a checkpoint to leave out for the equality to fail.
SETUPS: dict[str, tuple[list[str], Callable[[dict], None]]] = {}


def setup(*overrides: str) -> Callable[[Callable[[dict], None]], Callable[[dict], None]]:
    def add(forget: Callable[[dict], None]) -> Callable[[dict], None]:
        SETUPS[forget.__name__] = (list(overrides), forget)
        return forget

    return add


@setup()
def momentum(state: dict[str, Any]) -> None:
    for entry in state["optimizer"]["state"].values():
        entry["momentum_buffer"].zero_()


@setup("train.accumulate=2", "train.clip_norm=0.5", "loss.thresh=0.5")
def statistics_of_batch_norm(state: dict[str, Any]) -> None:
    for name, value in state["model"].items():
        if name.endswith("running_mean"):
            value.zero_()


@setup("train.ema=0.9", "eval.every=4", "train.checkpoint_every=3", "train.keep_checkpoints=9")
def moving_average(state: dict[str, Any]) -> None:
    for name, value in state["ema"].items():
        if name.startswith("module.") and value.is_floating_point():
            value.copy_(state["model"][name.removeprefix("module.")])


@setup("train.amp=bf16", "optimizer={name: adamw, lr: 0.01}", "model.dropout=0.2")
def steps_of_adam(state: dict[str, Any]) -> None:
    for entry in state["optimizer"]["state"].values():
        entry["step"].zero_()


@setup(
    "data={name: folder, root: drawn, classes: [ground, thing]}",
    "data.cache=disk",
    "train.workers=2",
    "log.tensorboard=true",
    "train.checkpoint_every=1",
)
def order_of_the_images(state: dict[str, Any]) -> None:
    state["iteration"] -= 1


@setup(
    "train.amp=fp16", "loss={name: bootstrapped_ce, start_warm: 2, end_warm: 7, top_p: 0.2}", "eval.every=2"
)
def scale_of_fp16(state: dict[str, Any]) -> None:
    state["scaler"]["scale"] = 1.0


def allow_fp16() -> None:
    """Lets a CPU train in fp16 in this process, which segkit refuses since it is slow: the scaler of a GPU's runs has
    to come back too, and images of 32 x 32 pixels take no time."""
    stand_in = pytest.MonkeyPatch()
    stand_in.setattr(
        build, "choose_amp", lambda *given: torch.float16 if given[0] == "fp16" else choose_amp(*given)
    )


class Place:
    """A folder with one configuration, in which one run of it is trained, killed and resumed."""

    def __init__(self, folder: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        (folder / "tiny.yaml").write_text(CONFIG)
        draw_data(folder / "drawn")
        monkeypatch.chdir(folder)
        monkeypatch.setenv("SEGKIT_CACHE", str(folder / "caches"))
        self.folder, self.overrides = folder, overrides

    def train(self, *, kill_at: int | None = None, prepare: Callable[[], object] = lambda: None) -> Ended:
        def before() -> None:
            replace_plots(lambda name, stand_in: pytest.MonkeyPatch().setattr(name, stand_in))
            allow_fp16()
            prepare()

        arguments = ["--config", "tiny.yaml", "--resume", "auto", *self.overrides]
        return run_forked(train.main, *arguments, kill_at=kill_at, prepare=before)

    @property
    def runs(self) -> list[Path]:
        return sorted(path for path in (self.folder / "runs/tiny").glob("*") if RunFiles(path).is_run)

    def intact(self) -> set[int]:
        """The iterations of all named checkpoints, every one of which must load."""
        found = [path for run in self.runs for path in list_checkpoints(RunFiles(run).checkpoints)]
        for path in found:
            try:
                load_checkpoint(path)
            except CheckpointError as error:
                pytest.fail(f"after a kill: {error}")
        return {iteration_of(path) for path in found}

    def history(self) -> dict[str, Any]:
        *unborn, last = self.runs
        assert not any(list_checkpoints(RunFiles(run).checkpoints) for run in unborn), "work was left behind"
        return read_history(last)


@pytest.mark.parametrize("name", SETUPS)
def test_killed_runs_equal_one_that_was_left_alone(tmp_path, monkeypatch, name):
    overrides, _ = SETUPS[name]
    whole = Place(tmp_path / "whole", overrides, monkeypatch)
    first = whole.train()
    assert first.status == 0, first.output
    expected = whole.history()

    again = Place(tmp_path / "again", overrides, monkeypatch)
    assert again.train().status == 0
    assert unlike(expected, again.history()) == [], (
        "two runs left alone are equal, or nothing below proves anything"
    )

    random = np.random.default_rng([SEED, list(SETUPS).index(name)])
    kills = lives = 0
    while kills < KILLS:
        place, newest = Place(tmp_path / f"life{lives}", overrides, monkeypatch), 0
        lives += 1
        while True:
            kill_at = int(random.integers(1, first.moments + 1)) if kills < KILLS else None
            ended = place.train(kill_at=kill_at)
            if not ended.killed:
                break
            kills += 1
            found = place.intact()
            assert max(found, default=0) >= newest, f"kill {kills}, at moment {kill_at}: a checkpoint is gone"
            newest = max(found, default=0)
        assert ended.status == 0, ended.output
        assert unlike(expected, place.history()) == [], f"life {lives}, {kills} kills so far"
    assert kills == KILLS
    print(f"{name}: {kills} kills in {lives} lives, each of {first.moments} moments")


@pytest.mark.parametrize("name", SETUPS)
def test_a_run_resumed_without_part_of_its_state_is_noticed(tmp_path, monkeypatch, name):
    """Negative controls: what the equality above would be worth if something was missing in a checkpoint."""
    overrides, forget = SETUPS[name]
    whole = Place(tmp_path / "whole", overrides, monkeypatch)
    first = whole.train()
    assert first.status == 0, first.output
    moments = first.moments
    expected = whole.history()

    def forgetful() -> None:
        original = Trainer.load_state_dict

        def load_state_dict(trainer: Trainer, state: dict[str, Any]) -> None:
            forget(state)
            original(trainer, state)

        Trainer.load_state_dict = load_state_dict

    place = Place(tmp_path / "killed", overrides, monkeypatch)
    kill_at = moments
    while not 0 < max(place.intact(), default=0) < 7:  # the latest moment that leaves something to do
        kill_at -= max(1, moments // 20)
        place = Place(tmp_path / f"killed-{kill_at}", overrides, monkeypatch)
        assert place.train(kill_at=kill_at).killed
    ended = place.train(prepare=forgetful)
    assert ended.status == 0, ended.output
    assert unlike(expected, place.history()) != []
