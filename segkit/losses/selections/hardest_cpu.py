"""The k hardest pixels on a CPU, where looking at a number on the way costs nothing.

What `select_hardest_without_looking` finds, bit by bit, in fewer passes over the pixels: the histogram of their first
digits says which of them may be at the boundary, and only these are looked at further.
"""

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from segkit.losses.kernels import numba_runs
from segkit.losses.scope import BATCH, RANK, Scope
from segkit.losses.selections.selection import Selected

#: The first digit of a loss is its 16 highest bits without the sign, which -0.0 has. Infinity has this one, NaN that
#: or a higher one, and pixels that are not ranked are given the highest, which no number has.
INFINITE = {torch.float32: 0x7F80, torch.float64: 0x7FF0}
NOT_RANKED = 0x7FFF
#: The digits below the first have 8 bits each: how far they are shifted.
SHIFTS = {torch.float32: (8, 0), torch.float64: (40, 32, 24, 16, 8, 0)}
BINS = 2**8
#: Where a bin has more than this part of the pixels, they are thought to have a value in common.
CROWDED = 1 / 8
#: So few pixels are ranked as they are, where no other process has any.
FEW = 2**14
#: From so many on they are counted by loops that numba compiles, where it is installed: a loss of so many pixels takes
#: its backend already, if it has four classes.
MANY = 2**18


def may_look(pixels: Tensor) -> bool:
    """Whether code may branch on what `pixels` hold: no device has to be waited for, and no graph is being traced."""
    return pixels.device.type == "cpu" and not torch.compiler.is_compiling()


def select_hardest_on_cpu(ce: Tensor, valid: Tensor, k: Tensor | int, *, scope: Scope = BATCH) -> Selected:
    """`select_hardest` for tensors on a CPU.

    It branches only on what all processes of the scope know alike, so that they meet equally often.
    """
    rows = scope.rows(ce).contiguous()  # (G, P)
    k = k if isinstance(k, int) else k.reshape(-1, 1)  # (G, 1)
    valid = scope.rows(valid)
    if rows.numel() <= FEW and scope.processes() == 1:
        share, k = share_few(rows, valid, k)
    elif rows.numel() >= MANY and numba_runs(rows):
        share, k = _share_compiled(rows, valid.contiguous(), k, scope)
    else:
        share, k = _share_many(rows, valid, k, scope)
    return Selected(share=share.view(ce.shape), count=k.view(-1, *[1] * (ce.ndim - 1)))


def share_few(rows: Tensor, valid: Tensor, k: Tensor | int) -> tuple[Tensor, Tensor]:
    """How much of each pixel (G, P) is kept, and how many (G, 1), where this process has all pixels there are and they
    are so few that the operations of a histogram would take longer than to look for a value in place."""
    ranked = valid & (rows == rows)  # NaN is not equal to itself
    n_ranked = ranked.sum(dim=1, keepdim=True)
    k = n_ranked.clamp_max(k)
    if rows.shape[1] == 0:
        return torch.empty_like(rows), k
    losses = rows.masked_fill(~ranked, -1.0)
    places = (rows.shape[1] + 1 - k).clamp_max(rows.shape[1])  # of the k-th largest, from the smallest on
    pairs = zip(losses, places.flatten().tolist(), strict=True)
    boundary = torch.stack([row.kthvalue(place).values for row, place in pairs]).unsqueeze(1)
    n_tied = (losses == boundary).sum(dim=1, keepdim=True)
    left = k - (losses > boundary).sum(dim=1, keepdim=True)
    return share_from(rows, ranked, boundary, _part(left, n_tied, rows.dtype)), k


def _share_many(rows: Tensor, valid: Tensor, k: Tensor | int, scope: Scope) -> tuple[Tensor, Tensor]:
    ranked = None if is_all_true(valid) else valid  # None stands for all
    digits, here = count_first_digits(rows, ranked)
    if bool(here[:, INFINITE[rows.dtype] :].any()):  # infinities, or NaN, which is not equal to itself
        ranked = valid & (rows == rows)
        digits, here = count_first_digits(rows, ranked)

    def look_inside(group: int, digit: int, n_inside: int) -> Inside:
        return gather_bin(rows[group], digits[group], digit, n_inside)

    boundary, places_left, k = _find_by_counting(rows.dtype, here, k, look_inside, scope)
    return share_from(rows, ranked, boundary, places_left), k


def _share_compiled(rows: Tensor, valid: Tensor, k: Tensor | int, scope: Scope) -> tuple[Tensor, Tensor]:
    """The same by loops of numba, which meet the other processes as often and with as much: one of them may have fewer
    pixels."""
    from segkit.losses.kernels.cpu import hardest  # imports numba

    def look_inside(group: int, digit: int, n_inside: int) -> Table:
        return Table(hardest.count_other_digits(rows[group], valid[group], digit))

    here = hardest.count_first_digits(rows, valid)[:, :NOT_RANKED]
    boundary, places_left, k = _find_by_counting(rows.dtype, here, k, look_inside, scope)
    return hardest.share_above(rows, valid, boundary, places_left), k


def kth_largest(rows: Tensor, k: Tensor) -> Tensor:
    """The k-th largest (G, 1) of numbers >= 0 (G, P), by loops of numba; k (G, 1), from 1 to P. NaN counts as none."""
    from segkit.losses.kernels.cpu import hardest  # imports numba

    every = torch.ones_like(rows, dtype=torch.bool)
    up_to = hardest.count_first_digits(rows, every)[:, :NOT_RANKED].cumsum(-1)
    first, left, _ = choose_bin(up_to, k)
    groups = zip(rows, every, first.flatten().tolist(), strict=True)
    inside = [Table(hardest.count_other_digits(row, each, digit)) for row, each, digit in groups]
    bits, *_ = find_boundary_inside(inside, SHIFTS[rows.dtype], first, left, scope=RANK)
    return bits.to(torch.int32).view(rows.dtype)


def _find_by_counting(
    dtype: torch.dtype,
    here: Tensor,
    k: Tensor | int,
    look_inside: Callable[[int, int, int], "Inside | Table"],
    scope: Scope,
) -> tuple[Tensor, Tensor, Tensor]:
    """The boundary, how much is kept of a pixel that equals it, and how many are kept, all (G, 1), where `here`
    (G, NOT_RANKED) pixels have each first digit; `look_inside` is asked for those of one (group, digit, number)."""
    up_to = scope.across(here).cumsum(-1)  # (G, NOT_RANKED)
    n_ranked = up_to[:, -1:]
    k = n_ranked.clamp_max(k)  # (G, 1)
    if bool((k == n_ranked).all()):
        return torch.zeros(k.shape, dtype=dtype), torch.ones(k.shape, dtype=dtype), k
    first, left, _ = choose_bin(up_to, k)
    chosen, n_inside = (values.flatten().tolist() for values in (first, here.gather(-1, first)))
    inside = [look_inside(group, *found) for group, found in enumerate(zip(chosen, n_inside, strict=True))]
    boundary, left, n_tied = find_boundary_inside(inside, SHIFTS[dtype], first, left, scope=scope)
    integers = torch.int64 if dtype == torch.float64 else torch.int32
    return boundary.to(integers).view(dtype), _part(left, n_tied, dtype), k


def _part(left: Tensor, n_tied: Tensor, dtype: torch.dtype) -> Tensor:
    return left.to(dtype) / n_tied.clamp_min(1).to(dtype)


def is_all_true(mask: Tensor) -> bool:
    """`mask.all()`, many times faster."""
    return mask.numel() == 0 or mask.view(torch.uint8).amin().item() == 1


def share_from(rows: Tensor, ranked: Tensor | None, boundary: Tensor, places_left: Tensor) -> Tensor:
    """How much of each pixel (G, P) is kept: 1 above the boundary, `places_left` at it, both (G, 1), else 0."""
    share = torch.empty_like(rows)
    torch.ge(rows, boundary, out=share)  # three times as fast as comparing and then converting
    if bool((places_left != 1).any()):
        above = torch.gt(rows, boundary, out=torch.empty_like(rows))
        torch.maximum(above, share.mul_(places_left), out=share)
    return share if ranked is None else share.mul_(ranked)


def count_first_digits(rows: Tensor, ranked: Tensor | None) -> tuple[list[Tensor], Tensor]:
    """The first digits of losses (G, P), int16 (P,) for each row, and how many there are of each: (G, NOT_RANKED)."""
    words = rows.itemsize // 2
    highest = rows.view(torch.int16)[:, words - 1 if sys.byteorder == "little" else 0 :: words]
    if ranked is not None:
        highest = highest | (ranked.to(torch.int16) - 1)  # sets all bits where the pixel is not ranked
    digits = [row & NOT_RANKED for row in highest]  # without the sign
    counts = torch.stack([torch.bincount(row, minlength=NOT_RANKED + 1) for row in digits])
    return digits, counts[:, :NOT_RANKED]


def choose_bin(up_to: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The bin of the k-th largest, how many places are left for the pixels in it, and how many of these there are.

    All three are (G, 1), as `k`. `up_to` (G, bins) counts the pixels up to each bin. A k of 0 gives the last bin.
    """
    n_all = up_to[:, -1:]
    chosen = torch.searchsorted(up_to, n_all - k, right=True).clamp_max(up_to.shape[-1] - 1)
    n_up_to = up_to.gather(-1, chosen)
    n_below = torch.where(chosen > 0, up_to.gather(-1, (chosen - 1).clamp_min(0)), 0)
    return chosen, k - (n_all - n_up_to), n_up_to - n_below


class Inside(NamedTuple):
    """Pixels of a row that may be at the boundary: the `bits` of some, and `n_common` more whose bits are `common`."""

    bits: Tensor
    common: int
    n_common: int

    def count_digits(self, shift: int) -> Tensor:
        """How many have each digit: (BINS,)."""
        counts = torch.bincount((self.bits >> shift) & (BINS - 1), minlength=BINS)
        counts[(self.common >> shift) & (BINS - 1)] += self.n_common
        return counts

    def narrow(self, shift: int, digit: int) -> "Inside":
        """Those of them that have this digit."""
        stay = (self.common >> shift) & (BINS - 1) == digit
        bits = self.bits[(self.bits >> shift) & (BINS - 1) == digit]
        return Inside(bits, self.common, self.n_common if stay else 0)


def gather_bin(row: Tensor, digits: Tensor, digit: int, n_inside: int) -> Inside:
    """The `n_inside` pixels of a row (P,) that have this first digit. Writes over `digits`."""
    # 1 or 0, in place, as fresh memory costs more than comparing.
    bits, inside = as_integers(row), digits.eq_(digit)
    common = 0
    if n_inside > CROWDED * len(row):
        every = len(row) // 1024 + 1
        sample = bits[::every][inside[::every] == 1]
        common = int(sample.median()) if len(sample) else 0
        inside.mul_(bits != common)
    others = gather_few(bits, inside)
    return Inside(others, common, n_inside - len(others))


def gather_few(pixels: Tensor, mask: Tensor) -> Tensor:
    """Those of the pixels (P,) where the int16 mask is 1. It is first looked through in words of four pixels, which is
    faster where these are few."""
    body = len(mask) // 4 * 4
    words = mask[:body].view(torch.int64).nonzero().flatten()
    few = pixels[:body].view(-1, 4)[words][mask[:body].view(-1, 4)[words] == 1]
    return torch.cat([few, pixels[body:][mask[body:] == 1]])


class Table(NamedTuple):
    """The same as counts of the 16 bits below the first digit of fp32: (BINS, BINS), or of the last 8: (1, BINS)."""

    counts: Tensor

    def count_digits(self, shift: int) -> Tensor:
        """See `Inside`."""
        counts = self.counts.numpy()  # which waits for no threads
        return torch.from_numpy(counts.sum(axis=1, dtype="int64") if shift else counts[0].astype("int64"))

    def narrow(self, shift: int, digit: int) -> "Table":
        """See `Inside`."""
        return Table(self.counts[digit : digit + 1])


def find_boundary_inside(
    inside: Sequence[Inside | Table], shifts: tuple[int, ...], first: Tensor, k: Tensor, *, scope: Scope
) -> tuple[Tensor, Tensor, Tensor]:
    """The bits of the k-th largest of the pixels of each group that have the `first` digit.

    And how many places are left for the pixels equal to it, and how many these are; all (G, 1), as `first` and `k`.
    """
    boundary, left, n_tied = first, k, k
    for shift in shifts:
        counts = scope.across(torch.stack([pixels.count_digits(shift) for pixels in inside]))
        digit, left, n_tied = choose_bin(counts.cumsum(-1), left)
        boundary = boundary * BINS + digit
        if shift:
            chosen = digit.flatten().tolist()
            inside = [pixels.narrow(shift, digit) for pixels, digit in zip(inside, chosen, strict=True)]
    return boundary, left, n_tied


def as_integers(losses: Tensor) -> Tensor:
    """The bits of losses; a view."""
    return losses.view(torch.int64 if losses.dtype == torch.float64 else torch.int32)
