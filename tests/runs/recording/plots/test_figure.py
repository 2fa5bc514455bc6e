"""How a figure becomes a file: laid out and drawn once, and a full disk is named."""

import errno
import gc
import os
import re

import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from segkit.errors import CannotWrite
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


def test_layout_is_that_of_drawing_twice_to_a_pixel(tmp_path):
    """As matplotlib does it: for the file's size, and for the file."""
    twice = Figure(figsize=(4, 3), layout="constrained")
    paint(twice)
    twice.savefig(tmp_path / "twice.png", dpi=110)
    once = []
    save_figure(tmp_path / "once.png", (4, 3), lambda figure: (paint(figure), once.append(figure)))
    corners = [figure.axes[0].get_window_extent().get_points() for figure in (twice, once[0])]
    assert abs(corners[0] - corners[1]).max() < 1
    assert once[0].axes[0].get_tightbbox().ymax < once[0].bbox.ymax  # the title is inside


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
