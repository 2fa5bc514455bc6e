"""Going on with the state of an optimizer in a run that keeps its numbers in another order."""

import copy

import pytest
import torch
from torch import nn

from segkit.errors import CheckpointError
from segkit.training.optimizer_state import find_unfit, fit_state, refuse_unfit

OPTIMIZERS = {"SGD": {"momentum": 0.9}, "AdamW": {}}


def build(name, memory_format, **options):
    torch.manual_seed(0)
    model = nn.Conv2d(8, 8, 3).to(memory_format=memory_format)
    return model, getattr(torch.optim, name)(
        model.parameters(), lr=0.05, fused=True, **OPTIMIZERS[name], **options
    )


def train(model, optimizer):
    torch.manual_seed(1)
    for _ in range(3):
        model(torch.randn(2, 8, 9, 9)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("before", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("after", [torch.channels_last, torch.contiguous_format])
def test_moments_stay_with_their_weights(name, before, after):
    """The fused kernels go through memory without looking at strides."""
    model, optimizer = build(name, before)
    train(model, optimizer)
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    train(model, optimizer)
    other, its_optimizer = build(name, after)
    other.load_state_dict(weights)
    its_optimizer.load_state_dict(fit_state(state, its_optimizer))
    train(other, its_optimizer)
    torch.testing.assert_close(other.weight, model.weight, rtol=1e-5, atol=1e-6)


def test_implementation_and_options_are_those_of_the_run():
    _, fused = build("SGD", torch.contiguous_format)
    fused.param_groups[0]["noted"] = 7  # as some optimizers do with what they learn
    plain = torch.optim.SGD(nn.Conv2d(8, 8, 3).parameters(), lr=0.1, momentum=0.8, weight_decay=0.01)
    plain.param_groups[0]["noted"] = 0
    (group,) = fit_state(fused.state_dict(), plain)["param_groups"]
    assert group["fused"] is None and group["noted"] == 7
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.8, 0.01)


def test_a_state_of_other_parameters_is_refused():
    _, optimizer = build("SGD", torch.contiguous_format)
    other = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)
    with pytest.raises(CheckpointError, match=r"is of \[2\] parameters by group, and this one has \[1\]"):
        fit_state(optimizer.state_dict(), other)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_of_a_weight_of_another_shape_are_refused(name):
    """The fused kernels would read and write beyond their end."""
    _, optimizer = build(name, torch.contiguous_format)
    smaller = nn.Conv2d(8, 2, 3)
    other = type(optimizer)(smaller.parameters(), lr=0.05, **OPTIMIZERS[name])
    smaller(torch.ones(1, 8, 3, 3)).sum().backward()
    other.step()
    expected = (
        r"' has the shape \(2, 8, 3, 3\), and the parameter at its place \(8, 8, 3, 3\)\n.*model.init_from"
    )
    with pytest.raises(CheckpointError, match=expected):
        fit_state(other.state_dict(), optimizer)


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (["stem"], ["stem"], False),
        (["stem", "head"], ["head", "stem", "stem.0"], False),
        (None, [], False),
        (["layers.0"], ["layers.1"], True),
        (["layers.1"], ["layers.10", "layers.1"], True),
        ([], ["stem"], True),
    ],
)
def test_a_state_is_of_no_use_where_other_parts_are_frozen(before, after, refused):
    """It goes by the order of what is trained: the moments of one layer would be taken for those of another."""
    configs = [{"optimizer": {"name": "sgd"}, "model": {"freeze": parts}} for parts in (before, after)]
    if not refused:
        refuse_unfit(*configs, "x.pt")
        return
    with pytest.raises(CheckpointError, match=r"x\.pt is of no use with\n   model\.freeze: \["):
        refuse_unfit(*configs, "x.pt")


@pytest.mark.parametrize(
    ("before", "after", "unfit"),
    [
        ({"weight_decay": 0.0, "momentum": 0.9}, {"weight_decay": 0.1, "momentum": 0.8}, []),
        ({"momentum": 0.9}, {"momentum": 0.0}, []),
        ({"momentum": 0.0, "amsgrad": False}, {"momentum": 0.9, "amsgrad": True}, ["amsgrad", "momentum"]),
        ({"groups": {"a": 0.1}}, {"groups": {"a": 0.2}}, []),
        ({"groups": {"a": [0.1, 1]}}, {"groups": {"a": [0.2, 1]}}, []),
        ({"groups": {"a": [0.1, 1]}}, {"groups": {"a": [1, 0.1]}}, ["groups"]),
        ({"groups": {"a": [0.1, 1]}}, {"groups": {"a": 0.1}}, ["groups"]),
        ({"groups": {"a": [1, 1]}}, {"groups": {"a": 0.1}}, []),
        ({"groups": {"a": 0.1}}, {"groups": {}}, ["groups"]),
        ({}, {"groups": {"a": 0.1}}, ["groups"]),
        ({"groups": {"a": 0.1, "b": 0.2}}, {"groups": {"b": 0.2, "a": 0.1}}, ["groups"]),
        ({"name": "sgd", "momentum": 0.0}, {"name": "adamw", "groups": {"a": 1}}, ["name"]),
        ({"name": "adam"}, {"name": "adamw"}, []),
    ],
)
def test_what_a_state_does_not_fit(before, after, unfit):
    assert sorted(find_unfit(before, after)) == unfit
