"""What runs can be compared by: scores that are functions of sums over images, so that they can be resampled.

`miou`, `mdice` and `macc` are means over the classes that have labels, of IoU, Dice and recall; `accuracy` is the
share of all pixels that are right; `iou/CLASS`, `dice/CLASS` and `recall/CLASS` are of one class. `ce` is plain
cross-entropy, the mean over all pixels, of which less is better. `boundary_iou` and `boundary_f1` are the scores of
`segkit.evaluation.boundary_quality`, means over the classes that have a border in the labels; `boundary_iou/CLASS`
and `boundary_f1/CLASS` are of one. `ece` is the expected calibration error over bins of confidence, and `brier` the
Brier score, see `segkit.evaluation.calibration`; `classwise_ece` is the mean over all
classes of that of the probability of each, `classwise_ece/CLASS` that of one; of all these less is better.
`objects_f1`, `objects_precision` and `objects_recall` (means over IoU thresholds from 0.5 to 0.95), `objects_f1_50`,
`rand_error`, `vi`, `vi_split` and `vi_merge`, of which last four less is better, are the scores of
`segkit.evaluation.objects.scores`, means over those classes whose objects were counted that have one, or of one class.
"""

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from segkit.ablation.statistics.run_counts import Kind
from segkit.ablation.statistics.unit import BITS, NATS, POINTS, UNITS, Unit
from segkit.errors import ConfigError
from segkit.evaluation.confidence_bins import BINS, UNIT
from segkit.evaluation.objects import scores as objects

Score = Callable[[np.ndarray], np.ndarray]  # sums (..., R, K) -> (...), NaN where it is not defined


@dataclass(frozen=True)
class Metric:
    """`name` is what a file says, `title` what a report says. `score` takes sums (..., R, K) of the table `kind` (see
    RunCounts) to scores (...), NaN where nothing is labelled for it. No score is above `limit` in size."""

    name: str
    title: str
    score: Score
    kind: Kind = "counts"
    unit: Unit = POINTS
    limit: float = 1.0
    less_is_better: bool = False


def iou(counts: np.ndarray) -> np.ndarray:
    """IoU (..., C) of counts (..., 3, C); NaN for classes without labels."""
    hits, labels, predictions = (counts[..., row, :] for row in range(3))
    return _share(hits, labels + predictions - hits, labels)


def dice(counts: np.ndarray) -> np.ndarray:
    """2 TP / (labels + predictions), likewise."""
    return _share(2 * counts[..., 0, :], counts[..., 1, :] + counts[..., 2, :], counts[..., 1, :])


def recall(counts: np.ndarray) -> np.ndarray:
    """TP / labels, likewise."""
    return _share(counts[..., 0, :], counts[..., 1, :], counts[..., 1, :])


def accuracy(counts: np.ndarray) -> np.ndarray:
    """The share of all pixels that are right, (...); NaN without a pixel."""
    hits, labels = counts[..., 0, :].sum(axis=-1), counts[..., 1, :].sum(axis=-1)
    return _share(hits, labels, labels)


def mean_over_pixels(sums: np.ndarray) -> np.ndarray:
    """The mean (...) of what is added up, from its sum and the number of pixels (..., 2, 1); NaN without a pixel."""
    return _share(sums[..., 0, 0], sums[..., 1, 0], sums[..., 1, 0])


def boundary_iou(borders: np.ndarray) -> np.ndarray:
    """Boundary IoU (..., C) of border counts (..., 6, C); NaN for classes without a border in the labels."""
    return _share(borders[..., 0, :], borders[..., 1, :], borders[..., 5, :])


def boundary_f1(borders: np.ndarray) -> np.ndarray:
    """The contour score, likewise: 2PR / (P + R) with P and R the shares of border pixels that are near the other's."""
    good_answer, answer, good_label, label = (borders[..., row, :] for row in range(2, 6))
    good = good_answer * label + good_label * answer
    score = np.divide(2 * good_answer * good_label, good, out=np.zeros(good.shape), where=good > 0)
    return np.where(label > 0, score, np.nan)


def calibration_error(bins: np.ndarray) -> np.ndarray:
    """The mean over the pixels of | accuracy - mean confidence | of their bin, (...), from the numbers of pixels and of
    right ones and the sums of confidences in each bin (..., 3, BINS); NaN without a pixel."""
    pixels = bins[..., 0, :].sum(axis=-1)
    gaps = np.abs(bins[..., 1, :] * UNIT - bins[..., 2, :]).sum(axis=-1)
    return _share(gaps, pixels * UNIT, pixels)


def class_calibration_error(bins: np.ndarray) -> np.ndarray:
    """The same of the probability of each class, (..., C), from (..., 3, C * BINS)."""
    of_each = bins.reshape(*bins.shape[:-1], -1, BINS)  # (..., 3, C, BINS)
    return calibration_error(np.moveaxis(of_each, -3, -2))


def _share(part: np.ndarray, whole: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=labelled > 0)


def _mean(per_class: Score) -> Score:
    """The mean over the classes with labels, NaN if there is none."""

    def score(counts: np.ndarray) -> np.ndarray:
        values = per_class(counts)
        defined = ~np.isnan(values)
        number = defined.sum(axis=-1)
        sums = np.where(defined, values, 0.0).sum(axis=-1)
        return np.divide(sums, number, out=np.full(np.shape(number), np.nan), where=number > 0)

    return score


MIOU = Metric("miou", "mIoU", _mean(iou))
ACCURACY = Metric("accuracy", "accuracy", accuracy)
CE = Metric("ce", "cross-entropy", mean_over_pixels, "ce", NATS, math.inf, less_is_better=True)
#: Of the objects of all classes at once, (..., K).
OF_OBJECTS = [
    Metric("objects_f1", "object F1", objects.f1, "objects"),
    Metric("objects_f1_50", "object F1 at IoU 0.5", objects.f1_50, "objects"),
    Metric("objects_precision", "object precision", objects.precision, "objects"),
    Metric("objects_recall", "object recall", objects.recall, "objects"),
    Metric("rand_error", "adapted Rand error", objects.rand_error, "objects", less_is_better=True),
    *(
        Metric(name, title, score, "objects", BITS, math.inf, less_is_better=True)
        for name, title, score in (
            ("vi", "variation of information", objects.vi),
            ("vi_split", "VI from splits", objects.vi_split),
            ("vi_merge", "VI from merges", objects.vi_merge),
        )
    ),
]
WHOLE = {
    metric.name: metric
    for metric in (
        MIOU,
        Metric("mdice", "mean Dice", _mean(dice)),
        Metric("macc", "mean class accuracy", _mean(recall)),
        ACCURACY,
        CE,
        Metric("boundary_iou", "boundary IoU", _mean(boundary_iou), "borders"),
        Metric("boundary_f1", "boundary F1", _mean(boundary_f1), "borders"),
        Metric("ece", "calibration error", calibration_error, "bins", less_is_better=True),
        Metric(
            "classwise_ece",
            "classwise calibration error",
            _mean(class_calibration_error),
            "class_bins",
            less_is_better=True,
        ),
        Metric("brier", "Brier score", mean_over_pixels, "brier", UNITS, 2.0, less_is_better=True),
        *(replace(metric, score=_mean(metric.score)) for metric in OF_OBJECTS),
    )
}
#: What can be asked of one class, as `iou/line`: its IoU (..., C) and so on, all classes at once.
OF_A_CLASS = {
    metric.name: metric
    for metric in (
        Metric("iou", "IoU", iou),
        Metric("dice", "Dice", dice),
        Metric("recall", "recall", recall),
        Metric("boundary_iou", "boundary IoU", boundary_iou, "borders"),
        Metric("boundary_f1", "boundary F1", boundary_f1, "borders"),
        Metric(
            "classwise_ece", "calibration error", class_calibration_error, "class_bins", less_is_better=True
        ),
        *OF_OBJECTS,
    )
}


def check_metric(name: str) -> str | None:
    """Why no metric can be called that, whatever the classes; None if one can."""
    kind, _, of = name.partition("/")
    if name in WHOLE or (of and kind in OF_A_CLASS):
        return None
    known = [*WHOLE, *(f"{kind}/CLASS" for kind in OF_A_CLASS)]
    close = difflib.get_close_matches(
        f"{kind.lower()}/CLASS" if kind.lower() in OF_A_CLASS else name.lower(), known, n=1
    )
    meant = f", did you mean '{close[0]}'?" if close else ""
    return f"there is no metric '{name}'{meant} -> one of {', '.join(known)}"


def find_metric(
    name: str, class_names: Sequence[str], *, with_objects: Sequence[str] | None = None
) -> Metric:
    """The metric of that name for these classes; `with_objects` are those whose objects were counted, in their order
    (None: all). Raises ConfigError."""
    reason = check_metric(name)
    if reason is not None:
        raise ConfigError(f"metrics: {reason}")
    if name in WHOLE:
        return WHOLE[name]
    kind, _, class_name = name.partition("/")
    if class_name not in class_names:
        close = difflib.get_close_matches(class_name, class_names, n=1)
        meant = f", did you mean '{close[0]}'?" if close else ""
        raise ConfigError(
            f"metrics: {name}: there is no class '{class_name}'{meant} -> one of {', '.join(class_names)}"
        )
    of_all, counted = OF_A_CLASS[kind], class_names
    if of_all.kind == "objects" and with_objects is not None:
        counted = with_objects
    place = list(counted).index(class_name)
    title = f"{of_all.title} of {class_name}"
    return replace(of_all, name=name, title=title, score=lambda sums: of_all.score(sums)[..., place])
