"""One model trained by several processes, each with its part of every batch."""

import sys

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from segkit.config.schema import Config
from segkit.distributed.ranks import Ranks
from segkit.distributed.shard import ShardedModel
from segkit.errors import ConfigError
from segkit.models.norms import OverwritingBatchNorm2d
from segkit.training.build_optimizer import WHOLE_ONLY

#: Optimizers that torch cannot run on parts of the weights, in any version that segkit knows.
WHOLE_WEIGHTS = ("adafactor", "rprop")


def parallelise(
    model: nn.Module, ranks: Ranks, device: torch.device, *, find_unused: bool, shard: bool = False
) -> nn.Module | None:
    """The model in a wrapper that averages gradients over the processes; None for a single one.

    With `shard` the model is cut in place: it has other parameters afterwards, of which each process holds a part.
    Unless `find_unused`, backward of the wrapped model must reach every parameter. Raises ConfigError for a model
    without any that is trained.
    """
    if ranks.world == 1:
        return None
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("the model has no parameter that is trained, so there is nothing to share")
    if shard:
        return ShardedModel(model, ranks, device)
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
            "model.aux=false,\n   or train.aux_weight above 0), or, without train.shard, "
            "train.find_unused_parameters=true"
        )


def refuse_learning_loss(loss: nn.Module, world: int) -> None:
    """Raises ConfigError for a loss with parameters in several processes, each of which would learn its own."""
    if world > 1 and any(each.requires_grad for each in loss.parameters()):
        raise ConfigError(
            f"loss: {type(loss).__name__} has parameters that it learns, and their gradients are not averaged over "
            f"{world} processes -> train in one process"
        )


def refuse_shard_with(config: Config, amp_dtype: torch.dtype | None) -> None:
    """Raises ConfigError if `train.shard` is on together with what needs whole parameters, gradients or moments."""
    if not config.train.shard:
        return
    reasons = {
        "train.ema": (config.train.ema is not None, "the moving average is of whole weights"),
        "train.compile": (
            config.train.compile,
            "the two were never tried together where compiling helps, on a GPU",
        ),
        "train.find_unused_parameters": (
            config.train.find_unused_parameters,
            "processes that lack other gradients than the rest would add up different ones",
        ),
        "train.amp": (
            amp_dtype == torch.float16,
            "fp16 scales the loss by what is found in all gradients, and that is not shared -> train.amp=bf16 or off",
        ),
        "optimizer.name": (
            config.optimizer.name in WHOLE_WEIGHTS,
            f"torch's {config.optimizer.name} does not work on parts of weights -> another one, such as adamw",
        ),
        "optimizer.fused": (
            bool(config.optimizer.params.get("fused")) and config.optimizer.name in WHOLE_ONLY,
            f"torch's fused {config.optimizer.name} does not work on parts of weights -> leave it out",
        ),
    }
    for key, (is_on, why) in reasons.items():
        if is_on:
            raise ConfigError(f"train.shard does not go together with {key}: {why}")


def refuse_shard_alone(config: Config, world: int) -> None:
    """Raises ConfigError if there is one process to spread a model over."""
    if config.train.shard and world == 1:
        raise ConfigError(
            "train.shard spreads the model over several processes, and this run has one, which keeps all of it\n"
            "   -> torchrun --nproc-per-node 2 (or more) train.py, or train.shard=false"
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
    also for a model that has such normalisation by itself, and for a layer that would not do all that it did."""
    model = _convert_batchnorm(model) if wanted else model
    if device.type != "cuda" and any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
        raise ConfigError(
            f"{'train.sync_batchnorm' if wanted else 'model.norm: sync'}: torch has batch normalisation over processes "
            f"on CUDA only, and this is {device}\n   -> leave it out (each process normalises its own part), or "
            "model.norm=group"
        )
    return model


def _convert_batchnorm(model: nn.Module) -> nn.Module:
    """torch puts a plain layer in the place of every one that is derived from batch normalisation, and what that does
    beside it, such as the activation in timm's layers, would be missing from the training alone: a run is scored and
    exported without this conversion. timm knows its own layers. Raises ConfigError for those of others."""
    # Ours overwrites in predictions alone, which are made without the conversion.
    plain = (_BatchNorm.forward, nn.SyncBatchNorm.forward, OverwritingBatchNorm2d.forward)
    more = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and type(module).forward not in plain
    }
    if not more:
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    known = () if "timm.layers" not in sys.modules else (sys.modules["timm.layers"].BatchNormAct2d,)
    for name, module in more.items():
        if type(module) not in known:
            raise ConfigError(
                f"train.sync_batchnorm: {name} of the model is of the class {type(module).__name__}, which does more "
                "than batch normalisation, and that would be lost\n   -> train.sync_batchnorm=false"
            )
    return sys.modules["timm.layers"].convert_sync_batchnorm(model)
