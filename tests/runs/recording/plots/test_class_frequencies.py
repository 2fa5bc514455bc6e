"""How often each class occurs, as the data check found it."""

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from segkit.data.check import CheckReport, Tally
from segkit.runs.recording.plots.class_frequencies import (
    choose_classes,
    image_shares,
    pixel_shares,
    plot_class_frequencies,
    plot_shares,
)

TRAIN = Tally(total=1200, pixels=[75, 25, 0], images=[4, 1, 0], samples=4, valid=100)
VAL = Tally(total=20, pixels=[10, 0, 0], images=[2, 0, 0], samples=2, valid=10)
NAMES = ["road", "car", "bird"]


def report(train: Tally = TRAIN, val: Tally | None = VAL) -> CheckReport:
    return CheckReport(summary="", table=[], warnings=[], train=train, val=val)


def test_shares_are_of_the_labelled_pixels_and_of_the_images_read():
    assert pixel_shares(TRAIN) == [75.0, 25.0, 0.0]
    assert image_shares(TRAIN) == [100.0, 25.0, 0.0]
    nothing = Tally(total=3, pixels=[0, 0], images=[0, 0])
    assert pixel_shares(nothing) == image_shares(nothing) == [0.0, 0.0]


@pytest.fixture
def drawn(monkeypatch):
    """The ends of the bars by their legend, the texts in the axes, the scales, and the title."""
    found = {"bars": [], "texts": [], "scales": [], "title": None}
    barh, text, set_xscale, suptitle = Axes.barh, Axes.text, Axes.set_xscale, Figure.suptitle

    def note_bars(axis, places, widths, *, left, label, **options):
        found["bars"].append((label, [round(left + width, 6) for width in widths]))
        return barh(axis, places, widths, left=left, label=label, **options)

    def note_text(axis, x, y, words, **options):
        found["texts"].append(words)
        return text(axis, x, y, words, **options)

    def note_scale(axis, value, **options):
        found["scales"].append(value)
        return set_xscale(axis, value, **options)

    def note_title(figure, words, **options):
        found["title"] = words
        return suptitle(figure, words, **options)

    monkeypatch.setattr(Axes, "barh", note_bars)
    monkeypatch.setattr(Axes, "text", note_text)
    monkeypatch.setattr(Axes, "set_xscale", note_scale)
    monkeypatch.setattr(Figure, "suptitle", note_title)
    return found


def test_picture_shows_both_parts_on_a_log_axis_and_says_how_many_masks_were_read(tmp_path, drawn):
    plot_class_frequencies(tmp_path / "labels.png", report(), NAMES)
    with Image.open(tmp_path / "labels.png") as picture:
        assert picture.format == "PNG"
    first, second = 10 / 3, 10 / 3  # where the axes begin, which is where the bar of an absent class ends
    assert drawn["bars"] == [
        ("train", [75.0, 25.0, round(first, 6)]),
        ("val", [100.0, round(first, 6), round(first, 6)]),
        ("train", [100.0, 25.0, round(second, 6)]),
        ("val", [100.0, round(second, 6), round(second, 6)]),
    ]
    assert drawn["texts"] == ["none"] * 6
    assert drawn["scales"] == ["log", "log"]
    assert drawn["title"] == (
        "How often each class occurs in the masks read before training: 4 of 1,200 train and 2 of 20 val"
    )


def test_without_a_validation_set_of_its_own_the_training_set_stands_alone(tmp_path, drawn):
    plot_class_frequencies(tmp_path / "labels.png", report(val=None), NAMES)
    assert [label for label, _ in drawn["bars"]] == ["train", "train"]
    assert drawn["title"].endswith(": 4 of 1,200 train")


def test_of_many_classes_the_most_and_the_least_frequent_are_shown(tmp_path, drawn):
    tally = Tally(total=9, pixels=list(range(171)), images=[1] * 171, samples=1, valid=sum(range(171)))
    assert choose_classes({"train": tally, "val": tally}, 171) == [*range(40), *range(131, 171)]
    assert choose_classes({"train": tally}, 80) == list(range(80))
    plot_shares(tmp_path / "labels.png", {"train": tally}, [f"c{n}" for n in range(171)], title="How often")
    assert drawn["title"] == "The 40 most and 40 least frequent of 171 classes\nHow often: 1 of 9 train"
    assert [len(values) for _, values in drawn["bars"]] == [80, 80]
    with Image.open(tmp_path / "labels.png") as picture:
        assert picture.height < 2400
