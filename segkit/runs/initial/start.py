"""Giving the model of an experiment the weights that its configuration says it starts from."""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from segkit.config.carried.places import refuse_unsaid_start
from segkit.config.schema import Config
from segkit.errors import CheckpointError, ConfigError
from segkit.models.parts import parameters_with_names
from segkit.registry import MODELS
from segkit.runs.initial.fit import Fit, find_heads, fit_tensors
from segkit.runs.initial.read import Source, read_source
from segkit.training.build_component import build_component, without_downloads
from segkit.training.experiment import Experiment
from segkit.training.weights import weights_replaced

#: Names of a kind that a message shows.
SHOWN = 4


def start_from(experiment: Experiment) -> list[str]:
    """Load what fits of `model.init_from` into the model of an experiment that is not trained yet, in place; returns
    the lines that say what was loaded and what was not.

    Raises CheckpointError for a file that cannot be used, and ConfigError if less than the share `model.init_least` of
    the parameters finds a weight.
    """
    config = experiment.config
    if config.model.init_from is None:
        return []
    refuse_unsaid_start(config)
    source = read_source(Path(os.path.expanduser(config.model.init_from)))
    model, data = experiment.model, experiment.data.train
    own = model.state_dict()
    fit = fit_tensors(
        own,
        source.tensors,
        heads=_heads(config, own, channels=data.channels, logits_channels=experiment.logits_channels)
        if source.class_names is not None
        else None,
        class_names=data.class_names,
        source_classes=source.class_names,
        seeing=_may_see_images(model, data.channels),
    )
    fit.missing = _without_twins(model, fit)
    _require_finite(source, fit)
    loaded, all_of_them = _count(model, fit)
    if loaded < config.model.init_least * all_of_them:
        raise ConfigError(
            f"model.init_from: of {source.path} only {loaded / all_of_them:.1%} of the parameters fit the model "
            f"{config.model.name}, and model.init_least is {config.model.init_least:.0%}\n"
            + "\n".join(f"   {line}" for line in _differences(fit))
            + "\n   -> the weights of this model with the same options, or model.init_least=0 to take what fits"
        )
    with torch.no_grad():
        for name, tensor in own.items():  # which shares its memory with the model
            if name in fit.tensors:
                tensor.copy_(fit.tensors[name])
    weights_replaced(model)
    return _describe(source, fit, loaded / all_of_them)


def _heads(
    config: Config, own: dict[str, Tensor], *, channels: int, logits_channels: int
) -> dict[str, tuple[int, ...]]:
    with torch.random.fork_rng(devices=[]):
        wider = build_component(
            MODELS,
            without_downloads(config.model),
            "model",
            total=1,
            num_classes=logits_channels + 1,
            in_channels=channels,
        )
    return find_heads(own, wider.state_dict())


def _may_see_images(model: nn.Module, channels: int) -> list[str]:
    """The names of the weights of all convolutions that take images with these channels: there may be several side by
    side, and others of as many channels behind them."""
    return [
        f"{name}.weight" if name else "weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == channels and module.groups == 1
    ]


def _without_twins(model: nn.Module, fit: Fit) -> list[str]:
    """What is missing, without second names of parameters that are loaded: some formats keep only one of them."""
    loaded = {
        name
        for _, names in parameters_with_names(model)
        if any(each in fit.tensors for each in names)
        for name in names
    }
    return [name for name in fit.missing if name not in loaded]


def _require_finite(source: Source, fit: Fit) -> None:
    for name, tensor in fit.tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"model.init_from: '{name}' of {source.path} is not finite")


def _count(model: nn.Module, fit: Fit) -> tuple[int, int]:
    """How many parameters (numbers, not tensors) are loaded, and how many there are."""
    sizes = [(parameter.numel(), names) for parameter, names in parameters_with_names(model)]
    loaded = sum(size for size, names in sizes if any(name in fit.tensors for name in names))
    return loaded, max(1, sum(size for size, _ in sizes))


def _describe(source: Source, fit: Fit, share: float) -> list[str]:
    renamed = f", {fit.renamed}" if fit.renamed else ""
    count = f"{len(fit.tensors):,} of {len(fit.tensors) + len(fit.missing) + len(fit.shape):,} tensors"
    lines = [f"weights   from {source.path}: {count}, {share:.1%} of the parameters{renamed}"]
    return [*lines, *(f"          {line}" for line in _differences(fit))]


def _differences(fit: Fit) -> list[str]:
    lines = [f"adapted: {text}" for text in fit.adapted]
    if fit.classes is not None:
        new = f"; new: {', '.join(fit.new_classes)}" if fit.new_classes else ""
        lines.append(f"classes by name: {', '.join(fit.classes) or 'none'}{new}")
    for what, names in (
        ("of another shape", fit.shape),
        ("missing there", fit.missing),
        ("not in the model", fit.unexpected),
    ):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            lines.append(f"{what}: {', '.join(names[:SHOWN])}{more}")
    return lines
