"""The steps of `standard` that most runs use, on plain tensors.

They draw the same numbers and make the same pixels as the steps of torchvision's types (`Standard.steps`), which take a
second to import.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from segkit.data.sample import Sample, as_height_width, band_by_band, resize_image, resize_nearest
from segkit.data.transforms.colours import Jitter
from segkit.data.transforms.windows import GREY, Window, Windows


class PlainSteps:
    """Scale and crop, flips, and colours, in this order; see `Standard`."""

    def __init__(
        self,
        ignore_index: int,
        windows: Windows,
        *,
        flips: tuple[float, float],
        colours: tuple[float, float, float],
    ):
        self.ignore_index, self.windows, self.jitter = ignore_index, windows, Jitter(*colours)
        self.flips = list(zip((-1, -2), flips, strict=True))  # axis, probability

    def __call__(self, sample: Sample) -> Sample:
        """The sample changed; its tensors keep their types."""
        image, target = sample.image.as_subclass(Tensor), sample.target.as_subclass(Tensor)
        weight = None if sample.weight is None else sample.weight.as_subclass(Tensor)
        window = self.windows.draw(as_height_width(image.shape[-2:]), target)
        image = band_by_band(_cut(image, window, resize_image, GREY))
        target = _cut(target, window, resize_nearest, self.ignore_index)
        weight = None if weight is None else _cut(weight, window, resize_nearest, 0)
        for axis, probability in self.flips:
            if torch.rand(1) < probability:
                image, target = image.flip(axis), target.flip(axis)
                weight = None if weight is None else weight.flip(axis)
        image = self.jitter(image)
        return replace(
            sample,
            image=_as(image, sample.image),
            target=_as(target, sample.target),
            weight=None if weight is None else _as(weight, sample.weight),
        )


def _cut(
    values: Tensor, window: Window, resize: Callable[[Tensor, tuple[int, int]], Tensor], fill: int
) -> Tensor:
    """What the window shows of (..., H, W), with `fill` around it."""
    top, left, height, width = window.place
    part = values[..., top : top + height, left : left + width]
    if tuple(part.shape[-2:]) != window.size:
        part = resize(part, window.size)
    left, top, right, bottom = window.padding
    return pad(part, (left, right, top, bottom), value=fill) if any(window.padding) else part


def _as(value: Tensor, like: Tensor | None) -> Tensor:
    return value if like is None else value.as_subclass(type(like))
