"""The optimizer of a configuration, over the parameters of a model."""

import torch
from torch import nn

from segkit.config.schema import Component
from segkit.errors import ConfigError
from segkit.registry import OPTIMIZERS

#: Optimizers with a fused kernel on every device; for the others torch chooses.
FUSED_EVERYWHERE = ("sgd", "adam", "adamw")
#: Those whose fused kernel does not take the parameters of a sharded model.
WHOLE_ONLY = ("sgd",)


def build_optimizer(
    component: Component, model: nn.Module, device: torch.device, *, sharded: bool = False
) -> torch.optim.Optimizer:
    """The named optimizer over the trainable parameters, fused where torch has such a kernel."""
    constructor = OPTIMIZERS.get(component.name)
    parameters = {name: value for name, value in component.params.items() if value is not None}
    wants_default = not parameters.get("foreach") and not parameters.get("differentiable")
    wants_default = wants_default and not (sharded and component.name in WHOLE_ONLY)
    if component.name in FUSED_EVERYWHERE and "fused" not in parameters and wants_default:
        parameters["fused"] = device.type in ("cuda", "cpu", "mps")
    trainable = [p for p in model.parameters() if p.requires_grad]
    try:
        return constructor(trainable, **parameters)
    except ValueError as error:
        raise ConfigError(f"optimizer: {component.name}: {error}") from error
