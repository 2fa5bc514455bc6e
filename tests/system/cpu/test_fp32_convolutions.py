"""Convolutions that leave autocast on a CPU."""

import copy

import pytest
import torch
from torch import nn

from segkit.system.cpu.fp32_convolutions import LIBRARIES, Fp32Conv2d, depthwise_in_fp32


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


@pytest.mark.parametrize("library", LIBRARIES)
def test_kinds_of_libraries_that_pad_by_themselves_are_changed_too(library):
    """As all depthwise convolutions of EfficientNet are in smp, and of timm's networks from TensorFlow."""

    def forward(self, image):
        return nn.Conv2d.forward(self, nn.functional.pad(image, (1, 1, 1, 1)))

    kind = type("PaddedConv2d", (nn.Conv2d,), {"forward": forward, "__module__": f"{library}.layers"})
    layers = nn.Sequential(kind(4, 4, 3, groups=4), kind(4, 4, 3))
    model = copy.deepcopy(depthwise_in_fp32(depthwise_in_fp32(copy.deepcopy(layers))))
    assert isinstance(model[0], kind) and type(model[1]) is kind
    image = torch.randn(2, 4, 9, 9)
    with torch.autocast("cpu"):
        hidden = model[0](image)
        assert model[1](hidden).dtype == torch.bfloat16
    assert torch.equal(hidden, layers[0](image))
    assert torch.equal(model(image), layers(image))


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
