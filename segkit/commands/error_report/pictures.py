"""The images that are shown, looked at once more: what they are, what they should be, what they are taken for."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segkit.commands.error_report.rows import ImageRow
from segkit.commands.visualise.drawing import fit
from segkit.data.loading.view import ValView
from segkit.data.palette import Legend
from segkit.data.sample import resize_image, resize_nearest
from segkit.evaluation.pictures import as_rgb, color_ids
from segkit.evaluation.views import Views, score_views
from segkit.runs.predictor import Predictor

#: Pixels of the longer side of a picture.
BOX = 400
#: The darkest grey of the image below its errors: they stand out by their colour, black ones too.
PALEST = 0.72


class Example(NamedTuple):
    """Pictures of one image, uint8 (3, H, W); `size` is that of its labels in words."""

    row: ImageRow
    size: str
    image: Tensor
    label: Tensor
    prediction: Tensor
    errors: Tensor


def look_again(
    predictor: Predictor, views: Views, dataset: Any, rows: Sequence[ImageRow], labels: Legend
) -> Iterator[Example]:
    """These images with their predictions, one at a time, shown as `views` says and drawn with `labels`.

    Raises DataError for files that are there no more.
    """
    view = ValView(dataset)
    for row in rows:
        sample = view[row.place]
        image, target = (sample[name][None].to(predictor.device) for name in ("image", "target"))
        found = score_views(predictor.forward, image, target, views, ignore_index=dataset.ignore_index)
        yield draw_example(row, sample["image"], sample["target"], found.prediction[0].cpu(), labels)


def draw_example(row: ImageRow, image: Tensor, target: Tensor, prediction: Tensor, labels: Legend) -> Example:
    """The pictures of an image (C, H, W) with its labels and predictions (H', W'), reduced to BOX or enlarged."""
    height, width = target.shape[-2:]
    size = fit(height, width, BOX)
    shown = _resize_to(as_rgb(image), size)
    label, answer = (resize_nearest(ids.long(), size) for ids in (target, prediction))
    palette, ignored = labels.palette, labels.ignore_index
    return Example(
        row,
        f"{width}x{height}",
        shown,
        color_ids(label, palette, ignored),
        color_ids(answer, palette, ignored),
        errors_in_colors(shown, label, answer, labels),
    )


def errors_in_colors(image: Tensor, target: Tensor, prediction: Tensor, labels: Legend) -> Tensor:
    """The image (3, H, W) in pale grey where `prediction` (H, W) is right, in the colour of the predicted class where
    it is wrong, and hatched where `target` (H, W) is ignored."""
    pale = image.float().mean(dim=0) * (1 - PALEST) + 255 * PALEST  # (H, W)
    picture = pale.to(torch.uint8).repeat(3, 1, 1)
    ignored = target == labels.ignore_index
    colors = color_ids(torch.where(ignored, target, prediction), labels.palette, labels.ignore_index)
    return torch.where((target == prediction) & ~ignored, picture, colors)


def _resize_to(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Smoothly where it gets smaller, pixel by pixel where it gets larger."""
    if size[0] > image.shape[-2]:
        return torch.stack([resize_nearest(channel, size) for channel in image])
    return resize_image(image.contiguous(), size)
