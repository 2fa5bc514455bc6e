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
        # Of the resolution of the file: at another one, texts are wider or narrower than what is laid out for them.
        figure = Figure(figsize=size, layout="constrained", dpi=DPI)
        FigureCanvasAgg(figure)
        paint(figure)
        arrange_once(figure)
        figure.savefig(stream, dpi=DPI, format="png")
    write_bytes(path, stream.getvalue())


def arrange_once(figure: "Figure") -> None:
    """Lay the figure out, for all its files: otherwise each of them is drawn twice, the first time for its layout."""
    import matplotlib

    engine = figure.get_layout_engine()
    if engine is None:
        return
    engine.execute(figure)
    # None is the engine of the user's matplotlibrc if that has one; "none" leaves a place holder, and a drawing for it.
    with matplotlib.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)


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
