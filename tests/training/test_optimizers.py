"""The optimizers are torch's, to the last bit, by torch's own names."""

import pytest
import torch

from segkit.registry import OPTIMIZERS
from segkit.training.optimizers import WRITTEN_IN


def train(constructor, *, closure=False):
    """Parameters after some updates, whether gradients were on within them, and the optimizer."""
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(4, 3))
    optimizer = constructor([parameter], lr=0.1)
    enabled = []
    optimizer.register_step_post_hook(lambda *_: enabled.append(torch.is_grad_enabled()))

    def value():
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss

    for _ in range(3):
        if closure:
            optimizer.step(value)
        else:
            value()
            optimizer.step()
    return parameter.detach(), enabled, optimizer


@pytest.mark.parametrize("name", WRITTEN_IN)
@pytest.mark.parametrize("closure", [False, True])
def test_updates_are_torchs(name, closure):
    ours, theirs = OPTIMIZERS.get(name), getattr(torch.optim, WRITTEN_IN[name].rpartition(".")[2])
    assert issubclass(ours, theirs) and ours.__name__ == theirs.__name__ and ours.__doc__ == theirs.__doc__
    found, enabled, optimizer = train(ours, closure=closure)
    expected, _, reference = train(theirs, closure=closure)
    assert torch.equal(found, expected) and enabled == [True] * 3
    state, other = optimizer.state_dict(), reference.state_dict()
    assert state["param_groups"] == other["param_groups"]
    assert state["state"].keys() == other["state"].keys()
    for key, value in state["state"].get(0, {}).items():
        expected = other["state"][0][key]
        assert torch.equal(value, expected) if isinstance(value, torch.Tensor) else value == expected


@pytest.mark.parametrize("differentiable", [False, True])
def test_gradients_of_the_update_itself_are_only_kept_if_asked_for(differentiable):
    optimizer = OPTIMIZERS.get("sgd")(
        [torch.nn.Parameter(torch.ones(2))], lr=0.1, differentiable=differentiable
    )
    seen = []
    optimizer._init_group = lambda *_: seen.append(torch.is_grad_enabled()) or False
    optimizer.step()
    assert seen == [differentiable] and torch.is_grad_enabled()


def follow(constructor, gradients, **options):
    """Two parameters after these pairs of gradients, None for none; infinite ones are skipped by a GradScaler."""
    parameters = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 2))]
    optimizer = constructor(parameters, lr=0.1, momentum=0.9, **options)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for pair in gradients:
        for parameter, gradient in zip(parameters, pair, strict=True):
            parameter.grad = None if gradient is None else torch.full_like(parameter, 4.0 * gradient)
        scaler.scale(torch.ones(()))
        scaler.step(optimizer)
        scaler.update(4.0)
        optimizer.zero_grad()
    return parameters


GRADIENTS = {
    "first updates skipped": [(torch.inf, 1.0), (1.0, -torch.inf), (0.5, 2.0), (torch.inf, 1.0), (1.0, -1.0)],
    "a first gradient later": [(1.0, None), (0.5, 2.0), (None, 1.0), (1.0, 1.0)],
}


@pytest.mark.parametrize("gradients", GRADIENTS.values(), ids=GRADIENTS)
@pytest.mark.parametrize("options", [{}, {"nesterov": True, "weight_decay": 0.1}], ids=["plain", "nesterov"])
def test_momentum_of_the_fused_kernel_begins_with_nothing(gradients, options, monkeypatch):
    """Where the first updates are skipped, as fp16 does, it would go on from what was in memory."""
    expected = follow(torch.optim.SGD, gradients, fused=False, **options)
    monkeypatch.setattr(torch, "empty_like", lambda tensor, **_: torch.full_like(tensor, 1e30))
    found = follow(OPTIMIZERS.get("sgd"), gradients, fused=True, **options)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
