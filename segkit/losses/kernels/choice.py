"""Which backend computes the cross-entropy of some logits, and why another cannot."""

from typing import Literal

import torch
from torch import Tensor

from segkit.errors import ConfigError

#: Names of backends in a configuration.
BackendName = Literal["auto", "reference", "banded", "triton"]
BACKENDS = ("auto", "reference", "banded", "triton")


class BackendError(ConfigError, ValueError):
    """The backend asked for cannot take these logits: a mistake in the configuration, or in the call."""


def choose_backend(backend: str, logits: Tensor, target: Tensor) -> str:
    """`reference`, `banded` or `triton` for logits (N, C, *any) and a target of class ids or soft labels.

    `auto` is `banded` on the CPU for logits of another size than the target, and else `reference`: at the target's size
    that is as fast, and `banded` only saves memory. It is never `triton` yet: its kernels are tested in Triton's
    interpreter and have not run on a GPU, so they are for those who ask. Raises ValueError for an unknown name,
    BackendError where the backend asked for cannot do it.
    """
    check_backend(backend)
    if backend == "auto":
        return _choose(logits, target)
    reason = refuse_backend(backend, logits, target)
    if reason is not None:
        raise BackendError(f"backend: {backend}, but {reason} -> backend: auto")
    return backend


def check_backend(backend: str) -> str:
    """Raises ValueError unless it is the name of a backend, or `auto`."""
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    return backend


def refuse_backend(backend: str, logits: Tensor, target: Tensor) -> str | None:
    """Why this backend cannot take these inputs, for an error's text, or None."""
    if backend == "reference":
        return None
    if target.is_floating_point():
        return "it takes class ids, and the target is soft labels"
    if logits.ndim != 4:
        return f"it takes logits (N, C, h, w), got {tuple(logits.shape)}"
    return _refuse_triton(logits) if backend == "triton" else None


def _choose(logits: Tensor, target: Tensor) -> str:
    if logits.dtype == torch.float64:  # for checks, which the reference is to pass
        return "reference"
    # Measured on the CPU only; and a loop over bands is nothing to compile.
    if logits.device.type != "cpu" or torch.compiler.is_compiling():
        return "reference"
    same_size = logits.shape[2:] == target.shape[1:]
    return "reference" if same_size or refuse_backend("banded", logits, target) else "banded"


def _refuse_triton(logits: Tensor) -> str | None:
    try:
        from segkit.losses.kernels import triton_cross_entropy as kernels
    except ImportError as error:
        return f"it is not available: {error}"
    if logits.dtype not in kernels.LOGITS_DTYPES:
        return f"it takes fp32, bf16 or fp16 logits, got {logits.dtype}"
    return kernels.is_available(logits.device)
