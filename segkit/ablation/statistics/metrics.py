"""What runs can be compared by: scores that are functions of each class's counts, so that they can be resampled.

`miou`, `mdice` and `macc` are means over the classes that have labels, of IoU, Dice and recall; `accuracy` is the
share of all pixels that are right; `iou/CLASS`, `dice/CLASS` and `recall/CLASS` are of one class.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from segkit.ablation.statistics.counts import unions
from segkit.errors import ConfigError

Score = Callable[[np.ndarray], np.ndarray]  # counts (..., 3, C) -> (...), NaN where it is not defined


@dataclass(frozen=True)
class Metric:
    """`name` is what a file says, `title` what a report says; `score` takes counts (..., 3, C) to scores (...), NaN
    where there is no label for it."""

    name: str
    title: str
    score: Score


def iou(counts: np.ndarray) -> np.ndarray:
    """IoU (..., C) of counts (..., 3, C); NaN for classes without labels."""
    return _share(counts[..., 0, :], unions(counts), counts)


def dice(counts: np.ndarray) -> np.ndarray:
    """2 TP / (labels + predictions), likewise."""
    return _share(2 * counts[..., 0, :], counts[..., 1, :] + counts[..., 2, :], counts)


def recall(counts: np.ndarray) -> np.ndarray:
    """TP / labels, likewise."""
    return _share(counts[..., 0, :], counts[..., 1, :], counts)


def accuracy(counts: np.ndarray) -> np.ndarray:
    """The share of all pixels that are right, (...); NaN without a pixel."""
    hits, labels = counts[..., 0, :].sum(axis=-1), counts[..., 1, :].sum(axis=-1)
    return np.divide(hits, labels, out=np.full(np.shape(labels), np.nan), where=labels > 0)


def _share(part: np.ndarray, whole: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=counts[..., 1, :] > 0)


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
WHOLE = {
    metric.name: metric
    for metric in (
        MIOU,
        Metric("mdice", "mean Dice", _mean(dice)),
        Metric("macc", "mean class accuracy", _mean(recall)),
        Metric("accuracy", "accuracy", accuracy),
    )
}
#: What can be asked of one class, as `iou/line`.
OF_A_CLASS = {"iou": ("IoU", iou), "dice": ("Dice", dice), "recall": ("recall", recall)}


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


def find_metric(name: str, class_names: Sequence[str]) -> Metric:
    """The metric of that name for these classes. Raises ConfigError."""
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
    title, per_class = OF_A_CLASS[kind]
    place = list(class_names).index(class_name)
    return Metric(name, f"{title} of {class_name}", lambda counts: per_class(counts)[..., place])
