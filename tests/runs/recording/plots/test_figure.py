"""How a figure becomes a file: laid out and drawn once, and a full disk is named."""

import errno
import gc
import os
import re

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from segkit.errors import CannotWrite
from segkit.evaluation.fonts import name_fonts
from segkit.runs.recording.plots.figure import save_figure


def paint(figure):
    figure.subplots().set_title("curves")


def test_figure_is_laid_out_and_drawn_once(tmp_path, monkeypatch):
    calls = []
    for kind, name in ((ConstrainedLayoutEngine, "execute"), (Figure, "draw")):
        call = getattr(kind, name)
        monkeypatch.setattr(
            kind,
            name,
            lambda *arguments, call=call, name=name: (calls.append(name), call(*arguments))[1],
        )
    save_figure(tmp_path / "a.png", (4, 3), paint)
    assert calls == ["execute", "draw"]
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (440, 330)


def paint_long_names(figure):
    axes = figure.subplots(1, 2)
    axes[0].barh(range(3), [1, 2, 3])
    axes[0].set_yticks(range(3), ["x" * 20 + "..." + "x" * 17, "sky", "road"], fontsize=10)
    picture = axes[1].imshow([[0.0, 1.0]])
    figure.colorbar(picture, ax=axes[1], shrink=0.8)
    figure.suptitle("how often each class occurs")


@pytest.mark.parametrize("user", ["", "figure.autolayout", "figure.constrained_layout.use"])
def test_pixels_are_those_of_drawing_twice_whatever_the_user_has_set(tmp_path, user):
    """As matplotlib does it: for the file's size, and for the file. Long names fill their place to the edge."""
    twice = Figure(figsize=(8, 3), layout="constrained")
    paint_long_names(twice)
    with name_fonts():
        twice.savefig(tmp_path / "twice.png", dpi=110)
    with matplotlib.rc_context({user: True} if user else {}):
        save_figure(tmp_path / "once.png", (8, 3), paint_long_names)
    with Image.open(tmp_path / "twice.png") as expected, Image.open(tmp_path / "once.png") as found:
        assert np.array_equal(np.asarray(expected), np.asarray(found))


@pytest.mark.parametrize("collects", [True, False])
def test_collector_is_as_before(tmp_path, collects):
    was_on, seen = gc.isenabled(), []
    (gc.enable if collects else gc.disable)()
    try:
        save_figure(tmp_path / "a.png", (4, 3), lambda figure: (paint(figure), seen.append(gc.isenabled())))
        assert seen == [False] and gc.isenabled() == collects
        with pytest.raises(ZeroDivisionError):
            save_figure(tmp_path / "b.png", (4, 3), lambda figure: 1 / 0)
        assert gc.isenabled() == collects
    finally:
        (gc.enable if was_on else gc.disable)()


def test_full_disk_is_named(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.replace", full)
    file = tmp_path / "a.png"
    with pytest.raises(CannotWrite, match=f"cannot write {re.escape(str(file))}: the disk is full"):
        save_figure(file, (4, 3), paint)
