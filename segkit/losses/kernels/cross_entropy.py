"""Cross-entropy of every pixel from logits of any size, by the backend that fits."""

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from segkit.losses.kernels.banded import banded_cross_entropy
from segkit.losses.kernels.choice import choose_backend
from segkit.losses.kernels.direct import direct_cross_entropy
from segkit.losses.kernels.labels import LabelError, Labels, read_labels, valid_pixels
from segkit.losses.kernels.reference import reference_cross_entropy

if TYPE_CHECKING:
    from segkit.losses.kernels.cpu.borders import FindThreshold
    from segkit.losses.kernels.cpu.criteria import Criterion


class PixelCrossEntropy(NamedTuple):
    """`ce` (N, *spatial): -log p of the true class, with gradient to the logits, 0 at ignored pixels; fp32, for fp64
    logits fp64. `wrong` (N, *spatial) bool: valid pixels of which another class is more probable than the true one."""

    ce: Tensor
    wrong: Tensor


def upsampled_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int,
    backend: str = "auto",
    labels: Labels | None = None,
) -> PixelCrossEntropy:
    """Cross-entropy of every pixel of logits that are resized bilinearly (align_corners=False) to the target's size.

    `logits` (N, C, h, w) floating point; `target` (N, H, W) class ids of any integer dtype, already checked; `labels`
    what is read of them, where that is known already. Ignored pixels have ce 0 and exactly zero gradient, even where
    their logits are NaN; at a valid pixel NaN gives NaN. The backends (see `choose_backend`, also for errors) agree up
    to rounding, and each gives the same bits every time; all but `reference` can be differentiated once. `reference`,
    `direct` and `numba` also take the other numbers of dimensions of `F.cross_entropy`, (N, C) to volumes, at equal
    sizes.
    """
    chosen = choose_backend(backend, logits, target)
    if chosen == "numba":
        ce, wrong, _ = numba_cross_entropy(logits, target, ignore_index=ignore_index)
        return PixelCrossEntropy(ce, wrong)
    if chosen == "triton":
        # Not at the top: importing segkit must work without Triton, and be quick.
        from segkit.losses.kernels.triton_cross_entropy import triton_cross_entropy

        return PixelCrossEntropy(*triton_cross_entropy(logits, target, ignore_index=ignore_index))
    if chosen == "direct":
        return PixelCrossEntropy(*direct_cross_entropy(logits, labels or read_labels(target, ignore_index)))
    compute = banded_cross_entropy if chosen == "banded" else reference_cross_entropy
    return PixelCrossEntropy(*compute(logits, target, ignore_index=ignore_index))


def numba_cross_entropy(
    logits: Tensor, target: Tensor, *, ignore_index: int
) -> tuple[Tensor, Tensor, Tensor]:
    """ce, wrong and valid (N, *spatial) by the backend `numba`, for which the target need not be checked or read.
    Raises LabelError."""
    from segkit.losses.kernels.cpu.cross_entropy import fused_cross_entropy  # imports numba

    ce, wrong, valid, n_broken = fused_cross_entropy(logits, target, ignore_index=ignore_index)
    _check_labels(n_broken, logits, target, ignore_index)
    return ce, wrong, valid


def numba_criterion(
    logits: Tensor, target: Tensor, criterion: "Criterion", *, ignore_index: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The value of each pixel by a criterion, and ce (without gradient), wrong and valid as above: (N, *spatial) each.
    Raises LabelError."""
    from segkit.losses.kernels.cpu.cross_entropy import fused_criterion  # imports numba

    value, rest = fused_criterion(logits, target, criterion, ignore_index=ignore_index)
    _check_labels(rest.n_broken, logits, target, ignore_index)
    return value, rest.ce, rest.wrong, rest.valid


def numba_soft_counts(
    logits: Tensor, target: Tensor, mass: Tensor | None, *, ignore_index: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """counts (4, C), ce, wrong and valid (N, *spatial) of `fused_counts`. Raises LabelError."""
    from segkit.losses.kernels.cpu.soft_counts import fused_counts  # imports numba

    counts, ce, wrong, valid, n_broken = fused_counts(logits, target, mass, ignore_index=ignore_index)
    _check_labels(n_broken, logits, target, ignore_index)
    return counts, ce, wrong, valid


def numba_lovasz(
    logits: Tensor, target: Tensor, mass: Tensor | None, *, ignore_index: int, absent: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """losses and present (C,), ce, wrong and valid (N, *spatial) of `fused_lovasz`. Raises LabelError."""
    from segkit.losses.kernels.cpu.lovasz import fused_lovasz  # imports numba

    *found, n_broken = fused_lovasz(logits, target, mass, ignore_index=ignore_index, absent=absent)
    _check_labels(n_broken, logits, target, ignore_index)
    losses, present, ce, wrong, valid = found
    return losses, present, ce, wrong, valid


def numba_borders(
    logits: Tensor,
    target: Tensor,
    distance: Tensor,
    find_threshold: "FindThreshold",
    *,
    label_smoothing: float,
    max_distance: float,
    ignore_index: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """value, ce, wrong, valid and counted (N, H, W) of `fused_borders`. Raises LabelError."""
    from segkit.losses.kernels.cpu.borders import fused_borders  # imports numba

    *pixels, n_broken = fused_borders(
        logits,
        target,
        distance,
        find_threshold,
        label_smoothing=label_smoothing,
        max_distance=max_distance,
        ignore_index=ignore_index,
    )
    _check_labels(n_broken, logits, target, ignore_index)
    value, ce, wrong, valid, counted = pixels
    return value, ce, wrong, valid, counted


def _check_labels(n_broken: int, logits: Tensor, target: Tensor, ignore_index: int) -> None:
    if n_broken:
        raise LabelError(target[valid_pixels(target, ignore_index)], logits.shape[1], ignore_index)
