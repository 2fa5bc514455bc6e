"""The k-th largest cross-entropy of many pixels on a GPU, by Triton: what `find_boundary` finds, in fewer steps.

Operators of torch.library, as in triton_cross_entropy.py; nothing waits for the device, `k` may be a tensor on it, and
two runs are bitwise equal. Triton is imported with the first call, not before.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from segkit.losses.kernels.triton_cross_entropy import is_available, launching_on

#: Digits of a float, as DIGITS in triton_radix.py, and bins of its histograms; there is no importing it here.
N_DIGITS, BINS, STATE_ROWS = 4, 256, 5


def find_boundary_triton(
    ce: Tensor, ranked: Tensor, k: Tensor | int, *, across: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The k-th largest `ce` of the `ranked` pixels, k but not more than there are, and how many are above and equal.

    `ce` (G, P) fp32, >= 0 (-0.0 counts as 0) and not NaN where `ranked` (G, P) bool; one row per group of pixels. `k`
    is a number, or one integer per group (G,), >= 0. All four results are (G,), the first fp32 and the others int64,
    and equal those of `selections.hardest.find_boundary` in every bit.

    `across` sums a histogram (G, 256), int64, over the processes that share the groups, and is called once for each
    of four digits. Raises ValueError for shapes, dtypes and devices that do not fit.
    """
    _check(ce, ranked, k)
    groups = len(ce)
    if isinstance(k, int):
        k = torch.full((groups,), k, dtype=torch.int64, device=ce.device)
    ce, ranked, k = ce.detach(), ranked.detach(), k.detach().to(torch.int64)
    if across is None:
        boundary, state = _find(ce, ranked, k)
    else:
        state = torch.stack([torch.zeros_like(k), k, *[torch.zeros_like(k)] * (STATE_ROWS - 2)])
        boundary = state  # until the last digit
        for digit in range(N_DIGITS):
            counts = across(_count(ce, ranked, state, digit))
            boundary, state = _choose(counts, state, digit)
    _, _, places, above, tied = state.unbind()
    return boundary, places, above, tied


def _check(ce: Tensor, ranked: Tensor, k: Tensor | int) -> None:
    reason = is_available(ce.device)
    if reason is not None:
        raise ValueError(f"{reason} -> backend: auto")
    if ce.dtype != torch.float32 or ce.ndim != 2 or ce.numel() == 0:
        raise ValueError(f"the Triton selection takes fp32 ce (G, P), got {ce.dtype} {tuple(ce.shape)}")
    if ranked.dtype != torch.bool or ranked.shape != ce.shape:
        raise ValueError(f"ranked must be bool {tuple(ce.shape)}, got {ranked.dtype} {tuple(ranked.shape)}")
    if ce.shape[1] >= 2**30:  # the kernels count the pixels of a group in int32, beyond the last block too
        raise ValueError(f"the Triton selection takes up to {2**30:,} pixels of a group, got {ce.shape[1]:,}")
    if isinstance(k, Tensor) and (k.shape != ce.shape[:1] or k.is_floating_point()):
        raise ValueError(f"k must be integers ({len(ce)},), got {k.dtype} {tuple(k.shape)}")
    for name, tensor in (("ranked", ranked), ("k", k)):
        if isinstance(tensor, Tensor) and tensor.device != ce.device:
            raise ValueError(f"{name} is on {tensor.device} but ce on {ce.device}")


@torch.library.custom_op("segkit::find_boundary", mutates_args=())
def _find(ce: Tensor, ranked: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """All digits at once: the boundary (G,) and the state (5, G)."""
    from segkit.losses.kernels import triton_radix as radix

    ce, ranked = ce.contiguous(), ranked.contiguous()
    boundary = torch.empty(len(ce), dtype=torch.float32, device=ce.device)
    state = radix.start_state(k)
    counts = torch.zeros(len(radix.DIGITS), len(ce), radix.BINS, dtype=torch.int64, device=ce.device)
    with launching_on(ce.device):
        for digit in range(len(radix.DIGITS)):
            radix.launch_histogram(ce, ranked, state, digit, counts[digit])
            radix.launch_choice(counts[digit], state, digit, boundary)
    return boundary, state


@_find.register_fake
def _(ce: Tensor, ranked: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    return ce.new_empty(ce.shape[:1]), k.new_empty(STATE_ROWS, ce.shape[0])


@torch.library.custom_op("segkit::share_by_boundary", mutates_args=())
def share_by_boundary(
    ce: Tensor, ranked: Tensor, boundary: Tensor, places: Tensor, above: Tensor, tied: Tensor
) -> Tensor:
    """How much of each pixel (G, P) is kept, fp32, by what `find_boundary_triton` has found (G,): 1 above the boundary,
    at it the same part of the places that are left, else 0, as where it is not `ranked`."""
    from segkit.losses.kernels import triton_radix as radix

    with launching_on(ce.device):
        found = (each.contiguous() for each in (boundary, places, above, tied))
        return radix.launch_share(ce.detach().contiguous(), ranked.contiguous(), *found)


@share_by_boundary.register_fake
def _(ce: Tensor, ranked: Tensor, boundary: Tensor, places: Tensor, above: Tensor, tied: Tensor) -> Tensor:
    return ce.new_empty(ce.shape)


@torch.library.custom_op("segkit::count_digit", mutates_args=())
def _count(ce: Tensor, ranked: Tensor, state: Tensor, digit: int) -> Tensor:
    """The histogram (G, BINS) of one digit."""
    from segkit.losses.kernels import triton_radix as radix

    counts = torch.zeros(len(ce), radix.BINS, dtype=torch.int64, device=ce.device)
    with launching_on(ce.device):
        radix.launch_histogram(ce.contiguous(), ranked.contiguous(), state.contiguous(), digit, counts)
    return counts


@_count.register_fake
def _(ce: Tensor, ranked: Tensor, state: Tensor, digit: int) -> Tensor:
    return state.new_empty(ce.shape[0], BINS)


@torch.library.custom_op("segkit::choose_digit", mutates_args=())
def _choose(counts: Tensor, state: Tensor, digit: int) -> tuple[Tensor, Tensor]:
    """The boundary (G,) as far as it is known, and the next state."""
    from segkit.losses.kernels import triton_radix as radix

    state = state.clone(memory_format=torch.contiguous_format)
    boundary = torch.empty(state.shape[1], dtype=torch.float32, device=state.device)
    with launching_on(state.device):
        radix.launch_choice(counts.contiguous(), state, digit, boundary)
    return boundary, state


@_choose.register_fake
def _(counts: Tensor, state: Tensor, digit: int) -> tuple[Tensor, Tensor]:
    return state.new_empty(state.shape[1], dtype=torch.float32), torch.empty_like(state)
