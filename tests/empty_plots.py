"""Empty pictures in place of matplotlib's plots, which take most of the time of a run of seconds.

What the plots show is tested where they are drawn, and that a run draws them in tests/runs/test_run.py.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image


def save_empty(path: Path) -> None:
    Image.new("L", (1, 1)).save(path)


def replace_plots(replace: Callable[[str, Callable[..., None]], object]) -> None:
    """Call `replace(dotted name, stand-in)` for every plot that a run or a check draws."""

    def path_first(path: Path, *arguments: object, **options: object) -> None:
        save_empty(path)

    def path_last(table: object, class_names: object, colors: object, path: Path) -> None:
        save_empty(path)

    replace("segkit.runs.recording.plots.draw.plot_confusion", path_first)
    replace("segkit.runs.recording.plots.class_frequencies.plot_shares", path_first)
    replace("segkit.commands.check_data.plot_shares", path_first)
    replace("segkit.runs.recording.plots.draw.plot_results", path_last)


@contextmanager
def empty_plots() -> Iterator[None]:
    """Within it none is drawn, for what several tests share; a test of its own takes the fixture `quick_plots`."""
    import pytest  # not where programs are started that only set them in place

    with pytest.MonkeyPatch.context() as patch:
        replace_plots(patch.setattr)
        yield


def set_for_good(name: str, stand_in: Callable[..., None]) -> None:
    """Let it stand there to the end of the process."""
    module, _, attribute = name.rpartition(".")
    setattr(importlib.import_module(module), attribute, stand_in)
