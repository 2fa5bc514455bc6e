"""Forest plot: the difference of each variant to the baseline with its interval, a dot per seed, and beside it where
the interval comes from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.ablation.report.figures.style import INK, SOFT, WIDTH, Look, draw, shorten_all
from segkit.ablation.report.number_text import difference_text, is_number, say_unit
from segkit.ablation.statistics.difference import Difference
from segkit.ablation.statistics.unit import POINTS, Unit
from segkit.evaluation.fonts import drawable_text

#: Of the bars of shares: greys, since colours are the variants'.
SEEDS, IMAGES = "#55555b", "#c9c9cf"


@dataclass(frozen=True)
class ForestRow:
    """One line of the plot; `images` are the ends of the part from images. An end that nobody knows is NaN.

    `from_seeds` is the share of seeds in the square of the half-width on the side of 0, in [0, 1]; the rest is from
    images. None where there is nothing to share out: with one seed, and where all predictions are equal.
    """

    variant: str
    value: float
    low: float
    high: float
    images: tuple[float, ...]
    seeds: tuple[float, ...]
    text: str
    verdict: str
    from_seeds: float | None = None


def seeds_share(found: Difference) -> float | None:
    """The share of `noise` in the square that it and `from_images` add up to; None with one seed or if identical."""
    if found.noise is None or found.verdict == "identical":
        return None
    seeds, images = found.noise**2, found.from_images**2
    return seeds / (seeds + images) if is_number(seeds + images) and seeds + images > 0 else None


def forest_rows(differences: Sequence[Difference]) -> list[ForestRow]:
    """The rows from top to bottom, in the order of the variants; differences that are not defined are left out."""
    rows = []
    for found in differences:
        if not is_number(found.value):
            continue
        factor = found.unit.factor
        low, high = (factor * end if is_number(end) else math.nan for end in found.interval)
        ends = found.value - found.images[0], found.value + found.images[1]
        images = tuple(factor * end if is_number(end) else math.nan for end in ends)
        seeds = tuple(factor * value for value in found.per_seed)
        text = difference_text(found)
        shown = f"{text.value}  {text.interval}"
        rows.append(
            ForestRow(
                found.variant,
                factor * found.value,
                low,
                high,
                images,
                seeds,
                shown,
                found.verdict,
                seeds_share(found),
            )
        )
    return rows


def draw_forest(
    rows: Sequence[ForestRow],
    baseline: str,
    level: float,
    looks: Mapping[str, Look],
    stem: Path,
    *,
    metric: str = "mIoU",
    unit: Unit = POINTS,
    pdf: bool = False,
) -> None:
    """Write the plot. Raises CannotWrite."""
    what = f"difference in {metric} to {shorten_all([baseline], 30)[0]}, {say_unit(unit)}"
    draw(
        stem,
        (WIDTH, 1.05 + 0.46 * len(rows) + 0.2 * any(row.from_seeds is not None for row in rows)),
        lambda figure: _paint(figure, rows, what, level, looks),
        pdf=pdf,
    )


def _paint(
    figure: Any,
    rows: Sequence[ForestRow],
    what: str,
    level: float,
    looks: Mapping[str, Look],
) -> None:
    if any(row.from_seeds is not None for row in rows):
        axis, beside = figure.subplots(1, 2, width_ratios=(5, 1), sharey=True)
        _paint_shares(beside, rows)
    else:
        axis = figure.subplots()
    axis.axvline(0, color=INK, linewidth=0.9, zorder=1)
    names = shorten_all([row.variant for row in rows], 30)
    for place, row in enumerate(rows):
        look = looks[row.variant]
        ends = [row.low, row.high]
        axis.plot(ends, [place, place], color=look.color, linewidth=1.2, solid_capstyle="butt", zorder=2)
        axis.plot(
            row.images,
            [place, place],
            color=look.color,
            linewidth=4.5,
            alpha=0.45,
            solid_capstyle="butt",
            zorder=2,
        )
        axis.plot(ends, [place, place], "|", color=look.color, markersize=11, markeredgewidth=1.3, zorder=2)
        axis.plot(row.value, place, look.marker, color=look.color, markersize=5, zorder=4)
        below = [place + 0.3] * len(row.seeds)
        axis.plot(
            row.seeds, below, "o", color=look.color, markersize=3.5, markeredgewidth=0, alpha=0.7, zorder=3
        )
        for height, text, color in ((-0.15, row.text, INK), (0.2, row.verdict, SOFT)):
            axis.text(
                1.02,
                place + height,
                text,
                transform=axis.get_yaxis_transform(),
                va="center",
                color=color,
                size=8.5,
            )
    axis.set_yticks(range(len(rows)), names)
    axis.set_ylim(len(rows) - 0.45, -0.55)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")
    axis.locator_params(axis="x", nbins=6)  # or labels with three decimals run into each other
    axis.set_xlabel(drawable_text(what))
    axis.text(
        1.02, 1.0, f"difference  [{100 * level:g} % interval]", transform=axis.transAxes, va="bottom", size=8.5,
        color=SOFT,
    )  # fmt: skip


def _paint_shares(axis: Any, rows: Sequence[ForestRow]) -> None:
    """Bars of the shares of seeds and images, and in words where there is one seed."""
    for place, row in enumerate(rows):
        share = row.from_seeds
        if share is None:
            if row.verdict == "one seed":
                axis.text(0, place, "images only", va="center", size=8.5, color=SOFT)
            continue
        for left, width, color, ink in ((0.0, share, SEEDS, "white"), (share, 1 - share, IMAGES, INK)):
            axis.barh(place, width, 0.42, left=left, color=color, linewidth=0)
            if width >= 0.5:
                text = f"{100 * width:.0f} %"
                axis.text(left + width / 2, place, text, ha="center", va="center", size=8, color=ink)
    axis.set_xlim(0, 1)
    axis.set_xticks([])
    axis.tick_params(axis="y", length=0, labelleft=False)
    axis.spines[:].set_visible(False)
    handles = [axis.barh(0, 0, color=color) for color in (SEEDS, IMAGES)]
    axis.figure.legend(
        handles, ["from seeds", "from images"], loc="outside upper right", ncols=2, borderpad=0, handlelength=0.8,
        handleheight=0.8, handletextpad=0.4, columnspacing=1.0, labelcolor=SOFT,
    )  # fmt: skip
