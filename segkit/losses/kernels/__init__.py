"""The one heavy operation of a pixel loss, in several ways (backends) that give the same value.

`reference`: resize, then log_softmax. `direct`: the same with the gradient in closed form. `banded`: plain PyTorch, a
band of rows at a time, so that nothing of the size of the resized logits is ever there. `numba`: compiled loops that
fuse all of it on a CPU. `triton`: the same on a GPU. `auto`: the one that fits.

They agree up to rounding and are deterministic each, so a run that is to be repeated or resumed to the bit needs the
same backend, and with `auto` the same kind of device.
"""

from segkit.losses.kernels.choice import (
    BACKENDS,
    BackendError,
    BackendName,
    borders_by_numba,
    check_backend,
    check_device,
    choose_backend,
    counts_by_numba,
    lovasz_by_numba,
    numba_runs,
    triton_runs,
)
from segkit.losses.kernels.cross_entropy import (
    PixelCrossEntropy,
    numba_borders,
    numba_criterion,
    numba_cross_entropy,
    numba_lovasz,
    numba_soft_counts,
    upsampled_cross_entropy,
)

__all__ = [
    "BACKENDS",
    "BackendError",
    "BackendName",
    "PixelCrossEntropy",
    "borders_by_numba",
    "check_backend",
    "check_device",
    "choose_backend",
    "counts_by_numba",
    "lovasz_by_numba",
    "numba_borders",
    "numba_criterion",
    "numba_cross_entropy",
    "numba_lovasz",
    "numba_runs",
    "numba_soft_counts",
    "triton_runs",
    "upsampled_cross_entropy",
]
