"""Curves over the run, averaged over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segkit.ablation.report.figures.style import WIDTH, Look, add_legend, draw
from segkit.ablation.study.study import Run

FEW = 6  # variants, beyond which lines are thinner and legends need the width of a page


@dataclass(frozen=True)
class Curve:
    """The mean over seeds of a logged column, with the smallest and largest value of any seed: arrays (T,)."""

    variant: str
    iterations: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


@dataclass(frozen=True)
class Panel:
    """One set of axes: a title, the curves, and whether they are shares to be shown in percent, and from 0."""

    title: str
    curves: tuple[Curve, ...]
    percent: bool = False
    from_zero: bool = False


def average_curve(variant: str, runs: Sequence[Run], column: str) -> Curve | None:
    """The curve over those iterations that every run which logged the column has; None if there are none.

    A mean over other seeds at other iterations would jump where a seed comes or goes.
    """
    logged = [_finite(*run.history[column]) for run in runs if column in run.history]
    logged = [(iterations, values) for iterations, values in logged if len(iterations)]
    if not logged:
        return None
    shared = logged[0][0]
    for iterations, _ in logged[1:]:
        shared = np.intersect1d(shared, iterations)
    if not len(shared):
        return None
    values = np.stack(
        [values[np.searchsorted(iterations, shared)] for iterations, values in logged]
    )  # (S, T)
    return Curve(variant, shared, values.mean(0), values.min(0), values.max(0), len(logged))


def _finite(iterations: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = np.isfinite(values)
    unique, first = np.unique(
        np.asarray(iterations)[kept], return_index=True
    )  # sorted, as searchsorted needs
    return unique, np.asarray(values, dtype=float)[kept][first]


def draw_curves(panels: Sequence[Panel], looks: Mapping[str, Look], stem: Path, *, pdf: bool = False) -> None:
    """Write the panels side by side below one legend. Raises CannotWrite."""
    names = list(dict.fromkeys(curve.variant for panel in panels for curve in panel.curves))
    width = WIDTH if len(panels) > 1 or len(names) > FEW else 0.72 * WIDTH
    draw(stem, (width, 2.5), lambda figure: _paint(figure, panels, names, looks), pdf=pdf)


def _paint(figure: Any, panels: Sequence[Panel], names: Sequence[str], looks: Mapping[str, Look]) -> None:
    handles: dict[str, Any] = {}
    for axis, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        factor = 100 if panel.percent else 1
        for curve in panel.curves:
            look = looks[curve.variant]
            marker = look.marker if len(curve.iterations) <= 12 else None
            (line,) = axis.plot(
                curve.iterations, factor * curve.mean, color=look.color, linestyle=look.dashes, marker=marker,
                markersize=3.5, linewidth=1.7 if len(names) <= FEW else 1.1, zorder=3,
            )  # fmt: skip
            if curve.seeds > 1:
                ends = factor * curve.low, factor * curve.high
                axis.fill_between(
                    curve.iterations, *ends, color=look.color, alpha=0.14, linewidth=0, zorder=2
                )
            handles.setdefault(curve.variant, line)
        axis.set_title(panel.title)
        if panel.from_zero:
            axis.set_ylim(bottom=0)
        axis.set_xlabel("iteration")
        axis.xaxis.set_major_locator(_few_ticks())
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.grid()
    add_legend(figure, [handles[name] for name in names], names)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=6, integer=True)
