"""A validation result as a table for people and as plain values for files."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from segkit.evaluation import metrics
from segkit.evaluation.boundary_quality import BoundaryScores
from segkit.evaluation.calibration import CalibrationScores
from segkit.evaluation.confidence_bins import BINS
from segkit.evaluation.evaluate import Evaluation
from segkit.system.console import percent, table
from segkit.system.files import finite_or_none
from segkit.system.printable import show_class, show_path

#: More classes than these do not fit a line; then so many of the lowest and highest scores are named.
LISTED = 24
ENDS = 5


def class_line(class_names: Sequence[str], scores: Sequence[float]) -> str:
    """The score of every class in one line or, of many classes, the lowest and the highest."""
    pairs = list(zip(class_names, scores, strict=True))
    if len(pairs) <= LISTED:
        return _join(pairs)
    ranked = sorted((pair for pair in pairs if not math.isnan(pair[1])), key=lambda pair: pair[1])
    if len(ranked) <= 2 * ENDS:
        return _join(ranked)
    return f"lowest: {_join(ranked[:ENDS])}   highest: {_join(ranked[: -ENDS - 1 : -1])}"


def class_table(result: Evaluation, class_names: Sequence[str]) -> str:
    """The scores of every class, and their means, in columns."""
    matrix = result.matrix
    counts = matrix.sum(dim=1).tolist()
    total = max(1, sum(counts))
    scores = (metrics.iou(matrix), metrics.dice(matrix), metrics.class_accuracy(matrix))
    columns = zip(class_names, *scores, counts, strict=True)
    rows = [["class", "IoU", "Dice", "recall", "pixels %"]]
    for name, iou, dice, recall, count in columns:
        rows.append([show_class(name), percent(iou), percent(dice), percent(recall), percent(count / total)])
    means = (metrics.mean_iou(matrix), metrics.mean_dice(matrix), metrics.mean_class_accuracy(matrix))
    rows.append(["mean", *map(percent, means), ""])
    return table(rows)


def boundary_table(scores: BoundaryScores, class_names: Sequence[str]) -> str:
    """The boundary scores of every class, and their means, in columns."""
    rows = [["class", "boundary IoU", "boundary F1"]]
    for name, iou, f1 in zip(class_names, scores.iou, scores.f1, strict=True):
        rows.append([show_class(name), percent(iou), percent(f1)])
    rows.append(["mean", percent(scores.mean_iou), percent(scores.mean_f1)])
    return table(rows)


def boundary_as_json(scores: BoundaryScores, class_names: Sequence[str]) -> dict[str, Any]:
    """The boundary scores in plain types; null where a score is not defined."""

    def by_class(values: Sequence[float]) -> dict[str, float | None]:
        return {name: finite_or_none(value) for name, value in zip(class_names, values, strict=True)}

    return {
        "tolerance_pixels": scores.tolerance,
        "mean_iou": finite_or_none(scores.mean_iou),
        "mean_f1": finite_or_none(scores.mean_f1),
        "iou": by_class(scores.iou),
        "f1": by_class(scores.f1),
    }


def calibration_table(scores: CalibrationScores, class_names: Sequence[str]) -> str:
    """The bins that have pixels, and all of them together, in columns, and the scores in a line; those of the classes
    in another, if they were counted."""
    counts, accuracy, confidence = scores.bins
    total = max(1, sum(counts))
    rows = [["confidence", "mean", "accuracy", "pixels %"]]
    for b, count in enumerate(counts):
        if count:
            ends = f"{percent(b / BINS)} to {percent((b + 1) / BINS)}"
            rows.append([ends, percent(confidence[b]), percent(accuracy[b]), percent(count / total)])
    rows.append(["all", percent(scores.confidence), percent(scores.accuracy), ""])
    lines = f"{table(rows)}\nECE {100 * scores.ece:.2f}  Brier {scores.brier:.4f}"
    if scores.class_ece is None or scores.classwise_ece is None:
        return lines
    of_each = "  ".join(
        f"{show_class(name)} {100 * value:.2f}"
        for name, value in zip(class_names, scores.class_ece, strict=True)
    )
    return f"{lines}  classwise ECE {100 * scores.classwise_ece:.2f}\nECE of each class: {of_each}"


def calibration_as_json(scores: CalibrationScores, class_names: Sequence[str]) -> dict[str, Any]:
    """The scores and the bins, from low confidence to high, in plain types; null where one is not defined."""
    counts, accuracy, confidence = scores.bins
    return {
        "ece": finite_or_none(scores.ece),
        "brier": finite_or_none(scores.brier),
        "confidence": finite_or_none(scores.confidence),
        "accuracy": finite_or_none(scores.accuracy),
        **_classes_as_json(scores, class_names),
        "bins": [
            {
                "above": b / BINS,
                "to": (b + 1) / BINS,
                "pixels": counts[b],
                "confidence": finite_or_none(confidence[b]),
                "accuracy": finite_or_none(accuracy[b]),
            }
            for b in range(BINS)
        ],
    }


def _classes_as_json(scores: CalibrationScores, class_names: Sequence[str]) -> dict[str, Any]:
    if scores.class_ece is None or scores.classwise_ece is None:
        return {}
    of_each = {name: finite_or_none(value) for name, value in zip(class_names, scores.class_ece, strict=True)}
    return {"classwise_ece": finite_or_none(scores.classwise_ece), "ece_of_classes": of_each}


def part_scores(result: Evaluation) -> dict[str, float]:
    """The mean IoU of each part of the data, over the classes that occur in its labels: one that a part does not have
    could only be 0. Nothing for data in one piece."""
    if not result.parts or result.matrices is None:
        return {}
    parts, scores = np.array(result.parts), {}
    for name in dict.fromkeys(result.parts):
        matrix = result.matrices.sum_of(parts == name)
        labelled = matrix.sum(dim=1) > 0
        iou = [value for value, has in zip(metrics.iou(matrix), labelled.tolist(), strict=True) if has]
        scores[name] = sum(iou) / len(iou) if iou else math.nan
    return scores


def part_line(scores: dict[str, float]) -> str:
    """The score of every part in one line."""
    return "  ".join(f"{show_path(name)} {percent(value)}" for name, value in scores.items())


def scores_as_json(result: Evaluation, class_names: Sequence[str]) -> dict[str, Any]:
    """The scores in plain types; null where a score is not defined."""
    iou, parts = metrics.iou(result.matrix), part_scores(result)
    confidence = (
        {}
        if result.calibration is None
        else {"calibration": calibration_as_json(result.calibration.scores(), class_names)}
    )
    return {
        "mIoU": finite_or_none(result.mean_iou),
        "accuracy": finite_or_none(metrics.accuracy(result.matrix)),
        "ce": finite_or_none(result.ce),
        "images": result.images,
        "iou": {name: finite_or_none(value) for name, value in zip(class_names, iou, strict=True)},
        **({"parts": {name: finite_or_none(value) for name, value in parts.items()}} if parts else {}),
        **confidence,
    }


def _join(pairs: Sequence[tuple[str, float]]) -> str:
    return "  ".join(f"{show_class(name)} {percent(value)}" for name, value in pairs)


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
    assert result.matrices is not None  # only one read from a checkpoint has none
    places = result.places or range(len(result.names))
    scored = [
        RankedImage(place, name, metrics.mean_iou(matrix))
        for place, name, matrix in zip(places, result.names, result.matrices, strict=True)
    ]
    scored = [image for image in scored if not math.isnan(image.score)]
    best = sorted(scored, key=lambda image: (-image.score, image.name))
    worst = sorted(scored, key=lambda image: (image.score, image.name))
    return best[:count], worst[:count]
