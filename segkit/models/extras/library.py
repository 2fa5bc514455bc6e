"""What the models of other libraries have in common: the import, their options, and sizes that they cannot take."""

import difflib
import importlib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from segkit.errors import ConfigError
from segkit.system.memory import lacks_memory


def import_library(module: str, *, model: str, package: str) -> ModuleType:
    """The library that a model is from. Raises ConfigError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"model.name: {model} needs {package}, which cannot be imported ({error}) -> pip install 'segkit[{model}]'"
        ) from error


def require_options(
    options: Mapping[str, Any], function: Callable[..., Any], *, taken: Collection[str], what: str
) -> None:
    """Raises ConfigError for `model.options` that the library's function has no parameter for, or that segkit gives
    itself (`taken`)."""
    known = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD and name not in (*taken, "self")
    ]
    for name in options:
        if name in taken:
            raise ConfigError(f"model.options: {name} of {what} is given by segkit -> remove it")
        if name not in known:
            raise ConfigError(f"model.options: {what} has no option '{name}'{_nearest(name, known)}")


def require_name(name: str, known: Iterable[str], *, key: str, what: str) -> None:
    """Raises ConfigError for a name that the library does not know."""
    known = list(known)
    if name not in known:
        raise ConfigError(f"{key}: {what} has no '{name}'{_nearest(name, known)}")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    if close:
        return f", did you mean {' or '.join(close)}?"
    return f" -> {', '.join(known[:12])}{' ...' if len(known) > 12 else ''}"


def built(build: Callable[[], Any], *, what: str, pretrained: bool) -> Any:
    """What the library builds. What it raises for its options, or where a download fails, becomes a ConfigError."""
    try:
        return build()
    except (
        ValueError,
        TypeError,
        KeyError,
        AssertionError,
        RuntimeError,
        OSError,
    ) as error:
        if lacks_memory(error):
            raise
        advice = " -> model.weights=none, or bring the file there by hand" if pretrained else ""
        raise ConfigError(f"model: {what} cannot be built: {error}{advice}") from error


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Images (N, C, H, W) with rows below and columns on the right, 0 after normalisation, to multiples of that."""
    height, width = image.shape[-2:]
    below, beside = -height % multiple, -width % multiple
    return F.pad(image, (0, beside, 0, below)) if below or beside else image


def cut_to(logits: Tensor, size: Sequence[int], padded: Sequence[int]) -> Tensor:
    """Logits (N, K, h, w) of padded images, without those that lie beyond images of `size` (H, W)."""
    # Rounded up without a negative number, which an exported ONNX file rounds towards zero (findings/ has a program).
    height, width = (
        (own * there + whole - 1) // whole
        for own, there, whole in zip(size, logits.shape[-2:], padded, strict=True)
    )
    return logits[..., :height, :width]
