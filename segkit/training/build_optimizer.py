"""The optimizer of a configuration, over the parameters of a model."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from segkit.config.schema import OptimizerBlock
from segkit.errors import ConfigError
from segkit.models.parts import is_within, require_parts
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
    sharded: bool = False,
) -> torch.optim.Optimizer:
    """The named optimizer over the trainable parameters, fused where torch has such a kernel.

    Each of the `groups` is a parameter group of its own, whose `lr_factor` the learning rate is multiplied by, and what
    is in none of them is the first. Parameters of a `loss`, if it has some, are a group as well, without weight decay.
    Raises ConfigError for a group that the model has no parameters for.
    """
    constructor = OPTIMIZERS.get(component.name)
    parameters = {name: value for name, value in component.params.items() if value is not None}
    wants_default = not parameters.get("foreach") and not parameters.get("differentiable")
    wants_default = wants_default and not (sharded and component.name in WHOLE_ONLY)
    if component.name in FUSED_EVERYWHERE and "fused" not in parameters and wants_default:
        parameters["fused"] = device.type in ("cuda", "cpu", "mps")
    try:
        return constructor(_group(model, component.groups) + _own_group(loss, constructor), **parameters)
    except ValueError as error:
        raise ConfigError(f"optimizer: {component.name}: {error}") from error


def _group(model: nn.Module, groups: Mapping[str, float]) -> list[Any]:
    """The trainable parameters, in groups if there are some; of two groups for a parameter, that of the longer name."""
    trainable = {name: each for name, each in model.named_parameters() if each.requires_grad}
    if not groups:
        return [{"params": list(trainable.values())}] if trainable else []
    require_parts(model, groups, key="optimizer.groups")
    by_part: dict[str, list[nn.Parameter]] = {part: [] for part in ("", *groups)}
    for name, parameter in trainable.items():
        by_part[max((part for part in groups if is_within(name, part)), key=len, default="")].append(
            parameter
        )
    for part in groups:
        if not by_part[part]:
            raise ConfigError(
                f"optimizer.groups: no parameter of '{part}' is trained in this group: it is frozen, or other groups "
                "are more exact -> remove it"
            )
    factors = {"": 1.0, **groups}
    return [{"params": found, "lr_factor": factors[part]} for part, found in by_part.items() if found]


def _own_group(loss: nn.Module | None, constructor: Callable[..., Any]) -> list[Any]:
    """What a loss learns itself, such as the weights of its terms. Decay would pull that to a value of no meaning."""
    learnt = [] if loss is None else [each for each in loss.parameters() if each.requires_grad]
    no_decay = {"weight_decay": 0.0} if "weight_decay" in inspect.signature(constructor).parameters else {}
    return [{"params": learnt, **no_decay}] if learnt else []
