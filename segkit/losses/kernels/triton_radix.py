"""The k-th largest of many losses without sorting, in Triton: the kernels and their launch.

The bits of non-negative floats order like integers, so the k-th largest is found digit by digit, from the highest down:
count the digits of the losses that agree with what is found so far, choose the highest digit that k of them reach.
A digit has 8 bits, because the bins of a program must fit its registers. A program counts many pixels on its own and
then adds up with atomics: 99 % of the losses may share a digit, and one atomic each would queue up. What is added are
integers, so the order does not matter and two runs are bitwise equal.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

#: (shift, width) of the digits of the 31 bits of a float without its sign.
DIGITS = ((23, 8), (15, 8), (7, 8), (0, 7))
BINS = 256
PIXELS = 1024  # pixels of one program at a time
PROGRAMS = 1024  # programs of one launch, about; one that has more pixels adds up fewer times per pixel
WARPS = 4

#: Rows of the state (5, G), int64, one column per group: the digits found so far, how many of the k places are left
#: for pixels that agree with them, k but at most the pixels there are, and how many pixels are above and equal.
PREFIX, LEFT, PLACES, ABOVE, TIED = range(5)
ROWS = 5


@triton.jit(do_not_specialize=("pixels", "groups", "programs", "shift", "width"))
def digit_histogram_kernel(
    ce,  # (G, P) contiguous
    ranked,  # (G, P) contiguous
    state,
    counts,  # (G, BINS), which are added to
    pixels,  # P
    groups,  # G
    programs,  # of one group
    shift,
    width,
    BINS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    group = tl.program_id(0) // programs
    first = tl.program_id(0) % programs * BLOCK
    prefix = tl.load(state + group).to(tl.int32)
    row = group.to(tl.int64) * pixels
    bins = tl.arange(0, BINS)
    total = tl.zeros([BINS], tl.int32)
    for start in range(first, pixels, programs * BLOCK):
        pixel = start + tl.arange(0, BLOCK)
        inside = pixel < pixels
        bits = tl.load(ce + row + pixel, mask=inside, other=0.0).to(tl.int32, bitcast=True) & 0x7FFFFFFF
        keep = tl.load(ranked + row + pixel, mask=inside, other=0).to(tl.int1)
        keep = keep & ((bits >> width) >> shift == prefix)  # in two steps, since the first shift would be 31
        if tl.sum(keep.to(tl.int32), axis=0) > 0:  # later digits concern few pixels
            digit = (bits >> shift) & ((1 << width) - 1)
            total += tl.histogram(digit, BINS, mask=keep)
    tl.atomic_add(counts + group * BINS + bins, total.to(tl.int64), mask=total > 0, sem="relaxed")


@triton.jit(do_not_specialize=("groups", "width"))
def choose_digit_kernel(
    counts,  # (G, BINS)
    state,
    boundary,  # (G,)
    groups,  # G
    width,
    BINS: tl.constexpr,
):
    group = tl.program_id(0)
    bins = tl.arange(0, BINS)
    count = tl.load(counts + group * BINS + bins)
    total = tl.sum(count, axis=0)
    reach = total - tl.cumsum(count, axis=0) + count  # how many have this digit or a higher one
    prefix = tl.load(state + group)
    left = tl.minimum(tl.load(state + groups + group), total)  # it is less for the first digit only
    above_before = tl.load(state + 3 * groups + group)
    chosen = tl.sum((reach >= left).to(tl.int32), axis=0) - 1  # the last if no place is left
    tied = tl.sum(tl.where(bins == chosen, count, 0), axis=0)
    above = tl.sum(tl.where(bins > chosen, count, 0), axis=0)
    prefix = (prefix << width) | chosen
    tl.store(state + group, prefix)
    tl.store(state + groups + group, left - above)
    tl.store(state + 2 * groups + group, above_before + left)
    tl.store(state + 3 * groups + group, above_before + above)
    tl.store(state + 4 * groups + group, tied)
    tl.store(boundary + group, prefix.to(tl.int32).to(tl.float32, bitcast=True))


@triton.jit(do_not_specialize=("pixels", "programs"))
def share_kernel(
    ce,  # (G, P) contiguous
    ranked,  # (G, P) contiguous
    boundary,
    places,
    above,
    tied,  # (G,) each
    share,  # (G, P), written
    pixels,  # P
    programs,  # of one group
    BLOCK: tl.constexpr,
):
    group = tl.program_id(0) // programs
    row = group.to(tl.int64) * pixels
    pixel = tl.program_id(0) % programs * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < pixels
    value = tl.load(ce + row + pixel, mask=inside, other=0.0)
    keep = tl.load(ranked + row + pixel, mask=inside, other=0).to(tl.int1)
    least = tl.load(boundary + group)
    left = (tl.load(places + group) - tl.load(above + group)).to(tl.float32)
    n_tied = tl.maximum(tl.load(tied + group), 1).to(tl.float32)
    at_boundary = tl.where(value == least, tl.div_rn(left, n_tied), 0.0)
    tl.store(share + row + pixel, tl.where(keep, tl.where(value > least, 1.0, at_boundary), 0.0), mask=inside)


def start_state(k: Tensor) -> Tensor:
    """The state (5, G) before the first digit, for int64 k (G,)."""
    state = torch.zeros(ROWS, len(k), dtype=torch.int64, device=k.device)
    state[LEFT] = k
    return state


def launch_histogram(ce: Tensor, ranked: Tensor, state: Tensor, digit: int, counts: Tensor) -> None:
    """Add to `counts` (G, BINS) int64 how many ranked pixels of `ce` (G, P), which agree with the state, have each
    value of the digit."""
    groups, pixels = ce.shape
    programs = max(1, min(triton.cdiv(pixels, PIXELS), PROGRAMS // groups))  # of one group
    digit_histogram_kernel[(groups * programs,)](
        *(ce, ranked, state, counts, pixels, groups, programs), *DIGITS[digit], **histogram_options()
    )


def launch_choice(counts: Tensor, state: Tensor, digit: int, boundary: Tensor) -> None:
    """Bring the state (5, G) and the boundary (G,), whose digits below are 0 still, up to this digit."""
    groups = len(boundary)
    choose_digit_kernel[(groups,)](counts, state, boundary, groups, DIGITS[digit][1], **choice_options())


def launch_share(
    ce: Tensor, ranked: Tensor, boundary: Tensor, places: Tensor, above: Tensor, tied: Tensor
) -> Tensor:
    """How much of each pixel (G, P) is kept, fp32; the others (G,) are what the digits have led to."""
    groups, pixels = ce.shape
    share = torch.empty_like(ce)
    programs = triton.cdiv(pixels, PIXELS)  # of one group
    share_kernel[(groups * programs,)](
        *(ce, ranked, boundary, places, above, tied, share, pixels, programs), **share_options()
    )
    return share


def share_options() -> dict[str, int]:
    """The compile-time options of `share_kernel`."""
    return {"BLOCK": PIXELS, "num_warps": WARPS, "enable_fp_fusion": True}


def histogram_options() -> dict[str, int]:
    """The compile-time options of `digit_histogram_kernel`."""
    return {"BINS": BINS, "BLOCK": PIXELS, "num_warps": WARPS, "enable_fp_fusion": True}


def choice_options() -> dict[str, int]:
    """The compile-time options of `choose_digit_kernel`."""
    return {"BINS": BINS, "num_warps": WARPS, "enable_fp_fusion": True}
