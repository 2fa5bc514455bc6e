"""Heat maps of the classes: the IoU of each variant, and the difference of each variant to the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segkit.ablation.report.figures.style import INK, SOFT, WIDTH, draw, shorten_all
from segkit.ablation.report.number_text import percent_text, points_text

MOST_CLASSES = 30
CELL = 0.56  # inches of width that `+10.3` needs


@dataclass(frozen=True)
class ClassMap:
    """`iou` (V, C) of all variants; `difference` (D, C) of the `compared` ones to the baseline, and whether its
    interval excludes 0, `clear` (D, C). Shares; NaN where a class occurs nowhere."""

    variants: tuple[str, ...]
    compared: tuple[str, ...]
    class_names: tuple[str, ...]
    iou: np.ndarray
    difference: np.ndarray
    clear: np.ndarray


def choose_classes(classes: ClassMap, *, most: int = MOST_CLASSES) -> ClassMap:
    """The `most` classes whose IoU differs most between the variants, in their order; all if there are no more."""
    if len(classes.class_names) <= most:
        return classes
    defined = np.isfinite(classes.iou).any(axis=0)
    spread = np.full(len(classes.class_names), -1.0)
    spread[defined] = np.nanmax(classes.iou[:, defined], axis=0) - np.nanmin(classes.iou[:, defined], axis=0)
    places = np.sort(np.argsort(-spread, kind="stable")[:most])
    return ClassMap(
        classes.variants,
        classes.compared,
        tuple(classes.class_names[place] for place in places),
        classes.iou[:, places],
        classes.difference[:, places],
        classes.clear[:, places],
    )


def draw_classes(classes: ClassMap, stem: Path, *, pdf: bool = False) -> None:
    """Write both maps, side by side if they fit a page, else below each other. Raises CannotWrite."""
    names = shorten_all(classes.class_names, 26)
    margin = 0.3 + 0.075 * max(len(name) for name in names)
    columns = len(classes.variants), len(classes.compared)
    beside = margin + CELL * sum(columns) + 0.5 <= 1.6 * WIDTH and columns[1] > 0
    longest = max(len(name) for name in shorten_all(classes.variants, 26))
    head = 0.5 + 0.06 * longest
    rows = head + 0.25 * len(names)
    count = sum(columns) if beside else max(columns)
    size = (max(3.6, margin + CELL * count + 0.4), rows if beside or not columns[1] else 2 * rows)
    draw(stem, size, lambda figure: _paint(figure, classes, names, beside), pdf=pdf)


def _paint(figure: Any, classes: ClassMap, names: Sequence[str], beside: bool) -> None:
    if not classes.compared:
        _paint_iou(figure.subplots(), classes, names)
        return
    widths = [len(classes.variants), len(classes.compared)]
    if beside:
        figure.get_layout_engine().set(wspace=0.05)
        left, right = figure.subplots(1, 2, width_ratios=widths, sharey=True)
    else:
        left, right = figure.subplots(2, 1)
    _paint_iou(left, classes, names)
    _paint_difference(right, classes, names)
    if beside:
        right.tick_params(axis="y", labelleft=False)


def _paint_iou(axis: Any, classes: ClassMap, names: Sequence[str]) -> None:
    values = 100 * classes.iou.T  # (C, V)
    drawn = _heat(axis, values, "YlGnBu", 0.0, 100.0)
    for row, column in np.ndindex(values.shape):
        text = percent_text(values[row, column] / 100)
        color = _readable(drawn, values[row, column])
        _write(axis, column, row, text, color)
    _label(axis, names, shorten_all(classes.variants, 26), "IoU, %")


def _paint_difference(axis: Any, classes: ClassMap, names: Sequence[str]) -> None:
    values = 100 * classes.difference.T  # (C, D)
    finite = np.abs(values[np.isfinite(values)])
    largest = max(1.0, float(finite.max())) if finite.size else 1.0
    shown = np.where(classes.clear.T, values, np.nan)  # colour only where the interval excludes 0
    drawn = _heat(axis, shown, "RdBu", -largest, largest, bad="#f4f4f6")
    for row, column in np.ndindex(values.shape):
        clear = bool(classes.clear.T[row, column])
        color = _readable(drawn, values[row, column]) if clear else "#8a8a90"
        text = points_text(values[row, column] / 100)
        _write(axis, column, row, text, color)
    _label(axis, names, shorten_all(classes.compared, 26), "Δ, points")


def _write(axis: Any, column: int, row: int, text: str, color: str) -> None:
    # Not in the layout: it is inside of a cell, and measuring each takes as long as drawing it.
    axis.text(column, row, text, ha="center", va="center", size=8, color=color, in_layout=False)


def _heat(axis: Any, values: np.ndarray, colors: str, low: float, high: float, bad: str = "#f4f4f6") -> Any:
    import matplotlib

    colormap = matplotlib.colormaps[colors].with_extremes(bad=bad)
    drawn = axis.imshow(np.ma.masked_invalid(values), cmap=colormap, vmin=low, vmax=high, aspect="auto")
    return drawn


def _readable(drawn: Any, value: float) -> str:
    """Black or white, whichever stands out from the colour of the cell."""
    if not np.isfinite(value):
        return SOFT
    red, green, blue, _ = drawn.cmap(drawn.norm(value))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.52 else INK


def _label(axis: Any, names: Sequence[str], variants: Sequence[str], title: str) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_xticks(range(len(variants)), variants, rotation=40, ha="left", rotation_mode="anchor")
    axis.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    ends = (-0.5, len(variants) - 0.5), (-0.5, len(names) - 0.5)
    axis.vlines(np.arange(len(variants) + 1) - 0.5, *ends[1], color="white", linewidth=1.5)
    axis.hlines(np.arange(len(names) + 1) - 0.5, *ends[0], color="white", linewidth=1.5)
    axis.set(xlim=ends[0], ylim=ends[1][::-1])
    axis.spines[:].set_visible(False)
    axis.set_xlabel(title, fontweight="bold")
