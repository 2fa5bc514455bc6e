"""The k hardest pixels, exactly, without sorting and without making the host wait."""

import torch
from torch import Tensor

from segkit.losses.kernels import triton_runs
from segkit.losses.scope import BATCH, Scope
from segkit.losses.selections.hardest_cpu import may_look, select_hardest_on_cpu
from segkit.losses.selections.selection import Selected


def select_hardest(ce: Tensor, valid: Tensor, k: Tensor | int, *, scope: Scope = BATCH) -> Selected:
    """The `k` valid pixels of largest `ce`; pixels that tie for the last places share them equally.

    So the selection is exact and does not depend on the order of the pixels. `ce` (N, *spatial) is >= 0. `k` is a
    number, or integers (G, 1, ..., 1), one per group of the scope; more than the valid pixels means all of them. A
    pixel whose `ce` is NaN is never among them.
    """
    look = may_look(ce) and not scope.triton
    select = select_hardest_on_cpu if look else select_hardest_without_looking
    return select(ce, valid, k, scope=scope)


def select_hardest_without_looking(
    ce: Tensor, valid: Tensor, k: Tensor | int, *, scope: Scope = BATCH
) -> Selected:
    """`select_hardest` for any device and for torch.compile: no branch depends on the data."""
    ranked = valid & (ce == ce)  # NaN is not equal to itself
    if _suits_triton(ce, scope):
        return _select_by_triton(ce, ranked, k, scope=scope)
    boundary, k, n_above, n_tied = find_boundary(ce, ranked, k, scope=scope)
    places_left = (k - n_above).to(ce.dtype) / n_tied.clamp_min(1).to(ce.dtype)
    share = torch.where(ce > boundary, 1.0, torch.where(ce == boundary, places_left, 0.0))
    return Selected(share=torch.where(ranked, share, 0.0).to(ce.dtype), count=k)


def find_boundary(
    ce: Tensor, ranked: Tensor, k: Tensor | int, *, scope: Scope = BATCH
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The k-th largest `ce` of the `ranked` pixels, k but not more than there are, and how many are above and equal.

    All four are (G, 1, ..., 1), one per group of the scope. The bits of non-negative floats order like integers, so
    two levels of a histogram find the answer: over the 16 highest bits, and over the other 15 of the pixels in the
    bin where the k-th largest is (fp64 takes four levels). Histograms are integers, so they add exactly over processes.
    """
    double = ce.dtype == torch.float64
    bits = ce.view(torch.int64 if double else torch.int32)
    per_group = (-1, *[1] * (ce.ndim - 1))
    # The first digits are written behind this 0 and the first counts added to it; all are (G, 1) from then on.
    prefix = n_above = n_tied = n_kept = left = torch.zeros((), dtype=torch.int64, device=ce.device)
    digits = ((47, 16), (31, 16), (15, 16), (0, 15)) if double else ((15, 16), (0, 15))
    for shift, width in digits:
        digit = (bits >> shift) & (2**width - 1)  # (N, *spatial); never the sign, which -0.0 has
        counts = scope.histogram(digit, ranked, 2**width)  # (G, bins)
        reach = counts.flip(-1).cumsum(-1).flip(-1)  # how many have this digit or a higher one
        if shift == digits[0][0]:
            n_kept = reach[:, :1].clamp_max(k if isinstance(k, int) else k.reshape(-1, 1))  # (G, 1)
            left = n_kept
        chosen = (reach >= left).sum(-1, keepdim=True) - 1  # the highest digit that k pixels reach
        n_tied = counts.gather(-1, chosen)
        above = reach.gather(-1, chosen) - n_tied
        prefix, n_above, left = (prefix << width) | chosen, n_above + above, left - above
        ranked = ranked & (digit == chosen.view(per_group))
    boundary = prefix.to(bits.dtype).view(ce.dtype)
    return (
        boundary.view(per_group),
        n_kept.view(per_group),
        n_above.view(per_group),
        n_tied.view(per_group),
    )


def _suits_triton(ce: Tensor, scope: Scope) -> bool:
    if ce.dtype != torch.float32 or scope.triton is False:
        return False
    return scope.triton is True or (0 < ce.numel() < 2**30 and triton_runs(ce.device))


def _select_by_triton(ce: Tensor, ranked: Tensor, k: Tensor | int, *, scope: Scope) -> Selected:
    """The same on a GPU, where the histograms above wait for each other if many pixels fall into one bin."""
    # Not at the top: importing segkit must work without Triton, and be quick.
    from segkit.losses.kernels import triton_select

    across = scope.across if scope.processes() > 1 else None
    k = k if isinstance(k, int) else k.flatten()
    rows = scope.rows(ce), scope.rows(ranked)  # (G, P)
    found = triton_select.find_boundary_triton(*rows, k, across=across)
    share = triton_select.share_by_boundary(*rows, *found)
    return Selected(share=share.view(ce.shape), count=found[1].view(-1, *[1] * (ce.ndim - 1)))
