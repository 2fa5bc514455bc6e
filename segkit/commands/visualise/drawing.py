"""Pictures of samples at the size they are shown in; all are uint8 (3, H, W)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from segkit.commands.visualise.samples import Shown, View
from segkit.data.palette import Legend
from segkit.data.sample import resize_nearest
from segkit.evaluation.pictures import as_rgb, color_ids, heat, overlay


def fit(height: int, width: int, box: int) -> tuple[int, int]:
    """Size with the same shape whose longer side is `box`; small pictures grow by whole factors."""
    longer = max(height, width)
    if longer <= box:
        factor = max(1, box // longer)
        return height * factor, width * factor
    return max(1, round(height * box / longer)), max(1, round(width * box / longer))


def draw_image(view: View, box: int) -> Tensor:
    return _resize_image(as_rgb(view.image), _fit(view.image, box))


def draw_label(view: View, labels: Legend, box: int) -> Tensor:
    """The classes as colours. Ids are resized before they are coloured, so the hatching of ignored ones stays."""
    return color_ids(_resize_ids(view, box), labels.palette, labels.ignore_index)


def draw_overlay(view: View, labels: Legend, box: int) -> Tensor:
    """The image in grey under the colours of its classes."""
    return overlay(draw_image(view, box), _resize_ids(view, box), labels.palette, labels.ignore_index)


def draw_weight(view: View, box: int, *, top: float) -> Tensor:
    """The weights as heat, white at `top`."""
    assert view.weight is not None  # or there is nothing to draw
    size = _fit(view.target, box)
    return heat(_resize_image(view.weight[None], size)[0] / max(top, 1e-12))


def highest_weight(shown: Sequence[Shown]) -> float:
    """The largest weight of all views, so that one scale serves for all pictures."""
    views = [view for item in shown for view in (item.original, *item.augmented.values())]
    return max((view.weight.max().item() for view in views if view.weight is not None), default=0.0)


def _fit(picture: Tensor, box: int) -> tuple[int, int]:
    height, width = picture.shape[-2:]
    return fit(height, width, box)


def _resize_ids(view: View, box: int) -> Tensor:
    return resize_nearest(view.target, _fit(view.target, box))


def _resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Smoothly where it gets smaller, pixel by pixel where it gets larger."""
    if size[0] > image.shape[-2]:
        factor = size[0] // image.shape[-2]
        return image.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    return F.resize(image, list(size), antialias=True) if size != tuple(image.shape[-2:]) else image


def find_classes(shown: Sequence[Shown], num_classes: int) -> list[int]:
    """The classes that occur in the images, without what is ignored."""
    found = {int(value) for item in shown for value in torch.unique(item.original.target)}
    return sorted(value for value in found if 0 <= value < num_classes)
