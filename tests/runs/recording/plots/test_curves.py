"""`results.png`: which curves it has, and of which colour."""

import math

import pytest
from matplotlib.figure import Figure
from PIL import Image

from segkit.runs.recording.plots import curves
from segkit.runs.recording.plots.curves import plot_results
from segkit.runs.recording.results import ResultsTable


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.csv"


def table_of_a_run(path) -> ResultsTable:
    table = ResultsTable(path)
    for n in range(1, 41):
        table.add(n, {"train/loss": 1 / n, "train/lr": 0.1, "loss/kept_fraction": 0.5})
    table.add(40, {"val/mIoU": 0.5, "val/iou/a": 0.25, "val/iou/b": math.nan, "val/ce": 1.0})
    return table


def test_plot_draws_every_curve_that_has_values(path, monkeypatch):
    drawn = {}
    draw = curves._plot_curves

    def note(axis, *arguments):
        draw(axis, *arguments)
        drawn[tuple(line.get_label() for line in axis.get_lines())] = [text.get_text() for text in axis.texts]

    monkeypatch.setattr(curves, "_plot_curves", note)
    plot_results(table_of_a_run(path), ["a", "b"], ["#112233", "#445566"], path.with_suffix(".png"))
    assert drawn == {
        ("loss", "ce (val)"): [],
        ("mIoU",): [],
        ("a",): [],  # b is nan throughout: it does not occur
        ("kept fraction",): [],
        ("lr",): [],
        (): ["no data"],
    }
    with Image.open(path.with_suffix(".png")) as picture:
        assert picture.format == "PNG" and min(picture.size) > 500


def test_curve_of_a_class_has_its_colour_even_after_one_that_does_not_occur():
    axis = Figure().subplots()
    table = ResultsTable.__new__(ResultsTable)
    table.rows = [{"iteration": 1, "val/iou/a": math.nan, "val/iou/b": 0.5}]
    curves._plot_curves(axis, table, {"val/iou/a": "a", "val/iou/b": "b"}, ["#112233", "#445566"])
    assert [(line.get_label(), line.get_color()) for line in axis.get_lines()] == [("b", "#445566")]


def test_plot_of_a_run_without_any_row(path):
    plot_results(ResultsTable(path), ["a"], ["#112233"], path.with_suffix(".png"))
    assert path.with_suffix(".png").stat().st_size > 1000


def test_of_many_classes_those_at_both_ends_have_names_and_the_others_are_grey(path):
    table = ResultsTable(path)
    names = [f"c{n}" for n in range(171)]
    for iteration in (1, 2):
        table.add(iteration, {f"val/iou/{name}": n / 200 for n, name in enumerate(names[:-1])})
    table.add(2, {"val/iou/c170": math.nan})
    axis = Figure().subplots()
    said = curves._plot_extremes(axis, table, {f"val/iou/{name}": name for name in names})
    assert said == ": the 5 highest and 5 lowest of 170"
    shown = [text.get_text() for text in axis.get_legend().get_texts()]
    assert shown == ["c169", "c168", "c167", "c166", "c165", "c4", "c3", "c2", "c1", "c0"]
    assert sum(line.get_color() == "0.8" for line in axis.lines) == 161


def test_many_classes_of_which_few_occur_all_have_names(path):
    table = ResultsTable(path)
    table.add(1, {f"val/iou/c{n}": 0.5 if n < 3 else math.nan for n in range(30)})
    axis = Figure().subplots()
    assert curves._plot_extremes(axis, table, {f"val/iou/c{n}": f"c{n}" for n in range(30)}) == ""
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["c0", "c1", "c2"]
