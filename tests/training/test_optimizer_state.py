"""Going on with the state of an optimizer in a run that keeps its numbers in another order."""

import copy

import pytest
import torch
from torch import nn

from segkit.training.optimizer_state import fit_state

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


def test_the_implementation_is_that_of_the_run():
    _, fused = build("SGD", torch.contiguous_format)
    plain = torch.optim.SGD(nn.Conv2d(8, 8, 3).parameters(), lr=0.1)
    (group,) = fit_state(fused.state_dict(), plain)["param_groups"]
    assert group["fused"] is None and group["lr"] == 0.05 and group["momentum"] == 0.9


def test_a_state_of_other_parameters_is_left_for_torch_to_refuse():
    _, optimizer = build("SGD", torch.contiguous_format)
    other = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)
    state = optimizer.state_dict()
    assert fit_state(state, other) is state
