"""The optimizer of a configuration, over the parameters of a model."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from segkit.config.schema import OptimizerBlock
from segkit.errors import ConfigError
from segkit.models.parts import find_part, is_within, parameters_with_names, require_parts
from segkit.registry import OPTIMIZERS

#: Optimizers with a fused kernel on every device; for the others torch chooses.
FUSED_EVERYWHERE = ("sgd", "adam", "adamw")
#: Those whose fused kernel does not take the parameters of a sharded model.
WHOLE_ONLY = ("sgd",)


def build_optimizer(
    component: OptimizerBlock,
    model: nn.Module,
    device: torch.device,
    *,
    loss: nn.Module | None = None,
    places: Mapping[str, float] | None = None,
    sharded: bool = False,
) -> torch.optim.Optimizer:
    """The named optimizer over the trainable parameters, fused where torch has such a kernel.

    Each of the `groups` is a parameter group of its own, whose `lr_factor` the learning rate is multiplied by, and what
    is in none of them is the first. A part whose factor differs between its layers is several groups, by the `places`
    of its parameters (`find_places`). Parameters of a `loss`, if it has some, are a group too, without weight decay.
    Raises ConfigError for a group that the model has no parameters for, and for options that do not work.
    """
    constructor = OPTIMIZERS.get(component.name)
    if "lr" not in component.params:
        raise ConfigError(
            f"optimizer: {component.name} takes no lr, which `schedule` moves\n"
            "   -> def __init__(self, params, lr: float = 0.1)"
        )
    step = inspect.signature(constructor.step).parameters if hasattr(constructor, "step") else {}
    if "closure" in step and step["closure"].default is inspect.Parameter.empty:
        raise ConfigError(
            f"optimizer: {component.name} calls the model itself (`step(closure)`), which training does not offer"
        )
    parameters = {name: value for name, value in component.params.items() if value is not None}
    if parameters.get("differentiable"):
        raise ConfigError(
            "optimizer.differentiable: true keeps gradients of the update itself, which nothing in training asks for, "
            "and\n   torch then refuses to change weights -> leave it out"
        )
    wants_default = not parameters.get("foreach") and not (sharded and component.name in WHOLE_ONLY)
    wants_default = wants_default and not parameters.get("dampening")  # see start_momentum
    if component.name in FUSED_EVERYWHERE and "fused" not in parameters and wants_default:
        parameters["fused"] = device.type in ("cuda", "cpu", "mps")
    try:
        groups = _group(model, component.groups, places or {}) + _own_group(loss, constructor)
        if not groups:
            raise ConfigError(
                "nothing of the model is trained: it has no parameters, or all of them are frozen (model.freeze, "
                "requires_grad)"
            )
        return constructor(groups, **parameters)
    except (ValueError, RuntimeError) as error:  # the second for implementations that exclude each other
        raise ConfigError(f"optimizer: {component.name}: {error}") from error


def layered(groups: Mapping[str, float | list[float]]) -> list[str]:
    """The parts whose factor differs between their layers."""
    return [part for part, factor in groups.items() if isinstance(factor, list)]


def _group(
    model: nn.Module, groups: Mapping[str, float | list[float]], places: Mapping[str, float]
) -> list[Any]:
    """The trainable parameters, in groups if there are some; of two groups for a parameter, that of the longer name."""
    trainable = [(each, names) for each, names in parameters_with_names(model) if each.requires_grad]
    if not groups:
        return [{"params": [each for each, _ in trainable]}] if trainable else []
    require_parts(model, groups, key="optimizer.groups")
    found: dict[tuple[str, float], list[nn.Parameter]] = {}
    for parameter, names in trainable:
        part = find_part(names, groups) or ""
        factor = groups.get(part, 1.0)
        if isinstance(factor, list):  # between the first layer and the last on a geometric line
            first, last = factor
            within = next(name for name in names if is_within(name, part))
            factor = first * (last / first) ** places[within]
        found.setdefault((part, factor), []).append(parameter)
    for part in groups:
        if not any(filled == part for filled, _ in found):
            raise ConfigError(
                f"optimizer.groups: no parameter of '{part}' is trained in this group: it is frozen, or other groups "
                "are more exact -> remove it"
            )
    order = {part: number for number, part in enumerate(("", *groups))}
    return [
        {"params": found[part, factor], "lr_factor": factor}
        for part, factor in sorted(found, key=lambda key: (order[key[0]], key[1]))
    ]


def _own_group(loss: nn.Module | None, constructor: Callable[..., Any]) -> list[Any]:
    """What a loss learns itself, such as the weights of its terms. Decay would pull that to a value of no meaning."""
    learnt = [] if loss is None else [each for each in loss.parameters() if each.requires_grad]
    no_decay = {"weight_decay": 0.0} if "weight_decay" in inspect.signature(constructor).parameters else {}
    return [{"params": learnt, **no_decay}] if learnt else []
