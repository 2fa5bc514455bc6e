"""scripts/check_data.py ROOT of files that hold several images: the block that it prints is one that trains."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from segkit.commands.check_folder import check_folder
from segkit.config.load import load_config
from segkit.data.check.contained import find_arrays, find_stacks
from segkit.data.check.contained.names import pair_by_words
from segkit.errors import DataError
from segkit.training.build import build_data
from tests.data.containers.contained_folders import CLASSES, IMAGES, KINDS, LABELS, make_stack, save_stack

MINE = Path("data/mine")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)
    MINE.mkdir(parents=True)


def explore(*, classes=(), ignored=()) -> int:
    return check_folder(MINE, classes=classes, ignored=ignored, workers=0, output=None)


def printed_block(output: str) -> dict:
    return yaml.safe_load(re.search(r"^data:\n(?:  .*\n)+", output, re.MULTILINE)[0])["data"]


#: What is said of the classes of a kind that names none.
NAMES = ["class_0", "class_1", "class_2"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_block_reads_what_was_saved(kind, capsys):
    KINDS[kind](MINE)
    assert explore() == 0
    output = capsys.readouterr().out
    assert output.rstrip().splitlines()[-2].endswith("fine to train on")
    data = printed_block(output)
    config = load_config("runs/check/mine/data.yaml", ["data.cache=off"])
    assert (config.data.name, config.data.params["root"]) == (data["name"], "data/mine")
    built = build_data(config)
    train, val = built.train, built.val
    assert train.class_names == tuple(NAMES if "classes" in data else CLASSES)
    assert len(train) + len(val) == len(IMAGES)
    found = {sample.target.numpy().tobytes() for part in (train, val) for sample in part}
    assert found == {labels.tobytes() for labels in LABELS}


def test_the_stacks_of_a_challenge(capsys):
    make_stack(MINE)
    save_stack(MINE / "test-volume.tif", IMAGES[:3])
    assert explore(classes=("membrane", "cell", "other")) == 0
    output = capsys.readouterr().out
    assert (
        "layout    the pages of train-volume.tif and train-labels.tif; nothing says which pages validate: the last 20% "
        "do, which lie side by side; without partner: test-volume.tif   10 train pairs\n"
    ) in output
    assert printed_block(output) == {
        "name": "stack",
        "root": "data/mine",
        "channels": 1,
        "train_images": "train-volume.tif",
        "train_labels": "train-labels.tif",
        "val_fraction": 0.2,
        "classes": ["membrane", "cell", "other"],
    }


def test_stacks_of_two_values_are_asked_about(capsys):
    save_stack(MINE / "images/volume.tif", IMAGES)
    save_stack(MINE / "masks/volume.tif", (LABELS > 0).astype(np.uint8) * 255)
    assert explore() == 3
    assert "question  the masks hold 0, 255: is 255 a class, or unknown?\n" in capsys.readouterr().out
    assert explore(ignored=["none"]) == 0
    assert printed_block(capsys.readouterr().out)["label_map"] == {0: 0, 255: 1}


def test_stacks_in_parts(capsys):
    for part, pages in (("train/a", slice(4)), ("train/b", slice(4, 7)), ("val/c", slice(7, 10))):
        folder, name = part.split("/")
        save_stack(MINE / folder / "images" / f"{name}.tif", IMAGES[pages])
        save_stack(MINE / folder / "labels" / f"{name}.tif", LABELS[pages])
    assert explore() == 0
    data = printed_block(capsys.readouterr().out)
    assert data["train_images"] == ["train/images/a.tif", "train/images/b.tif"]
    assert (data["val_labels"], "val_fraction" in data) == ("val/labels/c.tif", False)


def test_pages_that_do_not_match_are_a_message():
    save_stack(MINE / "volume.tif", IMAGES)
    save_stack(MINE / "labels.tif", LABELS[:4])
    with pytest.raises(
        DataError, match=r"^as many images as labels are needed: volume.tif has 10 pages and labels"
    ):
        explore()


def test_single_images_are_no_stacks():
    for n in range(3):
        for kind, drawn in (("images", IMAGES), ("masks", LABELS)):
            save_stack(MINE / kind / f"{n}.tif", drawn[n : n + 1])
    assert find_stacks(MINE) is None
    assert explore() == 0


def test_a_file_for_each_array(capsys):
    for kind, drawn in (("images", IMAGES), ("masks", LABELS)):
        for part, places in (("train", range(7)), ("val", range(7, 10))):
            (MINE / kind / part).mkdir(parents=True)
            for n in places:
                np.save(MINE / kind / part / f"{n}.npy", drawn[n])
    assert explore() == 0
    data = printed_block(capsys.readouterr().out)
    assert {key: value for key, value in data.items() if key.endswith(("images", "labels"))} == {
        "train_images": "images/train/{stem}.npy",
        "train_labels": "masks/train/{stem}.npy",
        "val_images": "images/val/{stem}.npy",
        "val_labels": "masks/val/{stem}.npy",
    }


def test_arrays_without_a_partner_are_described_as_before():
    np.save(MINE / "volume.npy", IMAGES)
    assert find_arrays(MINE) is None
    with pytest.raises(
        DataError, match=r"no images with masks found in data/mine\nfound     volume.npy: NumPy array"
    ):
        explore()


def test_what_words_say():
    names = ["train-volume", "train-labels", "test-volume", "test-labels", "x/1", "x/2"]
    found = pair_by_words((name, name) for name in names)
    assert found.train == [("train-volume", "train-labels")]
    assert (found.val, found.alone) == ([("test-volume", "test-labels")], ["x/1", "x/2"])
    # Where nothing trains, what is called a test is not one.
    assert pair_by_words((name, name) for name in names[2:4]).train == [("test-volume", "test-labels")]


def test_gif_masks(capsys):
    """As of Carvana: small ones, whose palettes Pillow numbers by what occurs in each."""
    for n, labels in enumerate(LABELS[:6]):
        (MINE / "images").mkdir(exist_ok=True)
        (MINE / "masks").mkdir(exist_ok=True)
        Image.fromarray(IMAGES[n]).save(MINE / f"images/{n}.jpg")
        drawn = np.full_like(labels, 255) if n == 0 else (labels > 0).astype(np.uint8) * 255
        Image.fromarray(drawn).save(MINE / f"masks/{n}_mask.gif")
    assert explore(ignored=["none"]) == 0
    output = capsys.readouterr().out
    assert "masks     P GIF, L GIF\n" in output or "masks     P GIF\n" in output
    assert printed_block(output)["label_map"] == {0: 0, 255: 1}


def test_gif_masks_of_which_some_are_black_alone(capsys):
    for n in range(4):
        (MINE / "images").mkdir(exist_ok=True)
        (MINE / "masks").mkdir(exist_ok=True)
        Image.fromarray(IMAGES[n]).save(MINE / f"images/{n}.png")
        palette = Image.fromarray(np.zeros_like(LABELS[n]) if n == 0 else LABELS[n]).convert("P")
        palette.frombytes((np.zeros_like(LABELS[n]) if n == 0 else LABELS[n]).tobytes())
        palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        palette.save(MINE / f"masks/{n}.gif")
    assert explore() == 0
    assert "mixed" not in json.dumps(json.loads(Path("runs/check/mine/check.json").read_text())["findings"])
    assert printed_block(capsys.readouterr().out)["label_map"] == {"#000000": 0, "#ff0000": 1, "#00ff00": 2}
