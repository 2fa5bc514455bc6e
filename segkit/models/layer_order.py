"""In which order the layers of a network compute, found by watching one forward pass."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segkit.errors import ConfigError
from segkit.models.parts import is_within, parameters_with_names
from segkit.system.memory import lacks_memory

#: Into how many groups of neighbours the layers of a part are put: an optimizer is slower with a group for each of
#: hundreds of layers, and twelve is what the networks have that layer-wise decay was made for.
STEPS = 12


def find_places(model: nn.Module, parts: Sequence[str], shape: Sequence[int]) -> dict[str, float]:
    """Where in its part each parameter computes: 0 for the first layer of the part, 1 for the last, in 12 steps.

    The order is that in which modules with parameters of their own are first called for an image of that `shape`
    (C, H, W), in evaluation mode and without gradients, rather than that of their definition: transformers of several
    stages often define all embeddings before all blocks. The parameters of a module that is not called, such as the
    tokens of a transformer of which another method is, belong to the layer that was called last when they are first
    used; those that nothing uses in evaluation to the last that is called around them. Of two parts that a parameter is
    in, the longer name counts. The model is left as it was. Raises ConfigError where the forward pass fails.
    """
    if not parts:
        return {}
    order, used = call_order(model, shape)
    calls: dict[str, int] = {}
    for _, names in parameters_with_names(model):
        first = names[0]  # the one that the order knows
        calls |= dict.fromkeys(names, used[first] if first in used else _called_by(first, order))
    places: dict[str, float] = {}
    for part in sorted(parts, key=len):  # a longer name takes its parameters from a shorter one
        found = {name: call for name, call in calls.items() if is_within(name, part)}
        ranks = {call: rank for rank, call in enumerate(sorted(set(found.values())))}
        steps = min(STEPS, len(ranks)) - 1
        for name, call in found.items():
            share = ranks[call] / max(1, len(ranks) - 1)
            places[name] = round(share * steps) / steps if steps else 1.0
    return places


class _FirstUses(TorchDispatchMode):
    """Notes in `used` the last call in `order` when a parameter, by name in `names`, is first part of a computation."""

    def __init__(self, names: Mapping[int, str], order: Mapping[str, int]):
        super().__init__()
        self.names, self.order = names, order
        self.used: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            name = self.names.get(id(value))
            if name is not None:
                self.used.setdefault(name, len(self.order) - 1)
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def call_order(model: nn.Module, shape: Sequence[int]) -> tuple[dict[str, int], dict[str, int]]:
    """When the modules that hold parameters are first called for an image of that shape: their names, numbered; and for
    the parameters of those that are not called, after which of these calls they are first used.

    Raises ConfigError where the model cannot be shown that image.
    """
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
    uses = _FirstUses({id(parameter): name for name, parameter in model.named_parameters()}, order)
    try:
        model.eval()
        with uses:
            model(torch.zeros(1, *shape))
    except Exception as error:  # it is the code of whoever made the model
        if lacks_memory(error):
            raise
        raise ConfigError(
            "optimizer.groups: factors that differ between layers need the order of these, which is seen in a forward "
            f"pass of one image {tuple(shape)} on the CPU, in evaluation mode. That failed: {type(error).__name__}: "
            f"{error}\n   -> a model that can do it, or one factor for the part"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    owned = {name: name.rpartition(".")[0] for name in uses.used}
    return order, {name: call for name, call in uses.used.items() if owned[name] not in order}


def _called_by(parameter: str, order: dict[str, int]) -> int:
    """The call of the module that holds a parameter, or else the last one within the nearest called module around."""
    owner = parameter.rpartition(".")[0]
    if owner in order:
        return order[owner]
    while owner and owner not in order:
        owner = owner.rpartition(".")[0]
    return max((call for name, call in order.items() if not owner or is_within(name, owner)), default=0)
