"""The confusion matrix as a table and as a picture."""

import csv
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from segkit.runs.recording.plots.confusion import (
    _paint,
    label_step,
    plot_confusion,
    plot_side,
    row_percentages,
    save_confusion_table,
)

MATRIX = torch.tensor([[6, 2, 0], [0, 5, 0], [0, 0, 0]])
NAMES = ["road", "car, parked", "bird"]


def test_table_has_the_counts_by_label_and_prediction(tmp_path):
    save_confusion_table(tmp_path / "confusion_matrix.csv", MATRIX, NAMES)
    with (tmp_path / "confusion_matrix.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["label \\ prediction", "road", "car, parked", "bird"],
        ["road", "6", "2", "0"],
        ["car, parked", "0", "5", "0"],
        ["bird", "0", "0", "0"],
    ]


def test_percentages_are_of_each_row_and_undefined_without_labels():
    shares = row_percentages(MATRIX)
    assert shares[:2].tolist() == [[75.0, 25.0, 0.0], [0.0, 100.0, 0.0]]
    assert np.isnan(shares[2]).all()


@pytest.fixture
def drawn(monkeypatch):
    """The texts and images that are drawn, as (kind, arguments)."""
    calls = []
    for kind in ("text", "imshow", "set_xlabel", "set_ylabel"):
        original = getattr(Axes, kind)

        def note(axis, *arguments, original=original, kind=kind, **options):
            calls.append((kind, arguments))
            return original(axis, *arguments, **options)

        monkeypatch.setattr(Axes, kind, note)
    return calls


def test_picture_has_true_classes_as_rows_and_a_number_in_each_cell_with_pixels(tmp_path, drawn):
    path = tmp_path / "confusion_matrix.png"
    plot_confusion(path, MATRIX, NAMES, iteration=1400)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
    cells = {arguments[:2]: arguments[2] for kind, arguments in drawn if kind == "text"}
    assert cells == {(0, 0): "75.0", (1, 0): "25.0", (1, 1): "100.0"}  # column, row
    image = next(arguments[0] for kind, arguments in drawn if kind == "imshow")
    assert image[0].tolist() == [75.0, 25.0, 0.0] and image.mask[2].all()
    assert ("set_xlabel", ("predicted class",)) in drawn and ("set_ylabel", ("true class",)) in drawn


@pytest.mark.parametrize(("classes", "numbers"), [(1, 1), (30, 900), (31, 0), (150, 0)])
def test_numbers_are_left_out_where_nobody_could_read_them(tmp_path, drawn, monkeypatch, classes, numbers):
    monkeypatch.setattr(Figure, "savefig", lambda figure, stream, **options: stream.write(b"drawn"))
    plot_confusion(
        tmp_path / "c.png",
        torch.ones(classes, classes, dtype=torch.int64),
        [f"class {n}" for n in range(classes)],
        iteration=1,
    )
    assert sum(kind == "text" for kind, _ in drawn) == numbers
    assert (tmp_path / "c.png").read_bytes() == b"drawn"


@pytest.mark.parametrize(
    ("classes", "step", "points"), [(12, 1, 9.0), (60, 1, 9.0), (171, 1, 4.5), (300, 2, 4.5)]
)
def test_names_of_many_classes_can_be_read_and_do_not_overlap(classes, step, points):
    found, size = label_step(classes)
    assert found == step and size >= points
    side = plot_side(classes)
    assert side <= 26
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    _paint(figure, np.zeros((classes, classes)), [f"class name {n}" for n in range(classes)], 1)
    figure.draw_without_rendering()
    axis = figure.axes[0]
    boxes = [label.get_window_extent() for label in axis.get_yticklabels()]
    assert len(boxes) == -(-classes // step)
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(boxes))
    assert ("one of 2 classes is named" in axis.get_title()) == (step == 2)
