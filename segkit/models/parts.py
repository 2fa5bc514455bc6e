"""Parts of a network, named by how the names of their parameters begin: `backbone`, or `backbone.layer4`."""

from collections.abc import Iterable, Sequence

from torch import nn

from segkit.errors import ConfigError


def is_within(name: str, part: str) -> bool:
    """Whether a module or a parameter of that name is the part or lies in it."""
    return name == part or name.startswith(f"{part}.")


def find_part(names: Iterable[str], parts: Iterable[str]) -> str | None:
    """Which of the parts a parameter of these names is in; of several the one with the longest name."""
    names = list(names)
    return max(
        (part for part in parts if any(is_within(name, part) for name in names)), key=len, default=None
    )


def parameters_with_names(model: nn.Module) -> list[tuple[nn.Parameter, list[str]]]:
    """Each parameter once, with its names: several where layers share it."""
    found: dict[int, tuple[nn.Parameter, list[str]]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found.setdefault(id(parameter), (parameter, []))[1].append(name)
    return list(found.values())


def require_parts(model: nn.Module, parts: Iterable[str], *, key: str) -> None:
    """Raises ConfigError for a part that has no parameter, naming the option `key`."""
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    for part in parts:
        if not any(is_within(name, part) for name in names):
            there = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
            raise ConfigError(
                f"{key}: the model has no part '{part}' -> one of {there}, or a part of them such as "
                f"{names[0].rpartition('.')[0] or names[0]}"
            )


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Leave these parts as they are, in place: their parameters are not trained, and their modules stay in evaluation
    mode, so that batch normalisation neither uses nor changes statistics of a batch there. What a part shares with
    another one is frozen in both.

    Raises ConfigError for a part that the model does not have, or if nothing is left to train.
    """
    require_parts(model, parts, key="model.freeze")
    for parameter, names in parameters_with_names(model):
        if find_part(names, parts) is not None:
            parameter.requires_grad_(False)
    if parts and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            f"model.freeze: {', '.join(parts)} is the whole model, and nothing is left to train"
        )
    for name, module in model.named_modules(remove_duplicate=False):
        if find_part([name], parts) is not None:
            module.eval()
            # `train` of the whole model calls that of every part.
            module.__dict__["train"] = _stay


def _stay(mode: bool = True) -> None:
    """In place of a frozen module's `train`."""
