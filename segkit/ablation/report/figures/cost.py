"""What a variant costs against what it reaches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.ablation.report.figures.curves import FEW
from segkit.ablation.report.figures.style import WIDTH, Look, add_legend, draw
from segkit.ablation.report.number_text import is_number
from segkit.ablation.statistics.difference import Score


@dataclass(frozen=True)
class CostPoint:
    """Training minutes of a run and mIoU in percent, each with the sample deviation over seeds (0 for one)."""

    variant: str
    minutes: float
    minutes_std: float
    miou: float
    miou_std: float


def cost_points(costs: Sequence[tuple[str, Score | None, Score | None]]) -> list[CostPoint]:
    """From (variant, minutes, mIoU); a variant without either is left out."""
    points = []
    for variant, minutes, miou in costs:
        if minutes is None or miou is None or not (is_number(minutes.mean) and is_number(miou.mean)):
            continue
        points.append(
            CostPoint(variant, minutes.mean, minutes.std or 0.0, 100 * miou.mean, 100 * (miou.std or 0.0))
        )
    return points


def draw_cost(
    points: Sequence[CostPoint], looks: Mapping[str, Look], stem: Path, *, pdf: bool = False
) -> None:
    """Write the plot; times below two minutes are shown in seconds. Raises CannotWrite."""
    width = WIDTH if len(points) > FEW else 0.72 * WIDTH
    draw(stem, (width, 2.8), lambda figure: _paint(figure, points, looks), pdf=pdf)


def _paint(figure: Any, points: Sequence[CostPoint], looks: Mapping[str, Look]) -> None:
    axis = figure.subplots()
    in_seconds = max(point.minutes for point in points) < 2
    factor = 60 if in_seconds else 1
    handles = []
    for point in points:
        look = looks[point.variant]
        x, x_error = factor * point.minutes, factor * point.minutes_std
        axis.errorbar(
            x, point.miou, xerr=x_error, yerr=point.miou_std, fmt="none", ecolor=look.color, elinewidth=1.3,
            capsize=2.5, alpha=0.8,
        )  # fmt: skip
        handles += axis.plot(
            x, point.miou, look.marker, color=look.color, markersize=8, markeredgecolor="white", zorder=3
        )
    axis.margins(0.12)
    axis.set_xlabel(f"training time per run, {'seconds' if in_seconds else 'minutes'}")
    axis.set_ylabel("mIoU, %")
    axis.grid()
    add_legend(figure, handles, [point.variant for point in points])
