"""Code in the shapes that other projects have, given with --import: trained, resumed to the bit, and used."""

import sys
from pathlib import Path

import pytest
import torch

from segkit.cli import evaluate, train
from segkit.cli.run_command import run_command
from segkit.errors import ConfigError
from segkit.losses.common.scheduled import Schedule, Scheduled
from segkit.registry import LOSSES, MODELS
from segkit.runs.predictor import load_predictor
from segkit.system.run_files import RunFiles
from segkit.training.parallel import refuse_learning_loss

MODELS_FILE = """
import torch
import torch.nn.functional as F
from torch import nn

from segkit.registry import MODELS


def block(inner, outer, stride=1):
    return nn.Sequential(nn.Conv2d(inner, outer, 3, stride, 1), nn.BatchNorm2d(outer), nn.ReLU())


@MODELS.register("tuple_net")
class TupleNet(nn.Module):
    \"\"\"Logits and, in training alone, those of a second head, as a tuple.\"\"\"

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.body, self.head = block(in_channels, 8, 2), nn.Conv2d(8, num_classes, 1)
        self.second = nn.Conv2d(8, num_classes, 1)

    def forward(self, x):
        x = self.body(x)
        return (self.head(x), self.second(x)) if self.training else self.head(x)


@MODELS.register("deep_net")
class DeepNet(nn.Module):
    \"\"\"Deep supervision: a list of logits, the finest first, each at its own stride.\"\"\"

    def __init__(self, num_classes: int, in_channels: int = 3, *, width: int = 8):
        super().__init__()
        widths = [in_channels, width, 2 * width, 4 * width]
        self.stages = nn.ModuleList(block(a, b, 2) for a, b in zip(widths, widths[1:]))
        self.heads = nn.ModuleList(nn.Conv2d(each, num_classes, 1) for each in widths[1:])

    def forward(self, x):
        found = []
        for stage, head in zip(self.stages, self.heads):
            x = stage(x)
            found.append(head(x))
        return found


@MODELS.register("fixed_net")
class FixedNet(nn.Module):
    \"\"\"Patches with a position each, for images of 64 x 64 alone.\"\"\"

    def __init__(self, num_classes: int, in_channels: int = 3):
        super().__init__()
        self.patches = nn.Conv2d(in_channels, 16, 8, 8)
        self.position = nn.Parameter(torch.zeros(1, 64, 16))
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x):
        patches = self.patches(x)
        tokens = self.layer(patches.flatten(2).transpose(1, 2) + self.position)
        return {"logits": self.head(tokens).transpose(1, 2).unflatten(2, patches.shape[-2:])}
"""
LOSSES_FILE = """
import torch
import torch.nn.functional as F
from torch import nn

from segkit.registry import LOSSES


def of_pixels(logits, target, ignore_index):
    logits = F.interpolate(logits.float(), target.shape[1:], mode="bilinear")
    return F.cross_entropy(logits, target.long(), ignore_index=ignore_index)


@LOSSES.register("learnt_weight")
class LearntWeight(nn.Module):
    \"\"\"Cross-entropy weighed by a learnt uncertainty s: exp(-s) ce + s.\"\"\"

    def __init__(self, num_classes: int, ignore_index: int = 255, *, start: float = 0.5):
        super().__init__()
        self.ignore_index = ignore_index
        self.s = nn.Parameter(torch.tensor(start))

    def forward(self, logits, target, weight=None, *, iteration):
        ce = of_pixels(logits, target, self.ignore_index)
        return torch.exp(-self.s) * ce + self.s, {"ce": ce.detach(), "s": self.s.detach()}


@LOSSES.register("running_scale")
class RunningScale(nn.Module):
    \"\"\"Cross-entropy divided by its own running mean, which is a state.\"\"\"

    def __init__(self, num_classes: int, ignore_index: int = 255, *, momentum: float = 0.1):
        super().__init__()
        self.ignore_index, self.momentum = ignore_index, momentum
        self.register_buffer("mean", torch.ones(()))

    def forward(self, logits, target, weight=None, *, iteration):
        ce = of_pixels(logits, target, self.ignore_index)
        with torch.no_grad():
            self.mean += self.momentum * (ce - self.mean)
        return ce / self.mean, {"ce": ce.detach()}
"""


@pytest.fixture
def files(tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)
    Path("their_models.py").write_text(MODELS_FILE)
    Path("their_losses.py").write_text(LOSSES_FILE)
    LOSSES.names(), MODELS.names()
    before = [(registry, dict(registry._constructors)) for registry in (LOSSES, MODELS)]
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for registry, constructors in before:
        registry._constructors.clear()
        registry._constructors.update(constructors)
    for name in ("their_models", "their_losses"):
        sys.modules.pop(name, None)


def fit(*arguments):
    common = (
        "log.images_every=0",
        "eval.images=0",
        "eval.every=100%",
        "data.train_size=8",
        "data.val_size=2",
        "log.tensorboard=false",
        "device=cpu",
        "name=theirs",
        "train.workers=0",
        "train.checkpoint_every=2",
    )
    imports = ("--import", "their_models.py", "--import", "their_losses.py")
    command = ("--config", "debug.yaml", *imports, *common, "train.iterations=4", *arguments)
    assert run_command(train.main, command) == 0
    run = max(Path("runs/theirs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return run, sorted(RunFiles(run).checkpoints.glob("*.pt"))


def state_of(path):
    return torch.load(path, weights_only=True)["trainer"]


MODEL_CASES = ["model={name: tuple_net}", "model={name: deep_net, width: 4}", "model={name: fixed_net}"]
LOSS_CASES = ["loss={name: learnt_weight}", "loss={name: running_scale, momentum: 0.2}"]


@pytest.mark.parametrize("case", MODEL_CASES + LOSS_CASES)
def test_it_trains_resumes_to_the_bit_and_is_used(files, case, capsys):
    run, checkpoints = fit(case)
    whole = state_of(checkpoints[-1])
    checkpoints[-1].unlink()
    assert (
        run_command(
            train.main, ["--resume", str(run), "--import", "their_models.py", "--import", "their_losses.py"]
        )
        == 0
    )
    resumed = state_of(checkpoints[-1])
    for part in ("model", "loss"):
        assert whole[part].keys() == resumed[part].keys()
        assert all(torch.equal(resumed[part][name], tensor) for name, tensor in whole[part].items())
    if case in LOSS_CASES:
        (state,) = whole["loss"].values()
        assert (
            state
            != {"learnt_weight": 0.5, "running_scale": 1.0}[
                case.partition("name: ")[2].rstrip("}").split(",")[0]
            ]
        )
    command = [
        "--weights",
        str(run),
        "--import",
        "their_models.py",
        "--import",
        "their_losses.py",
        "--device",
        "cpu",
    ]
    capsys.readouterr()
    assert run_command(evaluate.main, command) == 0
    assert "mIoU" in capsys.readouterr().out


def test_a_network_of_a_fixed_size_takes_larger_images_in_tiles(files):
    run, _ = fit("model={name: fixed_net}", "predict.tile=[64,64]")
    predictor = load_predictor(run, "cpu")
    assert predictor.predict(torch.zeros(3, 100, 90, dtype=torch.uint8)).shape == (100, 90)


def test_what_a_loss_learns_has_no_decay_and_is_refused_where_it_would_be_lost(files):
    _, checkpoints = fit("loss={name: learnt_weight}", "optimizer={name: adamw, lr: 0.01}")
    first, own = state_of(checkpoints[-1])["optimizer"]["param_groups"]
    assert own["weight_decay"] == 0 and len(own["params"]) == 1 and first["weight_decay"] > 0
    loss = LOSSES.get("learnt_weight")(5)
    with pytest.raises(ConfigError) as caught:
        refuse_learning_loss(loss, 2)
    assert str(caught.value) == (
        "loss: LearntWeight has parameters that it learns, and their gradients are not averaged over 2 processes "
        "-> train in one process"
    )
    refuse_learning_loss(loss, 1)
    moving = Schedule("linear", lambda progress: 1 - progress, before=1.0, after=0.0, start=0, end=9)
    with pytest.raises(
        ConfigError, match="learnt_weight: a loss with parameters that it learns is made anew whenever"
    ):
        Scheduled(
            lambda start: LOSSES.get("learnt_weight")(5, start=start), {"start": moving}, name="learnt_weight"
        )
