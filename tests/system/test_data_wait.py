"""The share of the time that training waits for data, on clocks that move only when the test says so."""

import re
from types import SimpleNamespace

import pytest
import torch

from segkit.cli import train
from segkit.cli.run_command import run_command
from segkit.data.datasets.shapes import Shapes
from segkit.runs.recording import recorder as recorder_module
from segkit.system import device as device_module
from segkit.system.device import Wait
from segkit.training.trainer import Trainer

TINY = """
name: tiny
device: cpu
data: {name: shapes, size: 32, train_size: 24, val_size: 2}
model: {name: unet, width: 4, depth: 2}
loss: {name: ce}
train: {iterations: 4, batch_size: 4, workers: 0, checkpoint_every: 1}
eval: {every: 2, images: 0}
log: {every: 2, tensorboard: false, images_every: 0}
"""


class Clock:
    """Time that passes only when the test says so."""

    def __init__(self):
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize(("loading", "updating", "share"), [(0.5, 2.0, 50), (0.0, 1.0, 0), (0.75, 1.0, 75)])
def test_the_console_shows_the_share_of_a_slow_data_set(
    tmp_path, monkeypatch, capsys, quick_plots, loading, updating, share
):
    """Validation, also the look at it before training, is no part of it, however slow."""
    clock = Clock()
    monkeypatch.chdir(tmp_path)
    for module in (device_module, recorder_module):
        monkeypatch.setattr(module, "time", clock)

    def slow(function, seconds):
        def called(*arguments, **options):
            clock.now += seconds
            return function(*arguments, **options)

        return called

    monkeypatch.setattr(Shapes, "__getitem__", slow(Shapes.__getitem__, loading))
    monkeypatch.setattr(Trainer, "update", slow(Trainer.update, updating))
    monkeypatch.setattr(Trainer, "evaluate_model", slow(Trainer.evaluate_model, 100.0))
    (tmp_path / "tiny.yaml").write_text(TINY)
    assert run_command(train.main, ["--config", "tiny.yaml"]) == 0
    shown = re.findall(r"^iter  (\d)/4 .* img/s  data (\d+) %", capsys.readouterr().out, re.MULTILINE)
    assert shown == [("2", str(share)), ("4", str(share))]


class Gpu:
    """A device that does what it is given one after the other; its events note when it gets to them."""

    def __init__(self):
        self.host = self.busy_until = 0.0

    def work(self, seconds: float) -> None:
        self.busy_until = max(self.busy_until, self.host) + seconds

    def event(self, *, enable_timing: bool):
        assert enable_timing
        event = SimpleNamespace(at=None)

        def record():
            event.at = self.busy_until = max(self.busy_until, self.host)

        event.record = record
        event.elapsed_time = lambda other: 1000 * (other.at - event.at)
        return event


@pytest.mark.parametrize(("loading", "idle"), [(0.5, 0.0), (1.0, 0.0), (1.25, 0.25)])
def test_a_gpu_that_is_busy_meanwhile_does_not_wait(monkeypatch, loading, idle):
    """Each update takes the GPU a second, and the program no time."""
    gpu, waits = Gpu(), []
    monkeypatch.setattr(torch.cuda, "Event", gpu.event)
    for _ in range(5):
        wait = Wait(torch.device("cuda"))
        gpu.host += loading
        wait.end()
        gpu.work(1.0)
        waits.append(wait.seconds())
    assert waits == [loading, *[idle] * 4]


def test_elsewhere_the_time_of_the_program_counts(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(device_module, "time", clock)
    wait = Wait(torch.device("cpu"))
    clock.now += 2.5
    wait.end()
    clock.now += 7.0
    assert wait.seconds() == 2.5
