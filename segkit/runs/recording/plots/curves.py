"""`results.png`: the run as curves."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segkit.evaluation.fonts import plot_labels
from segkit.runs.recording.plots.figure import save_figure
from segkit.runs.recording.results import ResultsTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PER_CLASS = "IoU per class"
#: Curves of classes up to which all have names, and how many from each end have one if there are more.
MOST_CURVES, EXTREMES = 20, 5


def plot_results(table: ResultsTable, class_names: list[str], colors: list[str], path: Path) -> None:
    """Draw `results.png`: loss and ce, mIoU, IoU per class, kept fraction and threshold, lr, throughput.

    Raises CannotWrite.
    """
    labels = plot_labels(class_names)
    save_figure(path, (14, 7.5), lambda figure: _paint_panels(figure, table, class_names, labels, colors))


def _paint_panels(
    figure: "Figure",
    table: ResultsTable,
    class_names: Sequence[str],
    labels: Sequence[str],
    colors: Sequence[str],
) -> None:
    axes = figure.subplots(2, 3).flat
    panels = [
        ("loss", {"train/loss": "loss", "train/ce": "ce (train)", "val/ce": "ce (val)"}),
        ("mIoU", {"val/mIoU": "mIoU", "val/accuracy": "pixel accuracy"}),
        (PER_CLASS, {f"val/iou/{name}": label for name, label in zip(class_names, labels, strict=True)}),
        (
            "what the loss keeps",
            {"loss/kept_fraction": "kept fraction", "loss/threshold": "threshold (p of true class)"},
        ),
        ("learning rate", {"train/lr": "lr"}),
        ("images / s", {"perf/img_per_s": "images / s"}),
    ]
    for axis, (title, curves) in zip(axes, panels, strict=True):
        if title == PER_CLASS and len(class_names) > MOST_CURVES:
            title += _plot_extremes(axis, table, curves)
        else:
            _plot_curves(axis, table, curves, colors if title == PER_CLASS else None)
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("iteration")
        axis.grid(alpha=0.25)
        if title.startswith(("mIoU", PER_CLASS, "what the loss keeps")):
            axis.set_ylim(-0.02, 1.02)


def _plot_extremes(axis: "Axes", table: ResultsTable, curves: Mapping[str, str]) -> str:
    """The curves of many classes in grey, those that end highest and lowest in colours and with their names; returns
    what the title says of that."""
    known = {column: table.column(column) for column in curves}
    last = {
        column: values[-1] for column, (_, values) in known.items() if values and math.isfinite(values[-1])
    }
    ranked = sorted(last, key=lambda column: -last[column])
    ends = dict.fromkeys([*ranked[:EXTREMES], *ranked[-EXTREMES:]])
    for column, (iterations, values) in known.items():
        if column not in ends:
            axis.plot(iterations, values, color="0.8", linewidth=0.6, zorder=1)
    _plot_curves(axis, table, {column: curves[column] for column in ends}, None)
    if len(ranked) <= len(ends):
        return ""
    return f": the {EXTREMES} highest and {EXTREMES} lowest of {len(ranked)}"


def _plot_curves(
    axis: "Axes", table: ResultsTable, curves: Mapping[str, str], colors: Sequence[str] | None
) -> None:
    drawn = 0
    for number, (column, label) in enumerate(curves.items()):
        iterations, values = table.column(column)
        if not any(math.isfinite(value) for value in values):
            continue
        color = colors[number] if colors else None
        marker = "." if len(values) <= 30 else None
        axis.plot(iterations, values, label=label, color=color, marker=marker, linewidth=1.4)
        drawn += 1
    if not drawn:
        axis.text(0.5, 0.5, "no data", ha="center", va="center", transform=axis.transAxes, color="grey")
    elif drawn > 1:
        axis.legend(fontsize=8, ncols=2 if drawn > 6 else 1)
