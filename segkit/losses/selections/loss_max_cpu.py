"""The weights of `loss_max` on a CPU, by loops that numba compiles.

What `weigh_losses` finds by halving over all pixels: the histogram of their first digits says between which of them the
threshold is, and only these are looked at further.
"""

import numpy as np
import torch
from torch import Tensor

from segkit.losses.kernels import numba_runs
from segkit.losses.scope import Scope
from segkit.losses.selections.hardest_cpu import INFINITE, MANY, NOT_RANKED, may_look

#: Powers below this are too near the smallest float for their sums to be compared.
TINY = 1e-280
#: Between these the threshold is far enough from the ends of floats of 32 bits for ratios to have all digits.
SMALLEST, LARGEST = 1e-30, 1e15


def weigh_compiled(ce: Tensor, valid: Tensor, *, p: float, ratio: float, scope: Scope) -> Tensor | None:
    """`weigh_losses` of fp32 losses >= 0 (N, *spatial), in which NaN and what is not `valid` weighs 0, with the budget
    of `pooled_pixels`.

    None unless this process has all pixels there are, many of them, and numba compiles; and also where some loss is
    infinite, or where fewer pixels have one than the budget, so that the threshold is 0.
    """
    if not (may_look(ce) and ce.numel() >= MANY and numba_runs(ce) and scope.processes() == 1):
        return None
    from segkit.losses.kernels.cpu import hardest  # imports numba

    rows, valid = scope.rows(ce).contiguous(), scope.rows(valid).contiguous()
    counts = hardest.count_first_digits(rows, valid)[:, :NOT_RANKED].numpy()
    share = torch.empty_like(rows)
    q = p / (p - 1)
    for row, its_valid, count, its_share in zip(rows, valid, counts, share, strict=True):
        budget = max(1.0, ratio * int(count.sum()))
        if not count.any():
            its_share.zero_()
            continue
        bounds = bound_threshold(count, budget, q)
        if bounds is None:
            return None
        low, high, n_above = bounds
        rest, between = hardest.sum_powers(row, its_valid, low, high, q - 1, its_share)
        top = solve_threshold(rest, between, n_above, budget, low=low, q=q)
        hardest.scale_powers(row, its_valid, low, top, q - 1, its_share)
    return share.view(ce.shape)


def bound_threshold(count: np.ndarray, budget: float, q: float) -> tuple[float, float, int] | None:
    """Two floats, between which the largest loss v is at which sum min(1, loss / v)^q is still `budget` (or it is the
    first one), and how many losses are not below the second. `count` (NOT_RANKED,) has how many losses have each first
    digit. None if the first would be 0, and where a loss is infinite."""
    infinite = INFINITE[torch.float32]
    if count[infinite:].any():
        return None
    digits = np.flatnonzero(count)
    lowest, top = int(digits[0]), int(digits[-1]) + 1
    edges = (np.arange(lowest, top + 1, dtype=np.int32) << 16).view(np.float32).astype(np.float64)
    count = count[lowest:top]
    with np.errstate(under="ignore"):
        powers = np.minimum(edges / (edges[-2] or 1.0), 2.0) ** q  # the last edge may be infinity
    n_from = count[::-1].cumsum()[::-1]  # how many have this digit or a higher one
    # Losses are between the edges of their digits, so sums of their powers are between two sums.
    least = np.concatenate([[0.0], (count * powers[:-1]).cumsum()])[:-1]
    most = np.concatenate([[0.0], (count * powers[1:]).cumsum()])[:-1]
    wanted = budget * powers[:-1]
    reached = np.flatnonzero((least + n_from * powers[:-1] >= wanted) & (powers[:-1] > TINY))
    first = int(reached[-1]) if len(reached) else -1
    if first < 0 or not SMALLEST <= edges[first] <= LARGEST:
        return None
    # A little more than rounding could add.
    missed = np.flatnonzero((most + n_from * powers[:-1]) * (1 + 1e-9) < wanted)
    missed = missed[missed > first]
    if not len(missed):
        return float(edges[first]), float("inf"), 0
    last = int(missed[0])
    return float(edges[first]), float(edges[last]), int(n_from[last])


def solve_threshold(
    rest: float, between: np.ndarray, n_above: int, budget: float, *, low: float, q: float
) -> float:
    """The t at which sum min(1, loss / t)^q is `budget`: `rest` is the sum of (loss / low)^q over the losses up to
    `low`, at which it is still that or more, `between` are those between there and the `n_above` largest."""
    between = np.sort(between).astype(np.float64)
    powers = (between / low) ** q
    below = rest + np.concatenate([[0.0], powers.cumsum()])  # of those up to the n-th
    above = n_above + np.arange(len(between), -1, -1)  # how many are above the n-th
    # At a loss itself; it falls with the loss, so that the last one that still reaches the budget counts.
    reached = np.flatnonzero(below[1:] + above[1:] * powers >= budget * powers)
    n = int(reached[-1]) + 1 if len(reached) else 0
    left = budget - above[n]
    return low * (below[n] / left) ** (1 / q) if below[n] > 0 and left > 0 else low
