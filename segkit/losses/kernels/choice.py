"""Which backend computes the cross-entropy of some logits, and why another cannot."""

import functools
import warnings
from typing import Literal

import torch
from torch import Tensor

from segkit.errors import ConfigError
from segkit.losses.kernels.cpu.available import INSTALL, refuse_numba

#: Names of backends in a configuration.
BackendName = Literal["auto", "reference", "direct", "banded", "numba", "triton"]
BACKENDS = ("auto", "reference", "direct", "banded", "numba", "triton")

#: `auto` takes `numba` for so many logits at the label's size. Loading the kernels takes half a second in each process,
#: compiling them the first time a quarter of a minute, and with fewer logits the loss is a hundredth of an update.
WORTH_COMPILING = 2**20


class BackendError(ConfigError, ValueError):
    """The backend asked for cannot take these logits: a mistake in the configuration, or in the call."""


def choose_backend(backend: str, logits: Tensor, target: Tensor) -> str:
    """`reference`, `direct`, `banded`, `numba` or `triton` for logits (N, C, *any) and a target of class ids or soft
    labels.

    `auto` is `triton` on an NVIDIA GPU where its kernels run (`triton_runs`) and, for at least WORTH_COMPILING logits,
    `numba` on a CPU where numba is installed and compiles its kernels. Else it is `banded` on a CPU for logits of
    another size than the target, and `direct`, which is faster where nothing is resized. It is `reference` for fp64,
    and inside torch.compile, which fuses what it is made of. Raises ValueError for an unknown name, BackendError where
    the backend asked for cannot do it.
    """
    check_backend(backend)
    if backend == "auto":
        return _choose(logits, target)
    reason = refuse_backend(backend, logits, target)
    if reason is not None:
        raise BackendError(f"backend: {backend}, but {reason} -> {_remedy(backend, 'backend')}")
    return backend


def check_backend(backend: str) -> str:
    """Raises ValueError unless it is the name of a backend, or `auto`."""
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    return backend


def check_device(backend: str, device: torch.device, *, key: str) -> None:
    """Raises BackendError, which names the `key` of the configuration, for a backend that does not run on this device,
    whatever it is given."""
    refuse = {"triton": _refuse_triton, "numba": _refuse_numba}.get(backend)
    reason = None if refuse is None else refuse(device)
    if reason is not None:
        raise BackendError(f"{key}: {backend}, but {reason} -> {_remedy(backend, key)}")


def refuse_backend(backend: str, logits: Tensor, target: Tensor) -> str | None:
    """Why this backend cannot take these inputs, for an error's text, or None."""
    if backend == "reference":
        return None
    if target.is_floating_point():
        return "it takes class ids, and the target is soft labels"
    if backend == "direct":
        return None
    same_size = logits.shape[2:] == target.shape[1:]
    if logits.ndim != 4 and not (backend == "numba" and same_size):
        return f"it takes logits (N, C, h, w), got {tuple(logits.shape)}"
    if backend == "numba":
        return _refuse_numba(logits.device, logits.dtype)
    if backend == "banded":
        return None
    return _refuse_triton(logits.device, logits.dtype) or _refuse_sizes(logits, target)


def triton_runs(device: torch.device) -> bool:
    """Whether Triton's kernels are taken by themselves on `device`: on an NVIDIA GPU where they were seen to run, and
    not while torch.compile traces. They are tried once, and where they fail the reason is given as a warning."""
    if torch.compiler.is_compiling() or device.type != "cuda" or torch.version.cuda is None:
        return False
    return _refuse_triton(device) is None and _try_triton(device)


@functools.cache
def _try_triton(device: torch.device) -> bool:
    from segkit.losses.kernels import triton_cross_entropy, triton_sums

    try:
        triton_cross_entropy.run_once(device)
        triton_sums.try_known_case(device)
    except Exception as error:  # no C compiler, a driver or a GPU that is too old ...: there is another way
        reason = " ".join(str(error).split())[:300]
        text = (
            f"Triton's kernels do not run on {device} ({type(error).__name__}: {reason}) -> backend: direct"
        )
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return False
    return True


def _choose(logits: Tensor, target: Tensor) -> str:
    # fp64 is for checks, second derivatives among them.
    if target.is_floating_point() or logits.dtype == torch.float64 or torch.compiler.is_compiling():
        return "reference"
    if triton_runs(logits.device) and refuse_backend("triton", logits, target) is None:
        return "triton"
    resized = logits.shape[2:] != target.shape[1:]
    enough = target.numel() * logits.shape[1] >= WORTH_COMPILING
    if enough and refuse_backend("numba", logits, target) is None and _try_losses(resized):
        return "numba"
    # Many small operations, which suit a CPU.
    return "banded" if resized and logits.ndim == 4 and logits.device.type == "cpu" else "direct"


def numba_runs(pixels: Tensor) -> bool:
    """Whether the compiled search for the hardest pixels is taken by itself for losses like `pixels`: fp32 on a CPU
    where numba is installed and compiles it. It is tried once, and where it fails the reason is given as a warning."""
    if pixels.dtype != torch.float32 or _refuse_numba(pixels.device) is not None:
        return False
    return _try_numba("hardest_kernels", "search for the hardest pixels", "they are found without")


def numba_compiles(values: Tensor, kernels: str, what: str) -> bool:
    """Whether the compiled `kernels` (their name in `cpu.compiled`) are taken by themselves for numbers like `values`:
    fp32 on a CPU where numba is installed and compiles them. They are tried once, and where they fail the reason is
    given as a warning that says `what` is computed in plain PyTorch."""
    if values.dtype != torch.float32 or _refuse_numba(values.device) is not None:
        return False
    return _try_numba(kernels, what, "they are computed in plain PyTorch")


def counts_by_numba(logits: Tensor, target: Tensor) -> bool:
    """Whether what overlaps of soft regions is summed by compiled loops: where `auto` would be `numba` for logits of
    the target's size, which others are resized to first."""
    return _regions_by_numba(logits, target) and _try_numba(
        "soft_count_kernels", "losses of regions", "they are computed without"
    )


def borders_by_numba(logits: Tensor, target: Tensor) -> bool:
    """Whether the active boundary loss is computed by compiled loops: on images, where sums of regions would be."""
    if target.is_floating_point() or torch.compiler.is_compiling() or target.ndim != 3:
        return False
    if target.numel() * logits.shape[1] < WORTH_COMPILING or _refuse_numba(logits.device, logits.dtype):
        return False
    kernels = "border_kernels", "hardest_kernels"
    return all(_try_numba(name, "active boundary loss", "it is computed without") for name in kernels)


def lovasz_by_numba(logits: Tensor, target: Tensor) -> bool:
    """Whether the Lovasz extension is found by compiled loops: where sums of regions would be."""
    if not _regions_by_numba(logits, target) or target.numel() >= 2**31:
        return False
    return _try_numba("lovasz_kernels", "Lovasz extension", "it is found without")


def _regions_by_numba(logits: Tensor, target: Tensor) -> bool:
    if target.is_floating_point() or torch.compiler.is_compiling() or target.ndim != logits.ndim - 1:
        return False
    if logits.shape[2:] != target.shape[1:] and logits.ndim != 4:
        return False
    enough = target.numel() * logits.shape[1] >= WORTH_COMPILING
    return enough and _refuse_numba(logits.device, logits.dtype) is None


@functools.cache
def _try_numba(kernels: str, what: str, instead: str) -> bool:
    """Whether numba compiles the kernels of that name: where it does not, the reason is given as a warning, once."""
    try:
        from segkit.losses.kernels.cpu import compiled

        getattr(compiled, kernels)()
    except (
        Exception
    ) as error:  # a numba that does not fit to this Python, NumPy or processor: there is another way
        reason = " ".join(str(error).split())[:300]
        text = f"numba does not compile the {what} here ({type(error).__name__}: {reason}) -> {instead}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return False
    return True


def _try_losses(resized: bool) -> bool:
    name, instead = ("resized_kernels", "banded") if resized else ("same_size_kernels", "direct")
    return _try_numba(name, "losses", f"backend: {instead}")


def _refuse_numba(device: torch.device, dtype: torch.dtype = torch.float32) -> str | None:
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"it takes fp32, bf16 or fp16 logits, got {dtype}"
    if torch.compiler.is_compiling():
        return "it cannot be traced by torch.compile"
    if device.type != "cpu":
        return f"it runs on a CPU, and these logits are on {device.type}"
    return refuse_numba()


def _remedy(backend: str, key: str) -> str:
    return INSTALL if backend == "numba" and refuse_numba() is not None else f"{key}: auto"


def _refuse_triton(device: torch.device, dtype: torch.dtype = torch.float32) -> str | None:
    try:
        from segkit.losses.kernels import triton_cross_entropy as kernels
    except ImportError as error:
        return f"it is not available: {error}"
    if dtype not in kernels.LOGITS_DTYPES:
        return f"it takes fp32, bf16 or fp16 logits, got {dtype}"
    return kernels.is_available(device)


def _refuse_sizes(logits: Tensor, target: Tensor) -> str | None:
    from segkit.losses.kernels.triton_cross_entropy import refuse_sizes

    return refuse_sizes(logits, target)
