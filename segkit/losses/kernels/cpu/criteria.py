"""Criteria that the compiled kernels compute beside cross-entropy: what they are given; see `loops.criteria`."""

import bisect
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segkit.losses.kernels.cpu.call import CPU, Call
from segkit.losses.kernels.cpu.compiled import curve_kernels, second_kernel
from segkit.losses.kernels.cpu.loops.criteria import slots
from segkit.losses.kernels.cpu.loops.criteria.curve import Slot as CurveSlot
from segkit.losses.kernels.cpu.loops.criteria.second import MOST_CLASSES, buffer_bytes
from segkit.losses.kernels.cpu.loops.criteria.second import Slot as SecondSlot
from segkit.losses.kernels.cpu.loops.criteria.slots import Slot

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


def margin(target: Tensor, *, margin: float, strength: float) -> Criterion:
    """ce + strength sum_k max(0, max_j z_j - z_k - margin); `target` class ids (N, *spatial)."""
    beyond = torch.zeros(target.shape, dtype=torch.bool, device=CPU)
    return Criterion(slots.MARGIN, target[0].numel(), NUMBERS=_floats([margin, strength]), BEYOND=beyond)


def relaxed(target: Tensor, *, radius: int, classes: int, ignore_index: int) -> Criterion | None:
    """-log of the probability of all classes in the window around a pixel; `target` (N, H, W) class ids. None of more
    classes than `MOST_CLASSES`."""
    if classes > MOST_CLASSES:
        return None
    second, _ = find_second(target, radius, classes, ignore_index)
    return _near(slots.RELAXED, target, radius, SECOND=second)


def smoothed(
    target: Tensor,
    window: Sequence[float],
    *,
    radius: int,
    classes: int,
    ignore_index: int,
    class_weights: Tensor | None,
) -> Criterion | None:
    """sum_c a_c y_c (-log p_c): y are the labels in the window by its weights, divided by the sum of those there.

    `target` (N, H, W) class ids, `window` the weights of its places row by row, `class_weights` (C,) or
    None for 1. None of more classes than `MOST_CLASSES`.
    """
    if classes > MOST_CLASSES:
        return None
    second, share = find_second(target, radius, classes, ignore_index, window)
    weights = 0 if class_weights is None else class_weights.float().contiguous()
    given = {"NUMBERS": _floats(window), "CLASS_WEIGHTS": weights, "SECOND": second, "SHARE": share}
    return _near(slots.SMOOTHED, target, radius, **given)


def _near(kind: int, target: Tensor, radius: int, **values: int | Tensor) -> Criterion:
    rows, columns = target.shape[1:]
    return Criterion(kind, rows * columns, ROWS=rows, COLUMNS=columns, RADIUS=radius, **values)


def find_second(
    target: Tensor, radius: int, classes: int, ignore_index: int, window: Sequence[float] = ()
) -> tuple[Tensor, Tensor]:
    """Which class valid pixels have that are at most so many rows and columns away and not of the pixel's own, int16
    (N, H, W): `slots.NONE` if none, `slots.SEVERAL` if not all have the same. And by the weights of a `window`, of its
    places row by row, the middle 1 and the same on opposite sides, the share of the pixel's own class in what is there,
    fp32 (N, H, W); without one it is empty. Where the pixel itself is ignored it has none, and any share. At most
    `MOST_CLASSES`."""
    target = target.contiguous()
    images, rows, columns = target.shape
    second = torch.empty(target.shape, dtype=torch.int16, device=CPU)
    share = torch.empty(target.shape if window else 0, dtype=torch.float32, device=CPU)
    call = Call(SecondSlot, LOGITS_PER_PIXEL * target.numel(), IMAGES=images, CLASSES=classes)
    call.set(ROWS=rows, COLUMNS=columns, RADIUS=radius)
    call.set_target(target, ignore_index)
    weights, starts, places = _group_places(tuple(window))
    call.place(SECOND=second, SHARE=share, WEIGHTS=weights, STARTS=starts, PLACES=places)
    call.set(GROUPS=len(weights))
    call.run(second_kernel(), target, buffer=buffer_bytes(columns, radius))
    return second, share


@functools.lru_cache(maxsize=64)
def _group_places(window: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The different weights of the places before the middle of a window, and of each these places: fp32 (G,), where
    they begin and the last ends, int32 (G + 1,), and int32 (P,)."""
    half = window[: len(window) // 2]
    order = sorted(range(len(half)), key=half.__getitem__)
    weights = sorted(set(half))
    starts = [bisect.bisect_left(order, weight, key=half.__getitem__) for weight in weights]
    return _floats(weights), _integers([*starts, len(half)]), _integers(order)


def _integers(numbers: Sequence[int]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int32, device=CPU)


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


def _floats(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32, device=CPU)


def curve_of(ce: Tensor, linear: float, gain: float, rate: float) -> Tensor:
    """linear ce + gain (1 - exp(-rate ce)) with gradient to `ce`: fp32 (N, *spatial), >= 0. It is 0 where a pixel does
    not count, since ce is. `rate` > 0."""
    return _OfCE.apply(ce, 0, linear, gain, rate)


def focal_of(ce: Tensor, gamma: float) -> Tensor:
    """(1 - exp(-ce))^gamma ce with gradient to `ce`: fp32 (N, *spatial), >= 0. It is 0 where a pixel does not count,
    since ce is. `gamma` >= 0."""
    return _OfCE.apply(ce, 1, gamma)


class _OfCE(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ce: Tensor, kernel: int, *numbers: float) -> Tensor:
        ce = ce.contiguous()
        value, slope = torch.empty_like(ce), torch.empty_like(ce)
        call = Call(CurveSlot, LOGITS_PER_PIXEL * ce.numel(), WIDTH=WIDTH, PIXELS=ce.numel())
        options = _floats(numbers)
        call.place(CE=ce, NUMBERS=options, VALUE=value, SLOPE=slope)
        call.run(curve_kernels()[kernel], options)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("functions of cross-entropy by numba have no second derivative")
        (slope,) = ctx.saved_tensors
        return gradients[0] * slope, *[None] * (len(ctx.needs_input_grad) - 1)
