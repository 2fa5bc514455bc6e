"""Parts of a network that are not trained, or by another learning rate."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from segkit.config.schema import OptimizerBlock
from segkit.errors import ConfigError
from segkit.models.layer_order import find_places
from segkit.models.parts import freeze, is_within, require_parts
from segkit.training.build_optimizer import build_optimizer
from segkit.training.weights import weights_replaced

CPU = torch.device("cpu")


def network():
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    return nn.ModuleDict({"backbone": backbone, "backbone2": nn.Conv2d(4, 4, 1), "head": nn.Conv2d(4, 2, 1)})


def run(model, image):
    for part in model.values():
        image = part(image)
    return image


def test_a_part_is_named_by_whole_words():
    assert is_within("backbone.0.weight", "backbone") and is_within("backbone", "backbone")
    assert not is_within("backbone2.weight", "backbone")


def test_what_is_frozen_does_not_change_even_its_statistics():
    model = network()
    freeze(model, ["backbone"])
    before = deepcopy(model.state_dict())
    optimizer = build_optimizer(OptimizerBlock(name="sgd", params={"lr": 0.1}), model, CPU)
    for _ in range(3):
        model.train()
        run(model, torch.randn(2, 3, 8, 8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"{part}.{kind}" for part in ("backbone2", "head") for kind in ("weight", "bias")}
    assert model.training and not any(module.training for module in model["backbone"].modules())
    copied = deepcopy(model).train()
    assert copied["head"].training and not copied["backbone"][1].training and model["head"].training
    copied.eval()
    assert not copied["head"].training and model["head"].training


class Caching(nn.Linear):
    """Keeps what it made of its weight until it is trained again, as the attention of LeViT does."""

    def __init__(self):
        super().__init__(3, 3)
        self.inner, self.made = nn.Dropout(0.5), None

    def train(self, mode=True):
        super().train(mode)
        self.made = None if mode else self.made
        return self

    def forward(self, given):
        self.made = 2 * self.weight.detach() if self.made is None else self.made
        return self.inner(given) @ self.made


def test_what_a_frozen_module_keeps_is_not_of_weights_that_were_loaded_over():
    model = nn.Sequential(Caching(), nn.Linear(3, 3))
    given = torch.eye(3)
    freeze(model, ["0"])
    model[0](given)
    with torch.no_grad():
        model[0].weight.fill_(1)
    model.train()
    weights_replaced(model)
    assert torch.equal(model[0](given), torch.full((3, 3), 2.0))
    assert [module.training for module in model.modules()] == [True, False, False, True]


class Shared(nn.Module):
    """A decoder that shares a weight with the encoder, and a module that has two names."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.decoder.weight = self.encoder.weight
        self.norm = nn.BatchNorm2d(3)
        self.branches = nn.ModuleList([self.norm])

    def forward(self, image):
        return self.decoder(self.norm(self.encoder(image)))


def test_what_is_shared_belongs_to_both_parts():
    model = Shared()
    freeze(model, ["decoder", "branches"])
    model.train()
    assert not model.encoder.weight.requires_grad and model.encoder.bias.requires_grad
    assert not model.norm.weight.requires_grad and not model.norm.training
    model = Shared()
    places = find_places(model, ["decoder"], (3, 4, 4))
    found = groups(model, {"decoder": [0.25, 2.0], "branches": 0.5}, places)
    by_factor = {group["lr_factor"]: {id(each) for each in group["params"]} for group in found}
    assert by_factor == {
        1.0: {id(model.encoder.bias)},
        0.25: {id(model.encoder.weight)},
        2.0: {id(model.decoder.bias)},
        0.5: {id(model.norm.weight), id(model.norm.bias)},
    }


def test_mistakes_are_said():
    with pytest.raises(ConfigError) as caught:
        freeze(network(), ["backbon"])
    assert str(caught.value) == (
        "model.freeze: the model has no part 'backbon' -> one of backbone, backbone2, head, or a part of them such as "
        "backbone.0"
    )
    with pytest.raises(ConfigError, match="is the whole model, and nothing is left to train"):
        freeze(network(), ["backbone", "backbone2", "head"])
    require_parts(network(), [], key="model.freeze")


def groups(model, wanted, places=None):
    component = OptimizerBlock(name="sgd", params={"lr": 0.1}, groups=wanted)
    return build_optimizer(component, model, CPU, places=places).param_groups


def test_groups_of_the_learning_rate():
    model = network()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        group["lr_factor"]: [names[id(each)] for each in group["params"]]
        for group in groups(model, {"backbone": 0.1, "backbone.1": 0.5})
    }
    assert found == {
        1.0: ["backbone2.weight", "backbone2.bias", "head.weight", "head.bias"],
        0.1: ["backbone.0.weight", "backbone.0.bias"],
        0.5: ["backbone.1.weight", "backbone.1.bias"],
    }
    (only,) = groups(model, {})
    assert "lr_factor" not in only and len(only["params"]) == 8


def test_a_group_of_nothing_is_refused():
    model = network()
    freeze(model, ["backbone"])
    for wanted, message in (
        ({"back": 0.1}, "optimizer.groups: the model has no part 'back'"),
        (
            {"backbone": 0.1},
            "optimizer.groups: no parameter of 'backbone' is trained in this group: it is frozen, or",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            groups(model, wanted)
        assert str(caught.value).startswith(message)
