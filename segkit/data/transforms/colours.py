"""Brightness, contrast and saturation of uint8 images, to the last bit as torchvision changes them.

torchvision's own functions take a second to import, which most runs need for nothing else. One thing differs: the mean
grey, around which contrast changes, is exact here. torchvision's has an error in images of more than 256 x 256 pixels
that depends on how many threads add them up, so that a worker would now and then make another pixel than the main
process.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

#: Pixels of a band that are changed at a time: in floats they stay in a processor's cache, and are no memory that the
#: system is asked for anew.
BLOCK = 2**17


class Jitter:
    """Random brightness, contrast and saturation, in random order: `ColorJitter` of torchvision without its hue.

    Each factor is drawn from [1 - value, 1 + value], cut off at 0; a value of 0 leaves it out. Images of other than one
    or three bands change in brightness and contrast alone, as in segkit/data/transforms/jitter.py.
    """

    def __init__(self, brightness: float, contrast: float, saturation: float):
        self.ranges = [_find_range(value) for value in (brightness, contrast, saturation)]

    def __call__(self, image: Tensor) -> Tensor:
        """A uint8 image (C, H, W) with other colours; draws the numbers that torchvision draws."""
        order = torch.randperm(4).tolist()  # the fourth is the hue
        factors = [_draw(ends) for ends in self.ranges]
        change = _change_bands if image.shape[-3] in (1, 3) else _change_other_bands
        return change(image, [(place, factors[place]) for place in order if place < 3])


def _find_range(value: float) -> tuple[float, float] | None:
    return None if value == 0 else (max(1.0 - value, 0.0), 1.0 + value)


def _draw(ends: tuple[float, float] | None) -> float | None:
    return None if ends is None else float(torch.empty(1).uniform_(*ends).item())


def _change_bands(image: Tensor, steps: Sequence[tuple[int, float | None]]) -> Tensor:
    for place, factor in steps:
        if factor is None:
            continue
        if place == 0:
            image = _change_brightness(image, factor)
        elif place == 1:
            image = change_contrast(image, factor)
        elif image.shape[-3] == 3:
            image = _change_saturation(image, factor)
    return image


def _change_other_bands(image: Tensor, steps: Sequence[tuple[int, float | None]]) -> Tensor:
    values = image.float()
    for place, factor in steps:
        if place == 0 and factor is not None:
            values = (values * factor).clamp(0, 255)
        elif place == 1 and factor is not None:
            mean = find_mean(values)
            values = (mean + factor * (values - mean)).clamp(0, 255)
    return values.to(image.dtype)


def change_contrast(image: Tensor, factor: float) -> Tensor:
    """An image of grey or colour, uint8 (C, H, W), with `factor` times its distance from the mean grey."""
    total, bands = torch.zeros((), dtype=torch.float64), image.unbind(dim=-3)
    for rows in _blocks(image):
        total += (_to_grey(bands, rows) if len(bands) == 3 else bands[0][rows].float()).sum(
            dtype=torch.float64
        )
    mean = (total / image[..., :1, :, :].numel()).float()  # of whole numbers, and so as exact as `find_mean`
    changed = _like(image)
    for rows in _blocks(image):
        for band, out in zip(bands, changed.unbind(dim=-3), strict=True):
            _blend(band[rows], mean, factor, out[rows])
    return changed


def find_mean(values: Tensor) -> Tensor:
    """The mean of all values (C, H, W), float32 (1, 1, 1), whatever order they are added in: of whole numbers the sum
    is exact in 64 bits."""
    return values.mean(dim=(-3, -2, -1), keepdim=True, dtype=torch.float64).float()


def _change_brightness(image: Tensor, factor: float) -> Tensor:
    """`factor` times the image."""
    changed = _like(image)
    for rows in _blocks(image):
        for band, out in zip(image.unbind(dim=-3), changed.unbind(dim=-3), strict=True):
            _store(band[rows].float().mul_(factor), out[rows])
    return changed


def _change_saturation(image: Tensor, factor: float) -> Tensor:
    """A colour image with `factor` times its distance from its luminance."""
    changed, bands = _like(image), image.unbind(dim=-3)
    for rows in _blocks(image):
        grey = _to_grey(bands, rows)
        for band, out in zip(bands, changed.unbind(dim=-3), strict=True):
            _blend(band[rows], grey, factor, out[rows])
    return changed


def _blocks(image: Tensor) -> Iterator[slice]:
    """The rows of an image (C, H, W), so many at a time that a band of them has about BLOCK pixels."""
    height, width = image.shape[-2:]
    step = max(1, BLOCK // max(1, width))
    for start in range(0, height, step):
        yield slice(start, start + step)


def _like(image: Tensor) -> Tensor:
    return torch.empty_like(image, memory_format=torch.contiguous_format)


def _to_grey(bands: Sequence[Tensor], rows: slice) -> Tensor:
    """The luminance (H, W) of these rows of red, green and blue, in whole numbers of float32."""
    red, green, blue = (band[rows] for band in bands)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()


def _blend(band: Tensor, other: Tensor, share: float, out: Tensor) -> None:
    """`share` of the band and the rest of `other`, into `out`; a share above 1 goes away from `other`."""
    _store(band.float().mul_(share).add_(other, alpha=1.0 - share), out)


def _store(values: Tensor, out: Tensor) -> None:
    """Values of float32 as bytes, without their fractions."""
    # By way of 16 bits, since torch makes bytes of floats one at a time.
    out.copy_(values.clamp_(0, 255).to(torch.int16))
