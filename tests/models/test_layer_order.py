"""In which order layers compute, and learning rates that differ between them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from segkit.cli import train
from segkit.cli.run_command import run_command
from segkit.config.load import load_config
from segkit.config.schema import OptimizerBlock
from segkit.errors import ConfigError
from segkit.models.layer_order import STEPS, call_order, find_places
from segkit.models.parts import freeze
from segkit.runs.folder import RunFiles
from segkit.runs.header import describe_groups
from segkit.training.build import build
from segkit.training.build_optimizer import build_optimizer

CPU = torch.device("cpu")


class Backwards(nn.Module):
    """Defines its layers in another order than it computes, as transformers of several stages do, one of them twice
    used, one that is only used by another, and one that is not used at all."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(4))
        self.last = nn.Conv2d(4, 4, 1)
        self.first = nn.Conv2d(3, 4, 1)
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True)
        self.unused = nn.Conv2d(4, 4, 1)

    def forward(self, image):
        found = self.first(image) + self.token[:, None, None]
        flat = found.flatten(2).mT
        found = found + self.attention(flat, flat, flat)[0].mT.reshape(found.shape)
        return self.last(self.last(found))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Backwards()
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, image):
        assert not self.training and not torch.is_grad_enabled()
        return self.head(self.backbone(image))


def test_layers_are_ordered_as_they_compute():
    model = Network()
    freeze(model, ["backbone.first"])
    modes = [module.training for module in model.modules()]
    names = ["", "backbone", "backbone.first", "backbone.attention", "backbone.last", "head"]
    assert list(call_order(model, (3, 4, 5))[0]) == names
    places = find_places(model, ["backbone"], (3, 4, 5))
    expected = {
        "token": 0.0,
        "first.weight": 1 / 3,
        "attention.in_proj_weight": 2 / 3,
        "attention.out_proj.weight": 2 / 3,
        "last.weight": 1.0,
        "unused.weight": 1.0,
    }
    assert {name: places[f"backbone.{name}"] for name in expected} == pytest.approx(expected)
    assert all(name.startswith("backbone.") for name in places)
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert find_places(model, [], (3, 4, 5)) == {}


class Tokens(nn.Module):
    """A transformer as timm's are: another method than `forward` gives the features of its layers."""

    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, 4, 1, 1))
        self.unused = nn.Parameter(torch.zeros(4))
        self.embed = nn.Conv2d(3, 4, 1)
        self.blocks = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))

    def features(self, image):
        assert self.position.dtype == image.dtype  # a look is no use
        return self.blocks(self.embed(image) + self.position)


def test_tokens_of_a_transformer_that_is_not_called_are_of_its_first_layer():
    model = nn.Module()
    model.backbone, model.forward = Tokens(), lambda image: model.backbone.features(image)
    places = find_places(model, ["backbone"], (3, 4, 5))
    assert places["backbone.position"] == places["backbone.embed.weight"] == 0
    assert places["backbone.unused"] == places["backbone.blocks.2.weight"] == 1


def test_layers_of_a_part_count_though_a_longer_name_has_them():
    deep = nn.Sequential(nn.Sequential(*[nn.Conv2d(1, 1, 1) for _ in range(5)]))
    whole = find_places(deep, ["0"], (1, 2, 2))
    both = find_places(deep, ["0", "0.0"], (1, 2, 2))
    assert whole["0.0.weight"] == 0 and both["0.0.weight"] == 1  # the only one of its part
    assert both == {**whole, "0.0.weight": 1, "0.0.bias": 1}


def test_a_model_that_cannot_be_shown_one_image_is_refused():
    class Pairs(nn.Conv2d):
        def forward(self, image):
            raise ValueError(f"{len(image)} images, and two are needed")

    model = nn.Sequential(Pairs(3, 2, 1)).train()
    with pytest.raises(ConfigError) as caught:
        find_places(model, ["0"], (3, 4, 5))
    text = str(caught.value)
    assert (
        text.startswith("optimizer.groups: factors that differ between layers")
        and "one image (3, 4, 5)" in text
    )
    assert "ValueError: 1 images, and two are needed\n   -> " in text
    assert model[0].training and not model[0]._forward_pre_hooks


def test_many_layers_become_few_groups_and_one_layer_is_the_last():
    deep = nn.Sequential(nn.Sequential(*[nn.Conv2d(1, 1, 1) for _ in range(40)]), nn.Conv2d(1, 1, 1))
    places = find_places(deep, ["0", "1"], (1, 2, 2))
    in_order = [places[f"0.{n}.weight"] for n in range(40)]
    assert in_order == sorted(in_order) and (in_order[0], in_order[-1]) == (0, 1)
    assert len(set(in_order)) == STEPS
    assert places["1.weight"] == 1


def test_the_rate_falls_geometrically_towards_the_first_layer():
    model = Network()
    block = OptimizerBlock(
        name="sgd", params={"lr": 0.1}, groups={"backbone": [0.01, 0.1], "backbone.last": 2}
    )
    places = find_places(model, ["backbone"], (3, 4, 5))
    optimizer = build_optimizer(block, model, CPU, places=places)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    factors = {
        names[id(parameter)]: group["lr_factor"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert factors["backbone.token"] == pytest.approx(0.01)
    assert factors["backbone.first.bias"] == pytest.approx(0.01 * 10 ** (1 / 3))
    assert factors["backbone.attention.out_proj.bias"] == pytest.approx(0.01 * 10 ** (2 / 3))
    assert factors["backbone.unused.weight"] == pytest.approx(0.1)
    assert factors["backbone.last.weight"] == 2 and factors["head.weight"] == 1
    assert set(factors) == set(dict(model.named_parameters()))


def test_a_training_uses_the_factors_of_its_layers():
    path = ["optimizer.groups={downs: [0.2, 1]}", "model.width=4", "device=cpu"]
    experiment = build(load_config("debug.yaml", path))
    factors = [group["lr_factor"] for group in experiment.optimizer.param_groups]
    assert factors[0] == 1.0 and factors[1] == pytest.approx(0.2) and factors[-1] == pytest.approx(1.0)
    assert factors[1:] == sorted(factors[1:]) and len(factors) > 3


@pytest.mark.parametrize(
    ("value", "place"),
    [("[0, 1]", "[0]"), ("[0.1]", ""), ("[0.1, 1, 2]", ""), ("[a, 1]", "[0]"), ("many", ""), ("-1", "")],
)
def test_wrong_factors_are_refused(value, place):
    with pytest.raises(ConfigError) as caught:
        load_config("debug.yaml", [f"optimizer.groups.downs={value}"])
    assert f": optimizer.groups.downs{place}: expected a number >" in str(caught.value)
    print(caught.value)


def test_a_run_of_such_rates_resumes_to_the_bit(tmp_path, monkeypatch, quick_plots, capsys):
    monkeypatch.chdir(tmp_path)
    settings = ["optimizer.groups={downs: [0.2, 1]}", "model.width=4", "device=cpu", "train.workers=0"]
    settings += ["data.train_size=8", "data.val_size=2", "train.iterations=4", "train.checkpoint_every=2"]
    settings += ["log.images_every=0", "eval.images=0", "eval.every=100%", "log.tensorboard=false", "name=it"]
    assert run_command(train.main, ["--config", "debug.yaml", *settings]) == 0
    (run,) = Path("runs/it").iterdir()
    last = sorted(RunFiles(run).checkpoints.glob("*.pt"))[-1]
    whole = torch.load(last, weights_only=True)["trainer"]
    last.unlink()
    assert run_command(train.main, ["--resume", str(run)]) == 0
    resumed = torch.load(last, weights_only=True)["trainer"]
    assert all(torch.equal(resumed["model"][name], tensor) for name, tensor in whole["model"].items())
    factors = [group["lr_factor"] for group in resumed["optimizer"]["param_groups"]]
    assert factors[0] == 1 and factors[1] == pytest.approx(0.2) and len(factors) > 3
    # The configuration says what the rest of a run is like: torch would go on with the factors of before.
    changes = ["optimizer.groups={downs: [0.5, 1]}", "optimizer.weight_decay=0.25", "train.iterations=5"]
    assert run_command(train.main, ["--resume", str(run), *changes]) == 0
    last = sorted(RunFiles(run).checkpoints.glob("*.pt"))[-1]
    groups = torch.load(last, weights_only=True)["trainer"]["optimizer"]["param_groups"]
    assert groups[1]["lr_factor"] == pytest.approx(0.5) and groups[0]["weight_decay"] == 0.25
    capsys.readouterr()
    assert run_command(train.main, ["--resume", str(run), "optimizer.groups={downs: 1}"]) == 4
    assert "optimizer.groups: {'downs': [0.5, 1.0]} -> {'downs': 1.0}" in capsys.readouterr().err


def test_the_header_says_what_each_part_is_trained_by():
    groups = "optimizer.groups={downs: [0.1, 1], classifier: 2, downs.1: 0}"
    experiment = build(load_config("debug.yaml", [groups, "model.width=4", "device=cpu"]))
    sizes = {
        part: sum(each.numel() for each in module.parameters())
        for part, module in (("downs.0", experiment.model.downs[0]), ("downs.1", experiment.model.downs[1]))
    }
    of_classifier = sum(each.numel() for each in experiment.model.classifier.parameters())
    assert describe_groups(experiment) == [
        f"          lr x 0.1 to 0.268, in 4 groups of layers: downs, {sizes['downs.0']:,} parameters",
        f"          lr x 2: classifier, {of_classifier:,} parameters",
        f"          lr x 0: downs.1, {sizes['downs.1']:,} parameters",
    ]
    assert describe_groups(build(load_config("debug.yaml", ["model.width=4", "device=cpu"]))) == []
