"""`calibration.png`: how often a network is right at each confidence, and how often it has it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segkit.evaluation.calibration import CalibrationScores
from segkit.evaluation.confidence_bins import BINS
from segkit.runs.recording.plots.figure import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIGHT, GAP, INK = "#0072b2", "#d55e00", "#333338"


def plot_calibration(path: Path, scores: CalibrationScores, *, iteration: int) -> None:
    """Draw accuracy against confidence, bin by bin, above the share of the pixels in each bin. Raises CannotWrite."""
    save_figure(path, (5.2, 6.4), lambda figure: _paint(figure, scores, iteration))


def _paint(figure: "Figure", scores: CalibrationScores, iteration: int) -> None:
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.3))
    counts, accuracy, confidence = (np.array(values, dtype=float) for values in scores.bins)
    edges = np.arange(BINS) / BINS
    place = {"width": 1 / BINS, "align": "edge", "edgecolor": "white", "linewidth": 0.8}
    filled = counts > 0
    accuracy, confidence = np.nan_to_num(accuracy), np.nan_to_num(confidence)
    above.bar(edges, accuracy, color=RIGHT, label="accuracy", **place)
    gap = np.where(filled, np.abs(confidence - accuracy), 0.0)
    low = np.minimum(accuracy, confidence)
    above.bar(edges, gap, bottom=low, color=GAP, alpha=0.55, label="gap to the mean confidence", **place)
    above.plot([0, 1], [0, 1], "--", color=INK, linewidth=1, label="as sure as right")
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    above.set_title(
        f"iteration {iteration:,}: ECE {100 * scores.ece:.2f} %, Brier score {scores.brier:.3f}", fontsize=10
    )
    above.legend(loc="upper left", fontsize=8, frameon=False)
    below.bar(edges, 100 * counts / max(1.0, counts.sum()), color="#9a9aa0", **place)
    below.axvline(
        scores.accuracy, color=RIGHT, linewidth=1.4, label=f"accuracy {100 * scores.accuracy:.1f} %"
    )
    below.axvline(
        scores.confidence, color=GAP, linewidth=1.4, linestyle=(0, (4, 2)),
        label=f"mean confidence {100 * scores.confidence:.1f} %",
    )  # fmt: skip
    below.set(ylabel="pixels, %", xlabel="confidence: the probability of the predicted class")
    below.legend(loc="upper left", fontsize=8, frameon=False)
