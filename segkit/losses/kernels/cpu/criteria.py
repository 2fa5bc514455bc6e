"""Criteria that the compiled kernels compute beside cross-entropy: what they are given; see `loops.criteria`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segkit.losses.kernels.cpu.call import CPU, Call
from segkit.losses.kernels.cpu.compiled import curve_kernels, near_kernel
from segkit.losses.kernels.cpu.loops.criteria import slots
from segkit.losses.kernels.cpu.loops.criteria.curve import Slot as CurveSlot
from segkit.losses.kernels.cpu.loops.criteria.masks import BAND
from segkit.losses.kernels.cpu.loops.criteria.masks import Slot as MaskSlot
from segkit.losses.kernels.cpu.loops.criteria.slots import Slot
from segkit.losses.kernels.cpu.loops.criteria.sums import WORD

#: A pixel whose neighbours are looked at costs about as much as so many logits in the kernels.
LOGITS_PER_PIXEL = 4
#: The exponentials of logits are multiplied by those of their adjustments: beyond it what is too small to be computed
#: of the ones might count by the others.
MOST_ADJUSTED = 30.0
#: Pixels of a block whose function is taken.
WIDTH = 4096


class Criterion:
    """The numbers of a criterion of `kind`, and what they are the addresses of, which it keeps. `pixels`: of an image.

    It lives as long as the call that it belongs to, with the addresses of which it is completed.
    """

    def __init__(self, kind: int, pixels: int, **values: int | Tensor):
        self.numbers = np.zeros(Slot.END, dtype=np.int64)
        self.held = [value for value in values.values() if isinstance(value, Tensor)]
        self.set(KIND=kind, PIXELS=pixels, **values)

    @property
    def address(self) -> int:
        return self.numbers.ctypes.data

    def set(self, **values: int | Tensor) -> None:
        """Write numbers, and addresses of tensors that somebody keeps, to places by name."""
        for name, value in values.items():
            self.numbers[Slot[name]] = value.data_ptr() if isinstance(value, Tensor) else value

    def complete(self, value: Tensor, call: Call) -> None:
        """With where the value goes (N, P) fp32, and the target of the call."""
        self.set(VALUE=value)
        for name in ("TARGET", "TARGET_KIND", "TARGET_BYTES", "IGNORE_INDEX"):
            self.numbers[Slot[name]] = call.numbers[call.slots[name]]


def margin(pixels: int, *, margin: float, strength: float) -> Criterion:
    """ce + strength sum_k max(0, max_j z_j - z_k - margin)."""
    return Criterion(slots.MARGIN, pixels, NUMBERS=_floats([margin, strength]))


def relaxed(target: Tensor, *, radius: int, classes: int, ignore_index: int) -> Criterion:
    """-log of the probability of all classes in the window around a pixel; `target` (N, H, W) class ids."""
    unused = torch.zeros((2 * radius + 1) ** 2, dtype=torch.float32, device=CPU)
    masks, mixed = find_near(target.contiguous(), radius, classes, ignore_index)
    return Criterion(
        slots.RELAXED,
        target[0].numel(),
        NUMBERS=unused,
        COLUMNS=target.shape[2],
        RADIUS=radius,
        MIXED=mixed,
        MASKS=masks,
        ALL_PIXELS=target.numel(),
    )


def find_near(target: Tensor, radius: int, classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Which classes the valid pixels have that are at most so many rows and columns away: a bit for each, int32
    (words, N, H, W); and whether one is not the pixel's own, bool (N, H, W)."""
    images, rows, columns = target.shape
    masks = torch.empty(-(-classes // WORD), *target.shape, dtype=torch.int32, device=CPU)
    mixed = torch.empty(target.shape, dtype=torch.bool, device=CPU)
    call = Call(MaskSlot, LOGITS_PER_PIXEL * target.numel(), IMAGES=images, CLASSES=classes)
    call.set(ROWS=rows, COLUMNS=columns, RADIUS=radius)
    call.set_target(target, ignore_index)
    call.place(MASKS=masks, MIXED=mixed)
    lines = 2 + BAND + 2 * radius
    call.run(near_kernel(), target, buffer=4 * lines * (columns + 2 * radius))
    return masks, mixed


def smoothed(
    target: Tensor, window: Sequence[float], *, radius: int, class_weights: Tensor | None
) -> Criterion:
    """sum_c a_c y_c (-log p_c): y are the labels in the window by its weights, divided by their sum, at least 1.

    `target` (N, H, W) class ids, `window` the weights of its places row by row, `class_weights` (C,) or
    None for 1.
    """
    weights = 0 if class_weights is None else class_weights.float().contiguous()
    return Criterion(
        slots.SMOOTHED,
        target[0].numel(),
        NUMBERS=_floats(window),
        CLASS_WEIGHTS=weights,
        **_near(target, radius),
    )


def adjusted(target: Tensor, adjustment: Tensor) -> Criterion:
    """Cross-entropy of logits + `adjustment` (C,), whose numbers differ by `MOST_ADJUSTED` at most."""
    more = adjustment.double() - adjustment.double().amin()  # a number that all have changes nothing
    numbers = torch.stack([more, more.exp()]).float()
    log_sum = torch.empty(target.shape, dtype=torch.float32, device=CPU)
    return Criterion(slots.ADJUSTED, target[0].numel(), NUMBERS=numbers, OWN_LOG_SUM=log_sum)


def distance(maps: Tensor, planes: Sequence[int]) -> Criterion:
    """sum_c (p_c - y_c) d_c / K: `maps` (N, K, H, W) are the d; `planes`, of each class which of them it has, or -1,
    where d is 0."""
    maps = maps.float().contiguous()
    table = torch.tensor(planes, dtype=torch.int32, device=CPU)
    return Criterion(slots.DISTANCE, maps[0, 0].numel(), MAPS=maps, PLANES=table, MAP_COUNT=maps.shape[1])


def find_mixed(target: Tensor, radius: int) -> Tensor:
    """(N, H, W) bool: whether the pixels around one, so many rows and columns away, are not all of its class id."""
    across, down = target[:, :, 1:] != target[:, :, :-1], target[:, 1:] != target[:, :-1]
    in_row, mixed = torch.zeros_like(target, dtype=torch.bool), torch.zeros_like(target, dtype=torch.bool)
    # All are the same if each row of the window is, and its middle column.
    for step in range(radius):
        for to, pairs, dim in ((in_row, across, 2), (mixed, down, 1)):
            size = pairs.shape[dim] - step
            if size > 0:
                to.narrow(dim, 0, size).logical_or_(pairs.narrow(dim, step, size))
                to.narrow(dim, step + 1, size).logical_or_(pairs.narrow(dim, 0, size))
    height = target.shape[1]
    mixed |= in_row
    for step in range(1, min(radius, height - 1) + 1):
        mixed[:, step:] |= in_row[:, :-step]
        mixed[:, :-step] |= in_row[:, step:]
    return mixed


def _near(target: Tensor, radius: int) -> dict[str, int | Tensor]:
    return {"COLUMNS": target.shape[2], "RADIUS": radius, "MIXED": find_mixed(target, radius)}


def _floats(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32, device=CPU)


def curve_of(ce: Tensor, valid: Tensor, linear: float, gain: float, rate: float) -> Tensor:
    """linear ce + gain (1 - exp(-rate ce)) of the `valid` pixels and 0 of the others, with gradient to `ce`: fp32
    (N, *spatial), >= 0. `rate` > 0."""
    return _OfCE.apply(ce, valid, 0, linear, gain, rate)


def focal_of(ce: Tensor, valid: Tensor, gamma: float) -> Tensor:
    """(1 - exp(-ce))^gamma ce of the `valid` pixels and 0 of the others, with gradient to `ce`: fp32 (N, *spatial),
    >= 0. `gamma` >= 0."""
    return _OfCE.apply(ce, valid, 1, gamma)


class _OfCE(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ce: Tensor, valid: Tensor, kernel: int, *numbers: float) -> Tensor:
        ce, valid = ce.contiguous(), valid.contiguous()
        value, slope = torch.empty_like(ce), torch.empty_like(ce)
        call = Call(CurveSlot, LOGITS_PER_PIXEL * ce.numel(), WIDTH=WIDTH, PIXELS=ce.numel())
        options = _floats(numbers)
        call.place(CE=ce, VALID=valid, NUMBERS=options, VALUE=value, SLOPE=slope)
        call.run(curve_kernels()[kernel], options)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("functions of cross-entropy by numba have no second derivative")
        (slope,) = ctx.saved_tensors
        return gradients[0] * slope, *[None] * (len(ctx.needs_input_grad) - 1)
