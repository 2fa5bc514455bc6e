"""How a figure of matplotlib becomes a file: laid out and drawn once."""

import gc
import io
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from segkit.evaluation.fonts import name_fonts
from segkit.system.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110


def save_figure(path: Path, size: tuple[float, float], paint: Callable[["Figure"], object]) -> None:
    """Write the PNG `path`: a figure of `size` inches, filled by `paint(figure)`. Raises CannotWrite."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stream = io.BytesIO()
    with name_fonts(), without_collector():
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        paint(figure)
        arrange_once(figure)
        figure.savefig(stream, dpi=DPI, format="png")
    write_bytes(path, stream.getvalue())


def arrange_once(figure: "Figure") -> None:
    """Lay the figure out, for all its files: otherwise each of them is drawn twice, the first time for its layout."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)  # "none" leaves a place holder, and a drawing for it


@contextmanager
def without_collector() -> Generator[None]:
    """Without the search for unreachable objects, which a figure's many new ones set off again and again, through all
    that torch has loaded."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
