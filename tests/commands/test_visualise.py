"""`scripts/visualise.py`: the very samples of training, on a sheet and on a page that needs nothing else."""

import dataclasses
import re

import pytest
import torch
from PIL import Image

from segkit.commands.visualise.drawing import draw_overlay, draw_weight, find_classes, fit
from segkit.commands.visualise.page import Facts, render_page
from segkit.commands.visualise.run import visualise
from segkit.commands.visualise.samples import Shown, View, look
from segkit.commands.visualise.sheet import draw_sheet
from segkit.commands.visualise.steps import name_steps, try_steps
from segkit.config.load import load_config
from segkit.data.loading.loader import train_batches
from segkit.data.palette import Legend, palette
from segkit.errors import ConfigError
from segkit.training.build import build_data
from tests.scripts import run_script

TINY = ["data.size=48", "data.train_size=6", "data.val_size=2"]
WEIGHTED = [*TINY, "data.weight_map={name: boundary}"]
BLOCKS = (
    "augment={name: compose, transforms: [{name: scale_crop, crop_size: 40}, {name: RandomVerticalFlip, p: 0.0}, "
    "{name: RandomApply, p: 0.2, transforms: [{name: JPEG, quality: 20}]}]}"
)
FLAGS = {"split": "train", "count": 2, "seed": None, "epoch": 0, "epochs": 2}


def preview(folder, *overrides, **flags):
    assert visualise("debug", overrides, output=folder, **{**FLAGS, **flags}) == 0
    return (folder / "index.html").read_text()


def view_of(ids, weight=None, channels=3):
    return View((ids % 256).to(torch.uint8).expand(channels, -1, -1), ids, weight)


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    """A preview with weights and listed transforms: its folder and its page."""
    folder = tmp_path_factory.mktemp("preview")
    return folder, preview(folder, *WEIGHTED, BLOCKS)


def test_what_is_shown_is_what_training_sees():
    config = load_config("debug", [*WEIGHTED, BLOCKS, "seed=3"])
    data = build_data(config)
    shown, _ = look(data, split="train", places=range(6), seed=3, epochs=[0, 1])
    batches = train_batches(
        data.train, weight_map=data.weight_map, augment=data.augment, batch_size=6, seed=3, num_batches=2
    )
    for epoch, batch in enumerate(batches):
        for place, index in enumerate(batch["index"].tolist()):
            view = shown[index].augmented[epoch]
            assert torch.equal(view.image, batch["image"][place])
            assert torch.equal(view.target, batch["target"][place])
            assert torch.equal(view.weight, batch["weight"][place])


def test_sheet_and_page(weighted, tmp_path):
    folder, page = weighted
    with Image.open(folder / "contact_sheet.jpg") as sheet:
        width, height = sheet.size
    # Three pictures of the image and two of each epoch, 240 pixels wide and with a gap of 6.
    assert width == 7 * 240 + 6 * 6 + 2 * 12
    assert height > 2 * 240
    for heading in ("What training sees", "in epoch 0", "in epoch 1", "weight map, 0 to ", "train_00000"):
        assert heading in page
    assert len(re.findall("<h3>[0-9]+[.] ", page)) == 3
    assert (
        "<h3>2. RandomVerticalFlip <code>p: 0.0</code></h3><p>It changes nothing with these options.</p>"
        in page
    )
    assert (
        "--config debug data.size=48 " in page and "&#x27;augment={name: compose, " in page
    )  # quoted for a shell
    assert "<code>transforms: [{name: JPEG, quality: 20}], p: 0.2</code>" in page
    preview(tmp_path, *WEIGHTED, BLOCKS)
    for name in ("contact_sheet.jpg", "index.html"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), "made again, it differs"


def test_the_page_asks_nobody_for_anything(weighted):
    _, page = weighted
    assert "http" not in page and "url(" not in page and "<script" not in page and "@import" not in page
    sources = re.findall(r'(?:src|href)="([^"]{12})', page)
    assert len(sources) > 20 and all(source.startswith("data:image/") for source in sources)


def test_without_weights_and_in_grey(tmp_path):
    page = preview(tmp_path, *TINY, "data.channels=1", "augment.rotate=20", "augment.cut_out=1.0")
    assert "weights" not in page and "greyscale" in page
    assert "<dd>standard: crop_size: " in page
    assert all(f". {name} <" in page for name in ("rotate", "scale_crop", "RandomHorizontalFlip", "cut_out"))
    assert "augment.rotate=20 augment.cut_out=1.0 --split train --count 2 --seed 0 " in page


def test_validation_is_shown_as_it_is(tmp_path):
    page = preview(tmp_path, *WEIGHTED, split="val")
    assert "none: validation sees the images as they are" in page
    assert "in epoch" not in page and "alone</h2>" not in page and "<h2>The images</h2>" in page


def test_seed_and_epoch_choose_the_samples():
    data = build_data(load_config("debug", TINY))

    def first(**options):
        (item,), _ = look(data, split="train", places=[0], **options)
        return item.augmented

    later = first(seed=0, epochs=[0, 5])
    assert torch.equal(first(seed=0, epochs=[5])[5].image, later[5].image)
    assert not torch.equal(later[0].image, later[5].image)
    assert not torch.equal(first(seed=1, epochs=[0])[0].image, later[0].image)


def test_a_seed_that_no_run_can_have(tmp_path):
    with pytest.raises(ConfigError, match=r"^command line: 'seed=-1': seed: expected an integer in \[0, "):
        preview(tmp_path, *TINY, seed=-1)


def test_an_augmentation_that_computes_in_other_numbers_is_shown(monkeypatch):
    data = build_data(load_config("debug", TINY))
    halved = dataclasses.replace(data, augment=lambda s: dataclasses.replace(s, image=s.image * 0.5))
    (shown,), _ = look(halved, split="train", places=[0], seed=0, epochs=[0])
    assert torch.equal(shown.augmented[0].image, (shown.original.image * 0.5).round().to(torch.uint8))


def test_many_classes_and_names_that_are_markup(tmp_path):
    ids = torch.arange(171).repeat_interleave(9).reshape(27, 57)
    names = ["<b>&", *(f"class {n}" for n in range(1, 171))]
    labels = Legend(names, palette(171), 255)
    shown = [Shown("<i>x</i>", 0, view_of(ids[:2]), {0: view_of(ids)})]
    assert find_classes(shown, 171) == list(range(13))
    page = render_page(Facts("many", [("a", "<u>")], "c"), shown, [], shown[0], labels)
    assert "&lt;b&gt;&amp; <small>0</small>" in page and "&lt;i&gt;x" in page and "<u>" not in page
    assert "158 more classes, not in these images" in page
    sheet = draw_sheet([Shown("x", 0, view_of(ids), {})], labels, heading="a heading " * 20)
    assert sheet.shape[2] > 20 * 50


def test_a_sheet_says_how_many_classes_its_legend_leaves_out(monkeypatch):
    written = []
    monkeypatch.setattr(
        "segkit.commands.visualise.sheet.write", lambda draw, place, text, **_: written.append(text)
    )
    ids = torch.arange(171).repeat_interleave(9).reshape(27, 57)
    labels = Legend([f"class {n}" for n in range(171)], palette(171), 255)
    draw_sheet([Shown("x", 0, view_of(ids), {})], labels, heading="h")
    assert [text for text in written if text.startswith("class ")] == [f"class {n}" for n in range(60)]
    assert "and 111 more classes" in written


def test_sizes_of_pictures():
    assert fit(512, 256, 256) == (256, 128)
    assert fit(30, 100, 256) == (60, 200)
    assert fit(3000, 1, 256) == (256, 1)


def test_ignored_pixels_are_hatched_and_weights_share_a_scale():
    ids = torch.full((600, 600), 255)
    picture = draw_overlay(view_of(ids), Legend(["a"], palette(1), 255), 300)
    assert len(picture[0].unique()) == 2
    weight = torch.full((10, 10), 2.0)
    view = view_of(torch.zeros(10, 10, dtype=torch.int64), weight)
    assert (draw_weight(view, 10, top=2.0) == 255).all() and (draw_weight(view, 10, top=4.0)[2] == 0).all()


def test_steps_of_an_augmentation_of_ones_own():
    config = load_config("debug", TINY)
    data = build_data(config)
    assert name_steps(lambda sample: sample, config.augment) == []
    assert not any("ignore_index" in options for _, options, _ in name_steps(data.augment, config.augment))
    assert try_steps(lambda sample: sample, config.augment, data.train[0], seed=0) == []
    names = [name for name, _, _ in name_steps(data.augment, config.augment)]
    assert names == ["scale_crop", "RandomHorizontalFlip", "RandomVerticalFlip", "ColorJitter"]


@pytest.mark.parametrize("flags", [{"count": 0}, {"epochs": 0}, {"epoch": -1}])
def test_impossible_numbers(flags, tmp_path):
    with pytest.raises(
        ConfigError, match="--count and --epochs must be at least 1 and --epoch at least 0, got "
    ):
        preview(tmp_path / "new", *TINY, **flags)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["camvid/weighted_mask", "membrane/weighted_mask"])
def test_real_data(name, real_data, tmp_path):
    root = real_data(name.split("/")[0])
    assert visualise(name, [f"data.root={root}"], output=tmp_path, **{**FLAGS, "count": 1, "epochs": 1}) == 0
    assert (tmp_path / "contact_sheet.jpg").stat().st_size > 20_000


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_script("visualise", "--config", "debug", *TINY, "--count", "1", "--epochs", "1") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out == (
        "1 of 6 images of shapes train, 4 transforms alone\n"
        "wrote runs/visualise/debug/contact_sheet.jpg and runs/visualise/debug/index.html\n"
    )
