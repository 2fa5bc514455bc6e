"""The scores of all variants seed by seed, a line per seed: whether the seeds agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segkit.ablation.report.figures.curves import FEW
from segkit.ablation.report.figures.style import INK, WIDTH, add_legend, draw, shorten_all
from segkit.ablation.statistics.unit import POINTS, Unit
from segkit.evaluation.fonts import drawable_text

LONGEST = 26  # characters of a name below the axis
MOST_TOLD = 8  # seeds, beyond which their lines look alike
_MARKERS = "osD^vPX*"


@dataclass(frozen=True)
class SeedLine:
    """The scores of one seed in their unit, by variant; NaN where the run is missing."""

    seed: int
    values: tuple[float, ...]


def seed_lines(scores: Sequence[Mapping[int, float]], unit: Unit = POINTS) -> list[SeedLine]:
    """A line per seed from the scores of each variant by seed."""
    seeds = sorted({seed for known in scores for seed in known})
    return [
        SeedLine(seed, tuple(unit.factor * known.get(seed, np.nan) for known in scores)) for seed in seeds
    ]


def draw_paired(
    lines: Sequence[SeedLine],
    variants: Sequence[str],
    baseline: str,
    stem: Path,
    *,
    score: str = "mIoU, %",
    pdf: bool = False,
) -> None:
    """Write the plot. Raises CannotWrite."""
    width = WIDTH if len(variants) > FEW else 0.72 * WIDTH
    names = shorten_all(variants, LONGEST)
    longest = max(len(name) for name in names)
    turned = 0.075 * longest > 0.86 * width / len(variants)
    height = 2.5 + (0.045 * longest if turned else 0.0)
    draw(
        stem,
        (width, height),
        lambda figure: _paint(figure, lines, variants, names, baseline, score, turned),
        pdf=pdf,
    )


def _paint(
    figure: Any,
    lines: Sequence[SeedLine],
    variants: Sequence[str],
    names: Sequence[str],
    baseline: str,
    score: str,
    turned: bool,
) -> None:
    import matplotlib

    axis = figure.subplots()
    places = np.arange(len(variants))
    values = np.array([line.values for line in lines])  # (S, V)
    told = len(lines) <= MOST_TOLD
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, len(lines)))
    handles = []
    for number, line in enumerate(lines):
        handles += axis.plot(
            places, line.values, marker=_MARKERS[number] if told else "o", color=shades[number] if told else "#8a8a90",
            markersize=4.5, linewidth=1.1, zorder=2,
        )  # fmt: skip
    means = [
        column[np.isfinite(column)].mean() if np.isfinite(column).any() else np.nan for column in values.T
    ]
    mean = axis.plot(places, means, "_", color=INK, markersize=20, markeredgewidth=1.6, zorder=3)
    axis.set_xlim(-0.4, len(variants) - 0.6)
    side = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    axis.set_xticks(places, names, **side)
    for label, variant in zip(axis.get_xticklabels(), variants, strict=True):
        label.set_fontweight("bold" if variant == baseline else "normal")
    axis.tick_params(axis="x", length=0)
    axis.set_ylabel(drawable_text(score))
    axis.grid(axis="y")
    shown = [f"seed {line.seed}" for line in lines] if told else ["a seed"]
    add_legend(figure, [*handles[: len(shown)], *mean], [*shown, "mean"])
