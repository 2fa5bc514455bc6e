"""Cross-entropy of every pixel from logits at the model's stride, as one operation on the GPU, by Triton.

Neither the resized logits nor their softmax ever exist: the forward leaves two numbers per pixel, and the backward
computes the rest anew. The memory of the step is the logits', their gradient's and 9 bytes per pixel. Both directions
are operators of torch.library, so that torch.compile keeps a full graph and CUDA graphs capture them; nothing waits
for the device, and there are no atomics, so that two runs are bitwise equal.

The loop over classes with a running logsumexp is the online softmax (Milakov & Gimelshein 2018, arXiv:1805.02867); to
recompute in the backward from the saved logsumexp is FlashAttention's (Dao et al. 2022, arXiv:2205.14135).

Triton is imported with the first call, not before: importing segkit must work, and be quick, without it.
"""

import contextlib
import importlib.util
import os
from typing import Any

import torch
from torch import Tensor

#: Looked up once, and not in `is_available`, which torch.compile traces through.
INSTALLED = importlib.util.find_spec("triton") is not None

#: What the kernels read; they compute in fp32. fp64 logits are for the reference.
LOGITS_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def is_available(device: torch.device) -> str | None:
    """Why the kernels cannot run on `device`, for an error's text; None if they can.

    TRITON_INTERPRET=1, set before Triton is imported, runs them on the CPU, very slowly: for tests.
    """
    if not INSTALLED:
        return "Triton is not installed (pip install triton)"
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"Triton needs a CUDA device, these logits are on {device.type}"
    return None


def refuse_sizes(logits: Tensor, target: Tensor) -> str | None:
    """Why the kernels cannot take logits (N, C, h, w) and class ids (N, H, W) of these sizes, or None."""
    if logits.numel() == 0 or target.numel() == 0:
        return f"there is nothing to compute: logits {tuple(logits.shape)}, target {tuple(target.shape)}"
    # The kernels place pixels in int32 (triton_geometry.py).
    if max(logits.shape[2] * target.shape[1], logits.shape[3] * target.shape[2]) >= 2**29:
        return (
            f"it takes images up to 23170 x 23170, got logits {tuple(logits.shape)} and target "
            f"{tuple(target.shape)}"
        )
    return None


def run_once(device: torch.device) -> None:
    """Compile and launch a kernel on two pixels. Raises whatever goes wrong."""
    from segkit.losses.kernels.triton_forward import launch_forward

    with launching_on(device):
        logits = torch.zeros(1, 2, 1, 2, device=device)
        launch_forward(logits, torch.zeros(1, 1, 2, dtype=torch.uint8, device=device), 255)
        if device.type == "cuda":
            torch.cuda.synchronize(device)


def triton_cross_entropy(logits: Tensor, target: Tensor, *, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Cross-entropy of every pixel, and whether another class is more probable than the true one.

    `logits` (N, C, h, w) fp32, bf16 or fp16, with any strides; `target` (N, H, W) class ids of any integer dtype and of
    any size: the logits are resized to it as by `F.interpolate(mode="bilinear", align_corners=False)`. Returns ce
    (N, H, W) fp32, with gradient to the logits, and wrong (N, H, W) bool, where the largest logit exceeds the true one.

    At ignored pixels ce is 0, wrong is False and the gradient exactly zero, even where logits are NaN. A NaN at a valid
    pixel gives NaN; so does a label that is neither a class nor `ignore_index`, since looking would make the host wait.
    Raises ValueError for shapes, dtypes and devices that do not fit.
    """
    _check(logits, target)
    ce, _, wrong = _forward(logits, target, ignore_index)
    return ce, wrong


def _check(logits: Tensor, target: Tensor) -> None:
    reason = is_available(logits.device)
    if reason is not None:
        raise ValueError(f"{reason} -> backend: auto")
    if logits.dtype not in LOGITS_DTYPES or logits.ndim != 4:
        raise ValueError(
            f"the Triton kernels take fp32, bf16 or fp16 logits (N, C, h, w), got {logits.dtype} "
            f"{tuple(logits.shape)} -> backend: reference"
        )
    if target.is_floating_point() or target.ndim != 3 or target.shape[0] != logits.shape[0]:
        raise ValueError(
            f"the Triton kernels take class ids (N, H, W), got {target.dtype} {tuple(target.shape)} for logits "
            f"{tuple(logits.shape)} -> backend: reference"
        )
    if target.device != logits.device:
        raise ValueError(f"the target is on {target.device} but the logits on {logits.device}")
    reason = refuse_sizes(logits, target)
    if reason is not None:
        raise ValueError(f"backend: triton, but {reason} -> backend: reference")


@torch.library.custom_op("segkit::upsampled_cross_entropy", mutates_args=())
def _forward(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    from segkit.losses.kernels.triton_forward import launch_forward

    with launching_on(logits.device):
        return launch_forward(logits, target.contiguous(), ignore_index)


@_forward.register_fake
def _(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    ce = torch.empty(target.shape, dtype=torch.float32, device=logits.device)
    return ce, torch.empty_like(ce), torch.empty_like(ce, dtype=torch.bool)


@torch.library.custom_op("segkit::upsampled_cross_entropy_backward", mutates_args=())
def _backward(grad_ce: Tensor, logits: Tensor, target: Tensor, lse: Tensor, ignore_index: int) -> Tensor:
    from segkit.losses.kernels.triton_backward import launch_backward

    with launching_on(logits.device):
        return launch_backward(grad_ce.contiguous(), logits, target.contiguous(), lse, ignore_index)


@_backward.register_fake
def _(grad_ce: Tensor, logits: Tensor, target: Tensor, lse: Tensor, ignore_index: int) -> Tensor:
    return torch.empty_like(logits)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, target, ctx.ignore_index = inputs
    _, lse, wrong = output
    ctx.mark_non_differentiable(lse, wrong)
    ctx.set_materialize_grads(False)  # else zeros for these are made, of the target's size
    ctx.save_for_backward(logits, target, lse)


def _differentiate(ctx: Any, grad_ce: Tensor, grad_lse: None, grad_wrong: None) -> tuple[Tensor, None, None]:
    return _backward(grad_ce, *ctx.saved_tensors, ctx.ignore_index), None, None


_forward.register_autograd(_differentiate, setup_context=_save)


def launching_on(device: torch.device) -> contextlib.AbstractContextManager:
    """Triton launches on the current device, which need not be the tensors'."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
