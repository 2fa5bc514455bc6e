"""What the tables of the page hold, as numbers: a row per image and per pair of classes, and which images to show."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from segkit.commands.error_report.options import Rank
from segkit.evaluation import metrics
from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.image_matrices import ImageMatrices

#: Images that are named for a pair of classes; pairs that are listed, and those of which an example is shown too.
NAMED, PAIRS, EXAMPLES = 10, 40, 8


class ImageRow(NamedTuple):
    """An image, by its number in the evaluation (from 0), its place in the data set, and its name.

    `mean_iou` of its own confusion matrix, `wrong` share of its valid pixels and `ce` are NaN without a valid pixel.
    `taken` (true class, predicted class, pixels) is its largest confusion, None if all is right.
    """

    number: int
    place: int
    name: str
    mean_iou: float
    wrong: float
    ce: float
    pixels: int
    taken: tuple[int, int, int] | None


class Pair(NamedTuple):
    """Pixels of class `label` that are predicted as `prediction`; `images` (number, pixels) have most of them."""

    label: int
    prediction: int
    pixels: int
    images: list[tuple[int, int]]


def list_images(result: Evaluation) -> list[ImageRow]:
    """All images, in the order of the data set."""
    matrices, ce_sums = result.matrices, result.ce_sums
    assert matrices is not None and ce_sums is not None  # only an evaluation read from a checkpoint has none
    largest = _largest_confusions(matrices)
    rows = []
    for number, (name, matrix) in enumerate(zip(result.names, matrices, strict=True)):
        pixels = int(matrix.sum())
        right = int(matrix.trace())
        rows.append(
            ImageRow(
                number,
                result.places[number] if result.places else number,
                name,
                metrics.mean_iou(matrix),
                (pixels - right) / pixels if pixels else math.nan,
                float(ce_sums[number]) / pixels if pixels else math.nan,
                pixels,
                largest.get(number),
            )
        )
    return rows


def rank_worst(rows: Sequence[ImageRow], rank: Rank) -> list[ImageRow]:
    """The images with a valid pixel, the worst first; equal ones by name."""

    def badness(row: ImageRow) -> float:
        return row.mean_iou if rank == "miou" else -row.wrong

    return sorted((row for row in rows if row.pixels), key=lambda row: (badness(row), row.name))


def list_pairs(matrices: ImageMatrices) -> list[Pair]:
    """All pairs of different classes that are confused anywhere, those with most pixels first."""
    wrong = np.flatnonzero(matrices.label != matrices.prediction)
    cells = matrices.label[wrong].astype(np.int64) * matrices.num_classes + matrices.prediction[wrong]
    image, pixels = matrices.image[wrong], matrices.pixels[wrong]
    order = np.lexsort((image, -pixels, cells))
    cells, image, pixels = cells[order], image[order], pixels[order]
    found, starts = np.unique(cells, return_index=True)
    ends = [*starts[1:].tolist(), len(cells)]
    pairs = []
    for cell, first, last in zip(found.tolist(), starts.tolist(), ends, strict=True):
        most = slice(first, min(last, first + NAMED))
        named = list(zip(image[most].tolist(), pixels[most].tolist(), strict=True))
        label, prediction = divmod(cell, matrices.num_classes)
        pairs.append(Pair(label, prediction, int(pixels[first:last].sum()), named))
    return sorted(pairs, key=lambda pair: (-pair.pixels, pair.label, pair.prediction))


def choose_examples(
    rows: Sequence[ImageRow], pairs: Sequence[Pair], *, worst: int, rank: Rank
) -> list[ImageRow]:
    """The images to show, the worst first: `worst` of them, and behind these, for each of the largest confusions, the
    image that has most of it if it is not among them; of these at most EXAMPLES, and no more than `worst`."""
    chosen = {row.number: row for row in rank_worst(rows, rank)[:worst]}
    for pair in pairs[: min(EXAMPLES, worst)]:
        number = pair.images[0][0]
        chosen.setdefault(number, rows[number])
    return list(chosen.values())


def choose_classes(pairs: Sequence[Pair], num_classes: int, most: int) -> list[int]:
    """The classes of the confusion matrix: all, or those `most` that have most wrong pixels as label or prediction."""
    wrong = np.zeros(num_classes, dtype=np.int64)
    for pair in pairs:
        wrong[pair.label] += pair.pixels
        wrong[pair.prediction] += pair.pixels
    return sorted(np.argsort(-wrong, kind="stable")[:most].tolist())


def _largest_confusions(matrices: ImageMatrices) -> dict[int, tuple[int, int, int]]:
    """The label, the prediction and the pixels of the largest confusion of each image that has one."""
    wrong = np.flatnonzero(matrices.label != matrices.prediction)
    order = wrong[np.lexsort((-matrices.pixels[wrong], matrices.image[wrong]))]
    images, firsts = np.unique(matrices.image[order], return_index=True)
    return {
        image: (int(matrices.label[e]), int(matrices.prediction[e]), int(matrices.pixels[e]))
        for image, e in zip(images.tolist(), order[firsts].tolist(), strict=True)
    }
