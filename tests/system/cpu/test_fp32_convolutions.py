"""Convolutions that leave autocast on a CPU."""

import copy

import pytest
import torch
from torch import nn

from segkit.system.cpu.fp32_convolutions import Fp32Conv2d, depthwise_in_fp32


def test_only_depthwise_convolutions_are_changed():
    own = type("Own", (nn.Conv2d,), {})
    model = nn.ModuleDict(
        {
            "depthwise": nn.Conv2d(4, 4, 3, groups=4),
            "multiplied": nn.Conv2d(4, 8, 3, groups=4),
            "grouped": nn.Conv2d(4, 4, 3, groups=2),
            "plain": nn.Conv2d(4, 4, 3),
            "one channel": nn.Conv2d(1, 4, 3),
            "own": own(4, 4, 3, groups=4),
        }
    )
    changed = [name for name, each in depthwise_in_fp32(model).items() if type(each) is Fp32Conv2d]
    assert changed == ["depthwise", "multiplied"]


def test_names_parameters_and_copies_stay():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="reflect"), nn.ReLU())
    before = dict(model.named_parameters())
    image = torch.randn(2, 4, 8, 8)
    expected = model(image)
    depthwise_in_fp32(model)
    assert all(value is before[name] for name, value in model.named_parameters())
    assert torch.equal(model(image), expected)
    twin = copy.deepcopy(model)  # as a moving average of the weights is made
    assert type(twin[0]) is Fp32Conv2d and torch.equal(twin(image), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_under_autocast_it_computes_in_fp32_and_what_follows_in_bf16(stride):
    layers = nn.Sequential(nn.Conv2d(4, 4, 3, stride=stride, groups=4), nn.Conv2d(4, 4, 1))
    model = depthwise_in_fp32(copy.deepcopy(layers))
    image = torch.randn(2, 4, 9, 9).bfloat16().requires_grad_()
    with torch.autocast("cpu"):
        hidden = model[0](image)
        assert model[1](hidden).dtype == torch.bfloat16
    assert torch.equal(hidden, layers[0](image.float()))
    hidden.sum().backward()
    assert image.grad.dtype == torch.bfloat16
    assert model[0].weight.grad.dtype == torch.float32
