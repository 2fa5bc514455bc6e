"""The charts of the page, as SVG with its numbers as text: calibration, size of objects, distance to a border."""

from collections.abc import Sequence

from segkit.commands.error_report.places import DISTANCES, SIZES, PlaceCounts
from segkit.commands.error_report.tables import class_cell, number, render_bars, render_table
from segkit.data.palette import Legend
from segkit.evaluation.calibration import CalibrationScores
from segkit.evaluation.confidence_bins import BINS
from segkit.system.console import percent

#: Pixels of the diagram's square, and of the margin at its left and below it; of the histogram under it.
SIDE, MARGIN, LOW = 300, 36, 90


def render_calibration(scores: CalibrationScores) -> str:
    """The reliability diagram over the histogram of the confidences, and a table of all bins."""
    counts, accuracy, confidence = scores.bins
    total, most = max(1, sum(counts)), max(1, *counts)
    step, top = SIDE / BINS, SIDE + MARGIN + LOW
    parts = []
    for place, pixels in enumerate(counts):
        if not pixels:
            continue
        left, right, sure = MARGIN + place * step, accuracy[place], confidence[place]
        title = (
            f"confidence {percent(place / BINS)} to {percent((place + 1) / BINS)} %, {pixels:,} pixels: "
            f"mean {percent(sure)} %, accuracy {percent(right)} %"
        )
        height = LOW * pixels / most
        low, high = sorted((right, sure))
        parts.append(
            f"<g><title>{title}</title>{_rect('fill', left, SIDE * (1 - right), step - 1, SIDE * right)}"
            f"{_rect('gap', left, SIDE * (1 - high), step - 1, SIDE * (high - low))}"
            f"{_rect('fill', left, top - height, step - 1, height)}</g>"
        )
    ticks = "".join(
        f'<text x="{MARGIN + SIDE * tick / 100:.1f}" y="{SIDE + 16}" text-anchor="middle">{tick}</text>'
        f'<text x="{MARGIN - 6}" y="{SIDE * (1 - tick / 100) + 10:.1f}" text-anchor="end">{tick}</text>'
        for tick in (0, 50, 100)
    )
    drawing = (
        f'<svg class="diagram" viewBox="0 0 {SIDE + MARGIN + 14} {top + 20}" role="img" '
        'aria-label="Reliability diagram">'
        f"{_rect('ground', MARGIN, 0, SIDE, SIDE)}{''.join(parts)}"
        f'<line x1="{MARGIN}" y1="{SIDE}" x2="{MARGIN + SIDE}" y2="0"></line>{ticks}'
        f'<text x="{MARGIN}" y="{top + 15}">number of pixels, up to {most:,}</text></svg>'
    )
    rows = [
        (
            f"{percent(b / BINS)} to {percent((b + 1) / BINS)}",
            accuracy[b],
            (percent(confidence[b]), percent(pixels / total), f"{pixels:,}"),
        )
        for b, pixels in enumerate(counts)
        if pixels
    ]
    table = render_bars(
        "calibration",
        "Pixels by the probability, in percent, of the class that is predicted: how many of them are right",
        ("accuracy", "%", "mean confidence", "% of pixels", "pixels"),
        rows,
    )
    return f'<div class="pair">{drawing}{table}</div>'


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"></rect>'


def name_bins(least: Sequence[int], *, whole: bool) -> list[str]:
    """Bins by their least values: of `whole` numbers "16 to 63", else "2 to 4", and the last "32 or more"."""
    ends = [following - whole for following in least[1:]]
    return [f"{low:,} to {high:,}" for low, high in zip(least, ends, strict=False)] + [
        f"{least[-1]:,} or more"
    ]


def render_sizes(places: PlaceCounts, labels: Legend) -> str:
    """How much of the objects of each size is found, of all classes and of each."""
    bins = name_bins(SIZES, whole=True)
    rows = [
        (
            what,
            _ratio(found, pixels),
            (f"{objects:,}", percent(_ratio(half, objects)), f"{found:,} of {pixels:,}"),
        )
        for what, (objects, half, pixels, found) in zip(bins, places.sizes.sum(axis=0).tolist(), strict=True)
    ]
    together = render_bars(
        "sizes",
        "Objects by their pixels: the share of those that are predicted as their class",
        ("found", "%", "objects", "% found by half", "pixels"),
        rows,
    )
    caption = "Percent found of each class, by the pixels of an object"
    by_class = _by_class("size-classes", caption, bins, places.sizes[:, :, [3, 2]].tolist(), labels)
    return f"{together}\n{by_class}"


def render_distances(places: PlaceCounts, labels: Legend) -> str:
    """How many pixels are wrong at each distance to a border, of all classes and of each."""
    bins = [*name_bins(DISTANCES, whole=False), "no border in the image"]
    rows = [
        (what, _ratio(wrong, pixels), (f"{wrong:,} of {pixels:,}",))
        for what, (pixels, wrong) in zip(bins, places.distances.sum(axis=0).tolist(), strict=True)
    ]
    together = render_bars(
        "distances",
        "Pixels by their distance, in pixels, to the nearest border between true classes: the share that is wrong",
        ("wrong", "%", "pixels"),
        rows,
    )
    caption = "Percent wrong of each class, by the distance to the nearest border"
    by_class = _by_class("distance-classes", caption, bins, places.distances[:, :, [1, 0]].tolist(), labels)
    return f"{together}\n{by_class}"


def _by_class(
    name: str, caption: str, bins: Sequence[str], counts: list[list[list[int]]], labels: Legend
) -> str:
    """A row per class: part / whole of `counts` (C, bins, 2), and both where the mouse rests. Bins without a pixel are
    left out."""
    used = [place for place in range(len(bins)) if any(cells[place][1] for cells in counts)]
    rows = []
    for each, of_class in enumerate(counts):
        cells = [of_class[place] for place in used]
        shares = [number(_ratio(part, whole), percent(_ratio(part, whole))) for part, whole in cells]
        titled = [
            cell._replace(html=f'<span title="{part:,} of {whole:,} pixels">{cell.html}</span>')
            for cell, (part, whole) in zip(shares, cells, strict=True)
        ]
        rows.append([class_cell(each, labels), *titled])
    columns = ("class", *(bins[place] for place in used))
    return f"<details><summary>by class</summary>{render_table(name, caption, columns, rows)}</details>"


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
