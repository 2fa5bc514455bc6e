"""Whether what is called is written down, counted or transformed, and so must be the usual thing."""

import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode


def is_followed() -> bool:
    """Whether somebody writes down or counts what is called, to whom a usual call says more, or transforms it: neither
    `vmap` nor derivatives in forward direction know oneDNN's convolutions, or what writes into memory that is given."""
    return (
        torch.compiler.is_compiling()
        or bool(torch.jit.is_tracing())
        or _get_current_dispatch_mode() is not None
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )
