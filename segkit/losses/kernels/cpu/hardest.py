"""The compiled search for the hardest pixels as operations on tensors; see `loops.hardest`."""

import numpy as np
import torch
from torch import Tensor

from segkit.losses.kernels.cpu.call import Call
from segkit.losses.kernels.cpu.compiled import hardest_kernels, power_kernels
from segkit.losses.kernels.cpu.loops.hardest import FIRST_BINS, OTHER_BINS, Real, Slot

#: Pixels of a block.
WIDTH = 4096
#: Pixels cost about as much here as so many logits in the kernels.
LOGITS_PER_PIXEL = 4


def count_first_digits(rows: Tensor, valid: Tensor) -> Tensor:
    """How many of the losses (G, P) fp32 have each digit: the 15 bits below the sign, int64 (G, 2^15). Those that are
    not `valid` (G, P) bool, and NaN, have the last one, which no number has."""
    pairs = zip(rows, valid, strict=True)
    return torch.stack([_count(hardest_kernels().count_first, *pair, FIRST_BINS) for pair in pairs]).long()


def count_other_digits(row: Tensor, valid: Tensor, digit: int) -> Tensor:
    """How many of the losses (P,) of that first digit have each 16 bits below it: int32 (2^8, 2^8)."""
    counts = _count(hardest_kernels().count_others, row, valid, OTHER_BINS, DIGIT=digit)
    return counts.view(2**8, 2**8)


def share_above(rows: Tensor, valid: Tensor, boundary: Tensor, places: Tensor) -> Tensor:
    """How much of each pixel (G, P) is kept: 1 above the boundary (G, 1), `places` (G, 1) at it, else 0; of pixels that
    are not valid 0. All but `valid` are fp32."""
    share = torch.empty_like(rows)
    boundary, places = boundary.contiguous(), places.contiguous()
    call = _make_call(rows, valid, GROUPS=len(rows), SHARE=share.data_ptr())
    call.set(BOUNDARY=boundary.data_ptr(), PLACES=places.data_ptr())
    call.run(hardest_kernels().write_share)
    return share


def sum_powers(
    row: Tensor, valid: Tensor, low: float, high: float, exponent: float, share: Tensor
) -> tuple[float, np.ndarray]:
    """Of losses (P,) fp32 that are `valid` (P,): the sum of (loss / low)^(exponent + 1) over those up to `low`, and
    those between `low` and `high`, fp32, in their order. `low` > 0, `exponent` > 0. `share` (P,) fp32 becomes
    (loss / low)^exponent, at most 1, and 0 where a loss is not valid or NaN."""
    blocks = -(-row.numel() // WIDTH)
    sums, between = np.zeros(blocks), np.zeros(blocks, dtype=np.int64)
    call, reals = _make_call(row, valid, GROUPS=1), _reals(low, high, exponent)
    call.set(REALS=reals.ctypes.data, SUMS=sums.ctypes.data, BETWEEN=between.ctypes.data)
    call.set(SHARE=share.data_ptr())
    call.run(power_kernels().sum, buffer=4 * WIDTH)
    np.cumsum(between, out=between)
    found = np.empty(between[-1] if blocks else 0, dtype=np.float32)
    if len(found):
        call.set(FOUND=found.ctypes.data)
        call.run(power_kernels().find_between)
    return float(sums.sum()), found


def scale_powers(row: Tensor, valid: Tensor, low: float, top: float, exponent: float, share: Tensor) -> None:
    """Bring what `sum_powers` wrote to `share` to (loss / top)^exponent, at most 1. `top` >= `low`."""
    factor = (low / top) ** exponent
    call, reals = _make_call(row, valid, GROUPS=1), _reals(low, top, exponent, factor)
    call.set(REALS=reals.ctypes.data, SHARE=share.data_ptr())
    call.run(power_kernels().scale)


def _reals(low: float, high: float, exponent: float, factor: float = 1.0) -> np.ndarray:
    reals = np.zeros(len(Real), dtype=np.float32)
    reals[Real.LOW], reals[Real.HIGH], reals[Real.EXPONENT], reals[Real.FACTOR] = low, high, exponent, factor
    return reals


def _count(kernel: int, row: Tensor, valid: Tensor, bins: int, **values: int) -> Tensor:
    """int32 (bins,). Added up by NumPy: torch would share these few numbers among its threads, and wait for them."""
    call = _make_call(row, valid, GROUPS=1, **values)
    counts = np.zeros((call.threads, bins), dtype=np.int32)
    call.set(COUNTS=counts.ctypes.data)
    call.run(kernel, buffer=4 * WIDTH)
    return torch.from_numpy(counts.sum(axis=0, dtype=np.int32))


def _make_call(values: Tensor, valid: Tensor, **numbers: int) -> Call:
    """Of contiguous losses (P,) or (G, P)."""
    call = Call(Slot, LOGITS_PER_PIXEL * values.numel(), WIDTH=WIDTH, PIXELS=values.shape[-1], **numbers)
    call.set(VALUE=values.data_ptr(), VALID=valid.data_ptr())
    return call
