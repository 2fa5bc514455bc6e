"""`results.csv` and `results.png`: what is on disk at any moment, and what a resumed run makes of it."""

import csv
import errno
import math
import os
import re

import pytest
from matplotlib.figure import Figure
from PIL import Image

from segkit.errors import CannotWrite
from segkit.runs.recording.results import ResultsTable, _plot_extremes, plot_results


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.csv"


def on_disk(path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_file_holds_all_rows_after_every_add(path):
    table = ResultsTable(path)
    for n in range(1, 6):
        table.add(n, {"train/loss": 1 / n})
        assert [row["iteration"] for row in on_disk(path)] == [str(k) for k in range(1, n + 1)]
    assert path.read_text() == "iteration,train/loss\n1,1\n2,0.5\n3,0.333333\n4,0.25\n5,0.2\n"


def test_values_of_one_iteration_share_a_row(path):
    table = ResultsTable(path)
    table.add(2, {"train/loss": 0.5})
    table.add(2, {"val/mIoU": 0.25})
    table.add(4, {"train/loss": 0.4})
    table.add(4, {"val/mIoU": 0.75})
    assert path.read_text() == "iteration,train/loss,val/mIoU\n2,0.5,0.25\n4,0.4,0.75\n"


def test_columns_that_come_later_are_empty_before(path):
    table = ResultsTable(path)
    table.add(1, {"train/loss": 3.0})
    table.add(2, {"val/mIoU": 0.5, "val/iou/road": 0.25})
    table.add(3, {"train/loss": 1.0})
    assert path.read_text() == "iteration,train/loss,val/mIoU,val/iou/road\n1,3,,\n2,,0.5,0.25\n3,1,,\n"


def test_column_gives_the_rows_that_have_it(path):
    table = ResultsTable(path)
    table.add(1, {"train/loss": 3.0})
    table.add(2, {"val/mIoU": 0.5})
    table.add(3, {"train/loss": 1.0})
    assert table.column("train/loss") == ([1, 3], [3.0, 1.0])
    assert table.column("val/mIoU") == ([2], [0.5])
    assert table.column("never written") == ([], [])


def test_numbers_read_back(path):
    values = {
        "nan": math.nan,
        "inf": math.inf,
        "minus": -math.inf,
        "small": 1.23456e-12,
        "large": 98765432.0,
        "no": -0.5,
    }
    ResultsTable(path).add(7, values)
    read = ResultsTable(path, last_iteration=7).rows[0]
    assert math.isnan(read.pop("nan")) and math.isnan(values.pop("nan"))
    assert read == {"iteration": 7, **values}


def test_resume_drops_the_rows_that_are_written_anew(path):
    table = ResultsTable(path)
    for n in (10, 20, 30):
        table.add(n, {"train/loss": 1 / n})
    resumed = ResultsTable(path, last_iteration=20)
    assert [row["iteration"] for row in on_disk(path)] == ["10", "20"]  # already before the first new row
    resumed.add(20, {"val/mIoU": 0.5})
    resumed.add(30, {"train/loss": 2.0})
    rows = on_disk(path)
    assert [(row["iteration"], row["train/loss"], row["val/mIoU"]) for row in rows] == [
        ("10", "0.1", ""),
        ("20", "0.05", "0.5"),
        ("30", "2", ""),
    ]


def test_new_run_starts_without_rows(path):
    ResultsTable(path).add(5, {"train/loss": 1.0})
    assert ResultsTable(path).rows == []


@pytest.mark.parametrize("torn", ["3", "30", "30,0.0", "30,1e-", "30,-", ","])
def test_row_that_a_power_cut_tore_is_dropped(path, torn):
    path.write_text(f"iteration,train/loss\n10,0.5\n20,0.25\n{torn}")
    table = ResultsTable(path, last_iteration=40)
    assert [row["iteration"] for row in table.rows] == [10, 20]
    table.add(30, {"train/loss": 0.125})
    assert path.read_text() == "iteration,train/loss\n10,0.5\n20,0.25\n30,0.125\n"


def test_class_names_may_hold_commas_and_quotes(path):
    names = ["val/iou/road, paved", 'val/iou/"other"', "val/iou/Straße"]
    ResultsTable(path).add(1, dict.fromkeys(names, 0.5))
    assert on_disk(path) == [{"iteration": "1", **dict.fromkeys(names, "0.5")}]
    resumed = ResultsTable(path, last_iteration=1)
    assert resumed.columns == ["iteration", *names]
    assert resumed.column(names[0]) == ([1], [0.5])


def fill(table: ResultsTable) -> ResultsTable:
    for n in range(1, 41):
        table.add(n, {"train/loss": 1 / n, "train/lr": 0.1, "loss/kept_fraction": 0.5})
    table.add(40, {"val/mIoU": 0.5, "val/iou/a": 0.25, "val/iou/b": math.nan, "val/ce": 1.0})
    return table


def test_plot_draws_every_curve_that_has_values(path, monkeypatch):
    from segkit.runs.recording import results

    drawn = {}
    draw = results._plot_curves

    def note(axis, *arguments):
        draw(axis, *arguments)
        drawn[tuple(line.get_label() for line in axis.get_lines())] = [text.get_text() for text in axis.texts]

    monkeypatch.setattr(results, "_plot_curves", note)
    plot_results(fill(ResultsTable(path)), ["a", "b"], ["#112233", "#445566"], path.with_suffix(".png"))
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
    from matplotlib.figure import Figure

    from segkit.runs.recording.results import _plot_curves

    axis = Figure().subplots()
    table = ResultsTable.__new__(ResultsTable)
    table.rows = [{"iteration": 1, "val/iou/a": math.nan, "val/iou/b": 0.5}]
    _plot_curves(axis, table, {"val/iou/a": "a", "val/iou/b": "b"}, ["#112233", "#445566"])
    assert [(line.get_label(), line.get_color()) for line in axis.get_lines()] == [("b", "#445566")]


def test_plot_of_a_run_without_any_row(path):
    plot_results(ResultsTable(path), ["a"], ["#112233"], path.with_suffix(".png"))
    assert path.with_suffix(".png").stat().st_size > 1000


@pytest.mark.parametrize("write", ["a row", "the plot"])
def test_full_disk_is_named(path, monkeypatch, write):
    table = fill(ResultsTable(path))

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.open" if write == "a row" else "os.replace", full)
    file = path if write == "a row" else path.with_suffix(".png")
    with pytest.raises(CannotWrite, match=f"cannot write {re.escape(str(file))}: the disk is full"):
        if write == "a row":
            table.add(41, {"train/loss": 1.0})
        else:
            plot_results(table, ["a", "b"], ["#112233", "#445566"], file)


def test_of_many_classes_those_at_both_ends_have_names_and_the_others_are_grey(path):
    table = ResultsTable(path)
    names = [f"c{n}" for n in range(171)]
    for iteration in (1, 2):
        table.add(iteration, {f"val/iou/{name}": n / 200 for n, name in enumerate(names[:-1])})
    table.add(2, {"val/iou/c170": math.nan})
    axis = Figure().subplots()
    said = _plot_extremes(axis, table, {f"val/iou/{name}": name for name in names})
    assert said == ": the 5 highest and 5 lowest of 170"
    shown = [text.get_text() for text in axis.get_legend().get_texts()]
    assert shown == ["c169", "c168", "c167", "c166", "c165", "c4", "c3", "c2", "c1", "c0"]
    assert sum(line.get_color() == "0.8" for line in axis.lines) == 161


def test_many_classes_of_which_few_occur_all_have_names(path):
    table = ResultsTable(path)
    table.add(1, {f"val/iou/c{n}": 0.5 if n < 3 else math.nan for n in range(30)})
    axis = Figure().subplots()
    assert _plot_extremes(axis, table, {f"val/iou/c{n}": f"c{n}" for n in range(30)}) == ""
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["c0", "c1", "c2"]
