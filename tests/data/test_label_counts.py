"""Class counts are made once, kept, and made anew when anything that they depend on has changed."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from segkit.config.load import config_from_mapping
from segkit.data import class_weights, label_counts
from segkit.data.class_weights import count_classes
from segkit.data.datasets.folder import Folder
from segkit.data.datasets.shapes import Shapes
from segkit.data.label_counts import LabelCounts
from segkit.errors import DataError
from segkit.runs import preflight
from segkit.training.build import build, build_data

CLASSES = ["a", "b", "c"]


@pytest.fixture
def counted(monkeypatch):
    """The data sets that were counted, one after the other."""
    seen = []

    def count(dataset, **options):
        seen.append(dataset)
        return count_classes(dataset, **options)

    monkeypatch.setattr(label_counts, "count_classes", count)
    return seen


@pytest.fixture
def data(make_folder):
    root = make_folder(train=20)
    return lambda **options: Folder("train", root=str(root), classes=CLASSES, **options)


@pytest.fixture
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache") / "class_counts"


SETTINGS = {"name": "folder"}


def test_what_was_counted_is_not_counted_again(data, cache, counted):
    first = LabelCounts(data(), cache, settings=SETTINGS)
    assert first.describe() == [] and not cache.exists()
    assert first.counts() == count_classes(data()) == first.counts()
    (path,) = cache.iterdir()
    assert first.kept
    assert first.describe() == [f"class weights from the labels of 20 images, kept in {path}"]
    second = LabelCounts(data(), cache, settings=SETTINGS)
    assert second.counts() == first.counts()
    assert second.describe() == [f"class weights from the labels of 20 images, counted before ({path})"]
    assert len(counted) == 1 and not second.kept


def changed_mask(dataset, save):
    path = dataset.mask_paths[3]
    save(path, np.zeros((24, 32), np.uint8))


def changed_time(dataset, save):
    path = dataset.mask_paths[-2]
    os.utime(path, ns=(1, 1))


def another_mask(dataset, save):
    for folder in ("images", "masks"):
        save(dataset.root / folder / "train" / "999.png", np.ones((24, 32), np.uint8))


@pytest.mark.parametrize("change", [changed_mask, changed_time, another_mask])
def test_other_files_are_counted_anew(data, cache, counted, save, change):
    LabelCounts(data(), cache, settings=SETTINGS).counts()
    change(data(), save)
    again = LabelCounts(data(), cache, settings=SETTINGS)
    assert again.counts() == count_classes(data())
    assert len(counted) == 2
    assert LabelCounts(data(), cache, settings=SETTINGS).counts() == again.counts()
    assert len(counted) == 2 and len(list(cache.iterdir())) == 1


def test_other_settings_other_labels_of_the_same_files(data, cache, counted):
    LabelCounts(data(), cache, settings=SETTINGS).counts()
    LabelCounts(data(), cache, settings={"name": "other"}).counts()
    assert len(counted) == 2
    swapped = data(label_map={0: 1, 1: 0, 2: 2})  # as if a file that the settings only name had changed
    assert LabelCounts(swapped, cache, settings=SETTINGS).counts() == count_classes(swapped)
    assert len(counted) == 3


def test_another_format_is_counted_anew(data, cache, counted, monkeypatch):
    LabelCounts(data(), cache, settings=SETTINGS).counts()
    monkeypatch.setattr(label_counts, "FORMAT", 2)
    LabelCounts(data(), cache, settings=SETTINGS).counts()
    assert len(counted) == 2


def cut(text):
    return text[: len(text) // 2]


def with_facts(**facts):
    return lambda text: json.dumps({**json.loads(text), **facts})


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        lambda text: "",
        lambda text: "[]",
        lambda text: "\xff",
        with_facts(key=None),
        with_facts(pixels=[1, 2]),
        with_facts(pixels=["1", "2", "3"]),
        with_facts(pixels_where_present=None),
    ],
)
def test_damaged_file_is_counted_anew_and_replaced(data, cache, counted, damage):
    first = LabelCounts(data(), cache, settings=SETTINGS).counts()
    (path,) = cache.iterdir()
    path.write_text(damage(path.read_text()), encoding="latin-1")
    assert LabelCounts(data(), cache, settings=SETTINGS).counts() == first
    assert len(counted) == 2
    assert LabelCounts(data(), cache, settings=SETTINGS).counts() == first
    assert len(counted) == 2


def test_where_nothing_can_be_kept_it_says_so_and_goes_on(data, cache, counted):
    cache.write_text("a file where the folder should be")
    counts = LabelCounts(data(), cache, settings=SETTINGS)
    assert counts.counts() == count_classes(data())
    assert not counts.kept
    assert counts.describe() == [
        "class weights from the labels of 20 images",
        f"warning: the counts are not kept, so the next run counts again: cannot write {cache}: "
        "a file is where a folder should be\n"
        "   -> another place for caches: SEGKIT_CACHE=FOLDER in the environment",
    ]


def test_data_without_files_are_told_apart_by_settings_and_some_labels(cache, counted):
    def shapes(seed):
        return Shapes("train", size=32, train_size=5, seed=seed)

    counts = LabelCounts(shapes(0), cache, settings={"seed": 0}).counts()
    assert LabelCounts(shapes(0), cache, settings={"seed": 0}).counts() == counts
    assert len(counted) == 1
    assert LabelCounts(shapes(1), cache, settings={"seed": 1}).counts() != counts
    assert LabelCounts(shapes(2), cache, settings={"seed": 0}).counts() == count_classes(shapes(2))
    assert len(counted) == 3


def test_missing_mask_is_a_data_error(data, cache):
    dataset = data()
    dataset.mask_paths[4].unlink()
    with pytest.raises(DataError) as caught:
        LabelCounts(dataset, cache, settings=SETTINGS).counts()
    assert str(caught.value) == f"cannot read {dataset.mask_paths[4]}: No such file or directory"


@pytest.mark.parametrize("skip_bad", [False, True])
def test_many_images_are_counted_by_several_processes(data, monkeypatch, save, skip_bad):
    expected = count_classes(data())
    monkeypatch.setattr(class_weights, "WORTH_WORKERS", 20)
    monkeypatch.setattr(class_weights, "usable_cpus", lambda: 2)
    assert count_classes(data(), skip_bad=skip_bad) == expected
    path = data().mask_paths[7]
    pixels = np.bincount(np.asarray(Image.open(path)).flatten(), minlength=3)
    save(path, np.full((24, 32), 9, np.uint8))
    if not skip_bad:
        with pytest.raises(DataError, match=r"^label out of range: masks/train/007\.png has ids 9"):
            count_classes(data())
    else:
        assert count_classes(data(), skip_bad=True).pixels == (expected.pixels - pixels).tolist()


def test_long_counting_is_announced_once_where_no_bar_shows_it(data, capsys, monkeypatch):
    count_classes(data())
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(class_weights, "PATIENCE", -1.0)
    count_classes(data())
    assert capsys.readouterr().err == (
        "counting the labels of 20 images for class weights: 1 done, about 1 min to go\n"
    )


def run_config(root, **blocks):
    return config_from_mapping(
        {
            "device": "cpu",
            "data": {"name": "folder", "root": str(root), "classes": CLASSES, **blocks.pop("data", {})},
            "model": {"name": "unet", "width": 4, "depth": 1},
            "loss": {"name": "ce", "class_weights": "balanced"},
            "train": {"iterations": 1, "batch_size": 2, "workers": 0},
            **blocks,
        },
        origin="test",
    )


def test_loss_and_weight_map_share_one_count_and_the_next_run_needs_none(
    make_folder, cache, counted, monkeypatch
):
    monkeypatch.setenv("SEGKIT_CACHE", str(cache.parent))
    root = make_folder()
    config = run_config(root, data={"weight_map": {"name": "class_balanced"}})
    experiment = build(config)
    weights = experiment.data.weight_map.class_table.weights.tolist()
    assert weights == experiment.loss.criterion.class_weights.tolist()
    assert len(counted) == 1
    (path,) = cache.iterdir()
    again = build(config)
    assert again.data.weight_map.class_table.weights.tolist() == weights
    assert len(counted) == 1
    assert again.data.label_counts.describe() == [
        f"class weights from the labels of 4 images, counted before ({path})"
    ]


def test_nobody_asks_nothing_is_counted(make_folder, cache, counted, monkeypatch):
    monkeypatch.setenv("SEGKIT_CACHE", str(cache.parent))
    experiment = build(run_config(make_folder(), loss={"name": "ce"}))
    assert counted == [] and not cache.exists()
    assert preflight.describe_written(experiment) == "nothing was written"


def test_overfitting_counts_its_images_and_keeps_nothing(make_folder, cache, counted, monkeypatch):
    monkeypatch.setenv("SEGKIT_CACHE", str(cache.parent))
    data = build_data(run_config(make_folder()), overfit=2)
    assert sum(data.label_counts.counts().pixels) == 2 * 24 * 32
    assert not cache.exists()


def test_check_says_what_was_written_and_where_the_weights_are_from(make_folder, cache, monkeypatch, capsys):
    monkeypatch.setenv("SEGKIT_CACHE", str(cache.parent))
    preflight.check(run_config(make_folder()), source="test")
    out = capsys.readouterr().out
    (path,) = cache.iterdir()
    assert f"\n          class weights from the labels of 4 images, kept in {path}\n" in out
    assert out.endswith("check     everything fits; only the class counts were written\n")
    preflight.check(run_config(make_folder(), data={"cache": "disk"}), source="test")
    out = capsys.readouterr().out
    assert out.endswith("check     everything fits; only data.cache and the class counts were written\n")
