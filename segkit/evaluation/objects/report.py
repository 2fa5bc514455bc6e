"""The scores of objects as a table for people and as plain values for files."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from segkit.evaluation.objects import scores
from segkit.evaluation.objects.counts import ObjectCounts
from segkit.system.console import percent, table
from segkit.system.files import finite_or_none
from segkit.system.printable import show_class


def object_table_text(found: ObjectCounts, class_names: Sequence[str]) -> str:
    """The scores of every class whose objects were counted, and their means if they are several, in columns.

    F1, precision, recall and Rand error in percent, variation of information in bits.
    """
    sums = found.table().sum(axis=0)
    f1 = scores.f1_at(sums)
    columns: list[tuple[str, np.ndarray, Callable[[float], str]]] = [
        ("F1", scores.f1(sums), percent),
        ("at 0.5", f1[0], percent),
        ("at 0.75", f1[scores.THRESHOLDS.index(0.75)], percent),
        ("precision", scores.precision(sums), percent),
        ("recall", scores.recall(sums), percent),
        ("Rand error", scores.rand_error(sums), percent),
        ("VI", scores.vi(sums), _bits),
        ("split", scores.vi_split(sums), _bits),
        ("merge", scores.vi_merge(sums), _bits),
    ]
    numbers = sums[[scores.TRUE, scores.PREDICTED]].astype(np.int64).T.tolist()
    rows = [["class", "objects", "predicted", *(name for name, _, _ in columns)]]
    for k, class_id in enumerate(found.classes):
        own = [write(float(values[k])) for _, values, write in columns]
        rows.append([show_class(class_names[class_id]), *(f"{number:,}" for number in numbers[k]), *own])
    if len(found.classes) > 1:
        rows.append(["mean", "", "", *(write(_mean(values)) for _, values, write in columns)])
    return table(rows)


def objects_as_json(found: ObjectCounts, class_names: Sequence[str]) -> dict[str, Any]:
    """The scores in plain types; null where one is not defined."""
    sums = found.table().sum(axis=0)
    whole = {
        "f1": scores.f1(sums),
        "precision": scores.precision(sums),
        "recall": scores.recall(sums),
        "rand_error": scores.rand_error(sums),
        "vi": scores.vi(sums),
        "vi_split": scores.vi_split(sums),
        "vi_merge": scores.vi_merge(sums),
    }
    by_threshold = {
        "f1_at": scores.f1_at(sums),
        "precision_at": scores.precision_at(sums),
        "recall_at": scores.recall_at(sums),
    }
    classes = {}
    for k, class_id in enumerate(found.classes):
        classes[class_names[class_id]] = {
            "objects": int(sums[scores.TRUE, k]),
            "predicted": int(sums[scores.PREDICTED, k]),
            "images": int(sums[scores.IMAGES, k]),
            **{name: finite_or_none(float(values[k])) for name, values in whole.items()},
            "found_at": sums[scores.FOUND, k].astype(np.int64).tolist(),
            **{
                name: [finite_or_none(value) for value in values[:, k].tolist()]
                for name, values in by_threshold.items()
            },
        }
    return {
        "min_size_pixels": found.min_size,
        "iou_thresholds": list(scores.THRESHOLDS),
        "mean": {name: finite_or_none(_mean(values)) for name, values in whole.items()},
        "classes": classes,
    }


def _mean(values: np.ndarray) -> float:
    """Over the classes that have the score; NaN if none has."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _bits(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"
