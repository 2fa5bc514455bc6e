"""How often each variant is right at each confidence, beside the baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segkit.ablation.report.figures.style import GRID, INK, SOFT, WIDTH, Look, draw, shorten_to_fit
from segkit.ablation.statistics.metrics import calibration_error
from segkit.ablation.study.study import Run
from segkit.evaluation.confidence_bins import BINS, UNIT

COLUMNS = 4
#: Pixels of a bin, as a share of all, below which its accuracy is chance and is not drawn.
LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Reliability:
    """Of one variant, over all pixels of all its seeds: `share` of the pixels, `accuracy` and mean `confidence` of each
    bin (BINS,), NaN where there are next to none; `error` is the mean of the runs' calibration errors."""

    variant: str
    share: np.ndarray
    accuracy: np.ndarray
    confidence: np.ndarray
    error: float


def find_reliability(variant: str, runs: Sequence[Run]) -> Reliability | None:
    """None if a run has no confidences counted."""
    tables = [run.counts.bins for run in runs if run.counts.bins is not None]
    if len(tables) < len(runs) or not tables:
        return None
    pixels, right, sure = np.sum([table.sum(axis=0) for table in tables], axis=0).astype(float)
    share = pixels / max(1.0, pixels.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy, confidence = (
            np.where(share >= LEAST_SHARE, part / pixels, np.nan) for part in (right, sure / UNIT)
        )
    errors = [float(calibration_error(table.sum(axis=0))) for table in tables]
    return Reliability(variant, share, accuracy, confidence, sum(errors) / len(errors))


def draw_reliability(
    found: Sequence[Reliability], baseline: str, looks: Mapping[str, Look], stem: Path, *, pdf: bool = False
) -> None:
    """Write a panel for each variant. Raises CannotWrite."""
    columns = min(COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    width = WIDTH * max(columns, 2) / COLUMNS
    size = (width, 0.4 + rows * 1.15 * width / columns)
    draw(stem, size, lambda figure: _paint(figure, found, baseline, looks, rows, columns), pdf=pdf)


def _paint(
    figure: Any,
    found: Sequence[Reliability],
    baseline: str,
    looks: Mapping[str, Look],
    rows: int,
    columns: int,
) -> None:
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    inches = 0.8 * figure.get_figwidth() / columns
    names = shorten_to_fit(figure, [one.variant for one in found], inches, size=9.5)
    other = next((one for one in found if one.variant == baseline), None)
    for axis, one, name in zip(axes, found, names, strict=False):
        axis.set_axisbelow(True)
        axis.bar(np.arange(BINS) / BINS, one.share, width=1 / BINS, align="edge", color=GRID)
        axis.plot([0, 1], [0, 1], ":", color=SOFT, linewidth=0.9)
        if other is not None and one is not other:
            axis.plot(other.confidence, other.accuracy, color=looks[baseline].color, linewidth=0.9, alpha=0.8)
        axis.plot(one.confidence, one.accuracy, color=looks[one.variant].color, marker="o", markersize=2.6)
        axis.set_title(name)
        axis.text(0.04, 0.93, f"ECE {100 * one.error:.1f} %", transform=axis.transAxes, va="top", color=INK)
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    for axis in axes[len(found) :]:
        axis.set_axis_off()
    figure.supxlabel("confidence", fontsize=9)
    figure.supylabel("accuracy; grey: share of the pixels", fontsize=9)
