"""`confusion_matrix.csv` and `confusion_matrix.png`: which class is taken for which."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from segkit.evaluation.fonts import plot_labels
from segkit.runs.recording.plots.figure import save_figure
from segkit.system.files import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Classes above which the picture has no numbers; they would not be readable.
MOST_NUMBERED = 30
#: Inches beyond which the picture does not grow, and points below which names cannot be read.
LARGEST, SMALLEST = 26.0, 4.5
#: About which share of the picture the matrix takes, and a name of the height of its row.
AXES_SHARE, LINE_SHARE = 0.8, 0.85


def save_confusion_table(path: Path, matrix: Tensor, class_names: Sequence[str]) -> None:
    """Write pixel counts (C, C) with a row for each true class and a column for each predicted one.

    Raises CannotWrite.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label \\ prediction", *class_names])
    for name, row in zip(class_names, matrix.tolist(), strict=True):
        writer.writerow([name, *row])
    write_text(path, text.getvalue())


def row_percentages(matrix: Tensor) -> np.ndarray:
    """Share of each row's pixels in %, float64 (C, C); NaN in the row of a class without labels."""
    counts = matrix.double().numpy()
    totals = counts.sum(axis=1, keepdims=True)
    return 100 * counts / np.where(totals > 0, totals, np.nan)


def plot_confusion(path: Path, matrix: Tensor, class_names: Sequence[str], *, iteration: int) -> None:
    """Draw the matrix, each row in % of the pixels with that label, grey where no pixel has it. Raises CannotWrite."""
    shares, labels = row_percentages(matrix), plot_labels(class_names)
    side = plot_side(len(class_names))
    save_figure(path, (side + 0.8, side), lambda figure: _paint(figure, shares, labels, iteration))


def plot_side(classes: int) -> float:
    """Inches of the picture's height: half an inch for each of few classes, less for each of many."""
    return min(3.2 + 0.52 * classes, max(18.0, min(LARGEST, 0.1 * classes)))


def label_step(classes: int) -> tuple[int, float]:
    """Every how many-th class is named so that the names can be read, and their size in points."""
    pitch = 72 * AXES_SHARE * plot_side(classes) / classes
    step = math.ceil(SMALLEST / (LINE_SHARE * pitch))
    return step, min(9.0, LINE_SHARE * pitch * step)


def _paint(figure: "Figure", shares: np.ndarray, labels: Sequence[str], iteration: int) -> None:
    classes, axis = len(labels), figure.subplots()
    axis.set_facecolor("0.85")
    image = axis.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=100)
    step, size = label_step(classes)
    axis.set_xticks(range(0, classes, step), labels[::step], rotation=90, fontsize=size)
    axis.set_yticks(range(0, classes, step), labels[::step], fontsize=size)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    named = f"; one of {step} classes is named" if step > 1 else ""
    axis.set_title(f"% of each class's pixels, iteration {iteration:,}{named}", fontsize=10)
    figure.colorbar(image, shrink=0.7)
    if classes <= MOST_NUMBERED:
        _write_numbers(axis, shares, fontsize=8.5 if classes <= 12 else 7)


def _write_numbers(axis: "Axes", shares: np.ndarray, *, fontsize: float) -> None:
    """The share in each cell that has pixels, white on dark cells; one decimal where there is room."""
    decimals = 1 if len(shares) <= 12 else 0
    for (row, column), share in np.ndenumerate(shares):
        if share > 0:
            color = "white" if share > 55 else "black"
            text = f"{share:.{decimals}f}"
            axis.text(column, row, text, ha="center", va="center", color=color, fontsize=fontsize)
