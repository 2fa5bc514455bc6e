"""One model trained by several processes, each with its part of every batch."""

import torch
from torch import nn

from segkit.distributed.ranks import Ranks
from segkit.errors import ConfigError


def parallelise(
    model: nn.Module, ranks: Ranks, device: torch.device, *, find_unused: bool
) -> nn.Module | None:
    """The model in a wrapper that averages gradients over the processes; None for a single one.

    Unless `find_unused`, backward of the wrapped model must reach every parameter. Raises ConfigError
    for a model without any that is trained.
    """
    if ranks.world == 1:
        return None
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("the model has no parameter that is trained, so there is nothing to share")
    return ranks.average_gradients(model, find_unused=find_unused, device=device)


def require_all_gradients(model: nn.Module) -> None:
    """After backward. Raises ConfigError, naming the parameters that no loss depends on.

    torch leaves the gradients of all parameters unreduced in that iteration, without a word, and raises in the next.
    """
    unused = [name for name, each in model.named_parameters() if each.requires_grad and each.grad is None]
    if unused:
        names = ", ".join(unused[:4]) + (f" and {len(unused) - 4} more" if len(unused) > 4 else "")
        raise ConfigError(
            f"the loss does not depend on these parameters of the model: {names}\n"
            "   several processes would not train alike -> leave them out of the model (an auxiliary head: "
            "model.aux=false,\n   or train.aux_weight above 0), or train.find_unused_parameters=true"
        )


def refuse_unequal_parts(batch_size: int, world: int, key: str) -> None:
    """Raises ConfigError if the processes cannot have equal parts of a batch."""
    if batch_size % world:
        fitting = sorted({max(1, batch_size // world) * world, -(-batch_size // world) * world})
        divisors = [count for count in range(1, batch_size + 1) if batch_size % count == 0]
        raise ConfigError(
            f"{key}: {batch_size} images, which all processes together see in an update, cannot be shared equally by "
            f"{world}\n   -> {key}={' or '.join(map(str, fitting))}, or so many processes: "
            f"{', '.join(map(str, divisors))}"
        )


def synchronise_batchnorm(model: nn.Module, device: torch.device, *, wanted: bool) -> nn.Module:
    """The model, if `wanted` with batch normalisation over the batches of all processes. Raises ConfigError on a CPU,
    also for a model that has such normalisation by itself."""
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model) if wanted else model
    if device.type != "cuda" and any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
        raise ConfigError(
            f"{'train.sync_batchnorm' if wanted else 'model.norm: sync'}: torch has batch normalisation over processes "
            f"on CUDA only, and this is {device}\n   -> leave it out (each process normalises its own part), or "
            "model.norm=group"
        )
    return model
