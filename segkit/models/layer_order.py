"""In which order the layers of a network compute, found by watching one forward pass."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from segkit.models.parts import is_within

#: Into how many groups of neighbours the layers of a part are put: an optimizer is slower with a group for each of
#: hundreds of layers, and twelve is what the networks have that layer-wise decay was made for.
STEPS = 12


def find_places(model: nn.Module, parts: Sequence[str], shape: Sequence[int]) -> dict[str, float]:
    """Where in its part each parameter computes: 0 for the first layer of the part, 1 for the last, in 12 steps.

    The order is that in which modules with parameters of their own are first called for an image of that `shape`
    (C, H, W), in evaluation mode and without gradients, rather than that of their definition: transformers of several
    stages often define all embeddings before all blocks. A module that is not called, because another one uses its
    weights or nothing does in evaluation, counts as the last of what is called around it. Of two parts that a parameter
    is in, the longer name counts. The model is left as it was.
    """
    if not parts:
        return {}
    order = call_order(model, shape)
    calls: dict[str, dict[str, int]] = {part: {} for part in parts}
    for name, _ in model.named_parameters():
        part = max((part for part in parts if is_within(name, part)), key=len, default=None)
        if part is not None:
            calls[part][name] = _called_by(name, order)
    places: dict[str, float] = {}
    for found in calls.values():
        ranks = {call: rank for rank, call in enumerate(sorted(set(found.values())))}
        steps = min(STEPS, len(ranks)) - 1
        for name, call in found.items():
            share = ranks[call] / max(1, len(ranks) - 1)
            places[name] = round(share * steps) / steps if steps else 1.0
    return places


@torch.no_grad()
def call_order(model: nn.Module, shape: Sequence[int]) -> dict[str, int]:
    """When the modules that hold parameters are first called for an image of that shape: their names, numbered."""
    order: dict[str, int] = {}

    def note(name: str) -> Callable[..., None]:
        def called(module: nn.Module, given: Any) -> None:
            order.setdefault(name, len(order))

        return called

    modes = {module: module.training for module in model.modules()}
    hooks = [
        module.register_forward_pre_hook(note(name))
        for name, module in model.named_modules()
        if next(module.parameters(), None) is not None
    ]
    try:
        model.eval()
        model(torch.zeros(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return order


def _called_by(parameter: str, order: dict[str, int]) -> int:
    """The call of the module that holds a parameter, or else the last one within the nearest called module around."""
    owner = parameter.rpartition(".")[0]
    if owner in order:
        return order[owner]
    while owner and owner not in order:
        owner = owner.rpartition(".")[0]
    return max((call for name, call in order.items() if not owner or is_within(name, owner)), default=0)
