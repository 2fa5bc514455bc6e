"""What all figures of a report have in common: one look per variant, type, sizes, how a file is written."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segkit.data.palette import OKABE_ITO
from segkit.evaluation.fonts import PLOT_FONT, drawable, name_fonts
from segkit.runs.recording.plots.figure import arrange_once, without_collector
from segkit.system.files import write_bytes
from segkit.system.printable import printable

WIDTH = 7.0  # inches: a page; half of it is a column, where 9 pt would still be read
INK = "#1c1c1e"
SOFT = "#77777d"
GRID = "#e6e6ea"
DPI = 200

#: Okabe and Ito's colours in the order in which they are told apart best on white; black is the baseline's.
_COLORS = ["#{:02x}{:02x}{:02x}".format(*OKABE_ITO[place]) for place in (5, 6, 3, 7, 2, 1)]
#: With each turn of the colours other dashes and another marker.
_DASHES = (
    "-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (9, 3)), (0, (5, 1.5, 1.2, 1.5, 1.2, 1.5)),
    (0, (1.2, 3)),
)  # fmt: skip
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_RC: dict[str, Any] = {
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "font.family": [PLOT_FONT],  # comes with matplotlib, so that figures are the same everywhere
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9a9aa0",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.color": "#9a9aa0",
    "ytick.color": "#9a9aa0",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,  # a variant may be called a$b$
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 2.4,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
    "hatch.linewidth": 0.6,
    "image.composite_image": False,  # each picture keeps its own pixels in a PDF
    "pdf.fonttype": 42,  # text stays text for whoever edits the figure
    "savefig.facecolor": "white",
}


@dataclass(frozen=True)
class Look:
    """How a variant is drawn in every figure."""

    color: str
    dashes: Any
    marker: str


def choose_looks(variants: Sequence[str], baseline: str) -> dict[str, Look]:
    """A look per variant: the baseline is dark, the others take colours in order, then other dashes and markers."""
    looks, others = {}, 0
    for variant in variants:
        if variant == baseline:
            looks[variant] = Look("#333338", "-", "o")
            continue
        turn, place = divmod(others, len(_COLORS))
        turn %= len(_DASHES)
        looks[variant] = Look(_COLORS[place], _DASHES[turn], _MARKERS[turn])
        others += 1
    return looks


def draw(
    stem: Path,
    size: tuple[float, float],
    paint: Callable[[Any], None],
    *,
    layout: Literal["constrained"] | None = "constrained",
    pdf: bool = False,
) -> None:
    """Write `<stem>.png` and with `pdf` `<stem>.pdf`: a figure of `size` inches, filled by `paint(figure)`.

    Raises CannotWrite.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_RC), name_fonts(), without_collector():
        figure = Figure(figsize=size, layout=layout, dpi=DPI)
        FigureCanvasAgg(figure)
        paint(figure)
        arrange_once(figure)
        for kind, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None}))[: 1 + pdf]:
            content = io.BytesIO()
            figure.savefig(content, format=kind, dpi=DPI, metadata=metadata)
            write_bytes(stem.with_suffix(f".{kind}"), content.getvalue())


def shorten(name: str, most: int) -> str:
    """The name with its middle left out if it is longer than `most`: names of variants differ at both ends."""
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return f"{name[: most - 1 - tail]}…{name[-tail:]}"


def shorten_all(names: Sequence[str], most: int) -> list[str]:
    """Shortened names, or the names themselves where two would look the same; all as a figure can show them."""
    names = _as_drawn(names)
    short = [shorten(name, most) for name in names]
    return [text if short.count(text) == 1 else name for text, name in zip(short, names, strict=True)]


def _as_drawn(names: Sequence[str]) -> list[str]:
    return drawable([printable(name, keep="") for name in names], kind="variant")


def shorten_to_fit(figure: Any, names: Sequence[str], inches: float, *, size: float) -> list[str]:
    """The names, all shortened as much as it takes that the longest fits into `inches` at `size` points."""
    from matplotlib.font_manager import FontProperties

    names = _as_drawn(names)
    font, renderer = FontProperties(size=size), figure.canvas.get_renderer()
    most = max(len(name) for name in names)
    while most > 5:
        short = [shorten(name, most) for name in names]
        widths = [renderer.get_text_width_height_descent(text, font, False)[0] for text in short]
        if max(widths) <= inches * figure.dpi:
            break
        most -= 1
    return shorten_all(names, most)


def add_legend(figure: Any, handles: Sequence[Any], names: Sequence[str]) -> None:
    """One legend for all panels, above them, in as many columns as fit; the figure grows by its height."""
    short = shorten_all(names, 34)
    for columns in range(len(names), 0, -1):
        legend = figure.legend(handles, short, loc="outside upper left", ncols=columns, columnspacing=1.6)
        extent = legend.get_window_extent(figure.canvas.get_renderer())
        if columns == 1 or extent.width <= figure.bbox.width:
            figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)
            return
        legend.remove()
