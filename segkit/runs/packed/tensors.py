"""Tensors by name as the bytes of a safetensors file, and back: a format that holds numbers and cannot hold code."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from segkit.errors import CheckpointError, ConfigError

INSTALL = "pip install 'segkit[weights]'"


def require_safetensors(what: str) -> None:
    """Raises ConfigError, saying how to install it, where safetensors is missing; `what` needs it."""
    try:
        import safetensors.torch  # noqa: F401  an extra
    except ImportError as error:
        raise ConfigError(
            f"{what} needs safetensors, which cannot be imported ({error}) -> {INSTALL}"
        ) from error


def to_bytes(tensors: Mapping[str, Any], *, origin: object) -> bytes:
    """The file with these tensors; the same tensors give the same bytes. Raises ConfigError for a state that has
    something else among them; `origin` names it. `require_safetensors` comes before."""
    from safetensors.torch import save  # an extra

    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise ConfigError(
                f"{origin}: '{name}' of its model is a {type(value).__name__}, and a packed run holds tensors alone "
                "-> keep it as a buffer of the model, or hand the checkpoint over"
            )
    # Copies, since two names of one tensor would be refused, and so would another memory format than torch's plain one.
    plain = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    return save(plain, metadata={"format": "pt"})


def from_bytes(content: bytes, *, origin: object) -> dict[str, Tensor]:
    """The tensors in a file. Raises CheckpointError for one that cannot be read. `require_safetensors` comes before."""
    from safetensors import SafetensorError  # an extra
    from safetensors.torch import load

    try:
        return load(content)
    except SafetensorError as error:
        raise CheckpointError(f"packed run {origin}: its weights cannot be read ({error})") from error
