"""`results.csv`: what is on disk at any moment, and what a resumed run makes of it."""

import csv
import errno
import math
import os
import re

import pytest

from segkit.errors import CannotWrite
from segkit.runs.recording.results import ResultsTable


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


def test_full_disk_is_named(path, monkeypatch):
    table = fill(ResultsTable(path))

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.open", full)
    with pytest.raises(CannotWrite, match=f"cannot write {re.escape(str(path))}: the disk is full"):
        table.add(41, {"train/loss": 1.0})
