"""Which validation images a model does best and worst on."""

import math
from typing import NamedTuple

from segkit import metrics
from segkit.evaluate import Evaluation


class RankedImage(NamedTuple):
    """An image by its place in the validation set and its name; `score` is the mIoU of its own confusion matrix."""

    place: int
    name: str
    score: float


def rank_images(result: Evaluation, count: int) -> tuple[list[RankedImage], list[RankedImage]]:
    """The `count` images with the highest score, best first, and those with the lowest, worst first.

    A score is the mean IoU over the classes that the image's labels or predictions contain. Equal scores are
    ordered by name. An image without a valid pixel has no score and is left out.
    """
    places = result.places or range(len(result.names))
    scored = [
        RankedImage(place, name, metrics.mean_iou(matrix))
        for place, name, matrix in zip(places, result.names, result.matrices, strict=True)
    ]
    scored = [image for image in scored if not math.isnan(image.score)]
    best = sorted(scored, key=lambda image: (-image.score, image.name))
    worst = sorted(scored, key=lambda image: (image.score, image.name))
    return best[:count], worst[:count]
