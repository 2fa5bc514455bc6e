"""`confusion_matrix.csv` and `confusion_matrix.png`: which class is taken for which."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from segkit.system.files import write_bytes, write_text
from segkit.system.markup import plot_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Classes above which the picture has no numbers; they would not be readable.
MOST_NUMBERED = 30


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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shares, classes = row_percentages(matrix), len(class_names)
    side = min(18.0, 3.2 + 0.52 * classes)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.set_facecolor("0.85")
    image = axis.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=100)
    size = max(3.0, min(9.0, 60 * side / (8 * classes)))
    labels = [plot_label(name) for name in class_names]
    axis.set_xticks(range(classes), labels, rotation=90, fontsize=size)
    axis.set_yticks(range(classes), labels, fontsize=size)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    axis.set_title(f"% of each class's pixels, iteration {iteration:,}", fontsize=10)
    figure.colorbar(image, shrink=0.7)
    if classes <= MOST_NUMBERED:
        _write_numbers(axis, shares, fontsize=8.5 if classes <= 12 else 7)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png")
    write_bytes(path, stream.getvalue())


def _write_numbers(axis: "Axes", shares: np.ndarray, *, fontsize: float) -> None:
    """The share in each cell that has pixels, white on dark cells; one decimal where there is room."""
    decimals = 1 if len(shares) <= 12 else 0
    for (row, column), share in np.ndenumerate(shares):
        if share > 0:
            color = "white" if share > 55 else "black"
            text = f"{share:.{decimals}f}"
            axis.text(column, row, text, ha="center", va="center", color=color, fontsize=fontsize)
