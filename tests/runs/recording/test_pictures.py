"""Which pictures a run folder gets, and what is in them."""

import errno
import os

import numpy as np
import pytest
import torch

from segkit.data.palette import Legend
from segkit.errors import CannotWrite
from segkit.evaluation import canvas, pictures
from segkit.evaluation.scores import RankedImage
from segkit.runs.recording.pictures import RunPictures, true_class_probability
from segkit.system.run_files import RunFiles

IGNORE = 255
LABELS = Legend(("road", "car", "bird"), [(0, 0, 0), (230, 159, 0), (86, 180, 233)], IGNORE)


class Events:
    """Notes what TensorBoard would get."""

    def __init__(self):
        self.images, self.values = [], []

    def image(self, name, picture, iteration):
        self.images.append((name, iteration))

    def probabilities(self, name, parts, iteration):
        self.values.append((name, torch.cat(list(parts)), iteration))


def panel(name: str, *, height: int = 40, width: int = 200, prediction: int = 2) -> dict:
    target = torch.zeros(height, width, dtype=torch.uint8)
    target[:, width // 2 :] = 1
    target[:5] = IGNORE
    ce = torch.full((height, width), 0.5)
    ce[:5] = 0.0
    return {
        "name": name,
        "image": torch.full((3, height, width), 100, dtype=torch.uint8),
        "target": target,
        "prediction": torch.full((height, width), prediction),
        "ce": ce,
        "kept": None,
    }


@pytest.fixture
def drawn(tmp_path):
    return RunPictures(RunFiles(tmp_path), LABELS, Events())


@pytest.fixture
def saved(monkeypatch):
    """The pictures as they are before JPEG changes them, by path below the run folder."""
    found = {}
    original = pictures.save_jpeg

    def save(picture, path):
        found[path] = picture
        original(picture, path)

    monkeypatch.setattr(pictures, "save_jpeg", save)
    return found


def has_color(picture, color) -> bool:
    return bool((picture == torch.tensor(color)[:, None, None]).all(dim=0).any())


def test_files_of_the_examples(drawn, tmp_path):
    drawn.show_examples(5, [panel("a"), panel("b")])
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")} == {
        "examples/000005.jpg", "examples/moments/000005.jpg", "examples.npz", "loss_pixels.jpg",
        "val_batch0_labels.jpg", "val_batch0_pred.jpg",
    }  # fmt: skip
    assert drawn.events.images == [("examples/0", 5), ("examples/1", 5)]


def test_grids_show_labels_and_predictions_over_the_image_under_the_names(drawn, saved, tmp_path):
    panels = [panel(f"image {n}") for n in range(5)]
    drawn.show_examples(1, panels)
    labels, predictions = (saved[tmp_path / f"val_batch0_{name}.jpg"] for name in ("labels", "pred"))
    assert labels.shape == predictions.shape
    over = {
        n: tuple(int(0.45 * 100 + 0.55 * part) for part in color) for n, color in enumerate(LABELS.palette)
    }
    assert has_color(labels, over[0]) and has_color(labels, over[1]) and not has_color(labels, over[2])
    assert has_color(predictions, over[2]) and not has_color(predictions, over[1])
    hatched = [int(0.45 * 100 + 0.55 * grey) for grey in (150, 220)]
    assert all(has_color(labels, (grey,) * 3) for grey in hatched)
    assert has_color(labels, LABELS.palette[2]), "the legend has every class, drawn or not"
    rows = 2 * (40 + canvas.HEADING) + 3 * canvas.GAP
    assert labels.shape[2] == 4 * 200 + 5 * canvas.GAP and labels.shape[1] > rows
    tile = pictures.titled(
        [pictures.overlay(panels[4]["image"], panels[4]["target"], LABELS.palette, IGNORE)], ["image 4"]
    )
    left, top = canvas.GAP, 2 * canvas.GAP + tile.shape[1]  # the fifth begins the second row
    assert torch.equal(labels[:, top : top + tile.shape[1], left : left + 200], tile)


def test_loss_pixels_show_three_examples_only(drawn, saved, tmp_path):
    panels = [panel(f"image {n}") for n in range(8)]
    drawn.show_examples(1, panels)
    rows = [pictures.panel_row(each, LABELS.palette, IGNORE) for each in panels]
    assert torch.equal(saved[tmp_path / "examples/000001.jpg"], pictures.stack(rows))
    assert torch.equal(saved[tmp_path / "examples/moments/000001.jpg"], pictures.stack(rows[:3]))
    heading = 2 * canvas.HEADING
    assert saved[tmp_path / "loss_pixels.jpg"].shape[1] == heading + pictures.stack(rows[:3]).shape[1]


def test_true_class_probabilities_are_those_of_the_valid_pixels(drawn):
    each = panel("a")
    assert torch.equal(true_class_probability(each, IGNORE), torch.exp(-each["ce"][5:].flatten()))
    drawn.show_examples(7, [each, panel("b")])
    ((name, values, iteration),) = drawn.events.values
    assert (name, iteration, len(values)) == ("loss/true_class_probability", 7, 2 * 35 * 200)
    assert values.unique().tolist() == pytest.approx([0.60653066])


def test_ranked_images_stand_in_their_order_with_score_and_name(drawn, saved, tmp_path, monkeypatch):
    captions = []
    original = pictures.moments
    monkeypatch.setattr(
        pictures, "moments", lambda rows: captions.extend(text for text, _ in rows) or original(rows)
    )
    images = [RankedImage(4, "val/7", 0.931), RankedImage(0, "val/1", 0.5)]
    drawn.ranked(tmp_path / "best8.jpg", images, [panel("val/7", prediction=0), panel("val/1", prediction=1)])
    assert captions == ["1.  mIoU 93.1  val/7", "2.  mIoU 50.0  val/1"]
    picture = saved[tmp_path / "best8.jpg"]
    row = 2 * canvas.HEADING + canvas.HEADING + 40
    first, second = picture[:, :row], picture[:, row : 2 * row]
    body = first[:, 3 * canvas.HEADING :]
    image, label, prediction, errors = (body[:, :, n * 203 : n * 203 + 200] for n in range(4))
    expected = panel("val/7", prediction=0)
    assert torch.equal(image, expected["image"])
    assert torch.equal(label, pictures.color_ids(expected["target"], LABELS.palette, IGNORE))
    assert torch.equal(prediction, pictures.color_ids(expected["prediction"], LABELS.palette, IGNORE))
    assert torch.equal(
        errors, pictures.errors_over(expected["image"], expected["target"], expected["prediction"], IGNORE)
    )
    assert has_color(second, LABELS.palette[1])


def test_no_ranked_image_leaves_no_picture(drawn, tmp_path):
    drawn.ranked(tmp_path / "best8.jpg", [], [])
    assert list(tmp_path.iterdir()) == []


def test_large_images_are_reduced_in_grids_and_rankings(drawn, saved, tmp_path):
    large = panel("a", height=300, width=1000)
    drawn.ranked(tmp_path / "worst8.jpg", [RankedImage(0, "a", 0.1)], [large])
    assert saved[tmp_path / "worst8.jpg"].shape[2] == 4 * 334 + 3 * canvas.GAP


def test_a_damaged_picture_of_a_moment_is_left_out_and_said(drawn, tmp_path, saved):
    for moment in (1, 2, 3):
        drawn.show_examples(moment, [panel("a")])
    whole = saved[tmp_path / "loss_pixels.jpg"]
    cut = tmp_path / "examples/moments/000001.jpg"
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(CannotWrite, match=r"000001\.jpg cannot be read: .*; loss_pixels\.jpg is without it"):
        drawn.show_examples(4, [panel("a")])
    assert saved[tmp_path / "loss_pixels.jpg"].shape == whole.shape, "of the three moments that are left"
    with np.load(tmp_path / "examples.npz") as arrays:
        assert arrays["iteration"] == 4


def test_picture_that_cannot_be_written_is_not_hidden(drawn, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(CannotWrite, match=r"worst8.jpg: the disk is full"):
        drawn.ranked(tmp_path / "worst8.jpg", [RankedImage(0, "a", 0.1)], [panel("a")])
    with pytest.raises(CannotWrite, match=r"examples/000001.jpg: the disk is full"):
        drawn.show_examples(1, [panel("a")])


def test_legend_breaks_into_lines_and_names_every_class():
    names, palette = [f"class number {n}" for n in range(20)], [(n, 255 - n, 7) for n in range(20)]
    narrow, wide = (pictures.legend(names, palette, width=width) for width in (160, 4000))
    assert narrow.shape[2] == 160 and wide.shape[2] == 4000
    assert narrow.shape[1] > 10 * wide.shape[1]
    assert all(has_color(legend, color) for legend in (narrow, wide) for color in palette)


MANY = [f"class number {n}" for n in range(171)]
COLORS = [(n, 255 - n, 7) for n in range(171)]


def test_legend_of_many_classes_names_those_that_occur():
    pixels = torch.zeros(171, dtype=torch.long)
    pixels[[3, 40, 170]] = torch.tensor([5, 1, 9])
    found = pictures.legend(MANY, COLORS, width=800, pixels=pixels, highest=200)
    shown = [n for n, color in enumerate(COLORS) if has_color(found, color)]
    assert shown == [3, 40, 170] and found.shape[1] == 22


@pytest.mark.parametrize(("width", "height"), [(166, 134), (166, 20), (700, 300), (2000, 3000)])
def test_legend_of_classes_that_all_occur_is_no_higher_than_the_picture(width, height):
    pixels = torch.arange(171) + 1
    found = pictures.legend(MANY, COLORS, width=width, pixels=pixels, highest=height)
    shown = [n for n, color in enumerate(COLORS) if has_color(found, color)]
    assert 1 <= len(shown) <= canvas.MOST_NAMED
    assert shown == list(range(171 - len(shown), 171)), "the most frequent"
    assert found.shape[1] <= height or len(shown) == 1
    entries, _ = canvas._choose_entries(MANY, width, pixels.tolist(), height)
    assert entries[-1] == (None, f"and {171 - len(shown)} more")


def test_legend_without_a_class_that_occurs():
    pixels = torch.zeros(171, dtype=torch.long)
    assert pictures.legend(MANY, COLORS, width=100, pixels=pixels, highest=50).shape == (3, 19, 100)


def test_ids_of_no_class_are_not_counted():
    ids = [torch.tensor([[0, 2, 255]], dtype=torch.uint8), torch.tensor([[2, -1, 65535]])]
    assert pictures.count_ids(ids, 3).tolist() == [1, 0, 2]
