"""scripts/check_data.py: the whole of a data set, every problem listed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.commands.check_data import check_configured
from segkit.errors import ConfigError
from tests.scripts import run_script

CLASSES = ["sky", "road", "car"]


@pytest.fixture
def data(tmp_path, monkeypatch, quick_plots):
    """A clean data set `data/mine` with 6 training and 2 validation images, seen from the current folder."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 2)):
        for n in range(count):
            labels = np.repeat(np.repeat(random.integers(0, 3, (6, 8)), 4, axis=0), 4, axis=1)
            labels[:4, :12] = np.repeat([0, 1, 2], 4)
            save(f"images/{part}/{n}.png", random.integers(0, 256, (24, 32, 3)))
            save(f"masks/{part}/{n}.png", labels)
    return tmp_path / "data/mine"


def save(name: str, pixels) -> Path:
    path = Path("data/mine") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)
    return path


def check(*overrides: str, workers: int = 0, classes: list[str] = CLASSES, output: Path | None = None) -> int:
    data = ["data.name=folder", "data.root=data/mine", f"data.classes=[{','.join(classes)}]"]
    return check_configured(
        "debug", [*data, "train.batch_size=4", *overrides], workers=workers, output=output
    )


def facts() -> dict:
    return json.loads(Path("runs/check/debug/check.json").read_text())


def found() -> list[tuple[str, str]]:
    return [(finding["severity"], finding["kind"]) for finding in facts()["findings"]]


def test_clean_set(data, capsys):
    before = sorted(data.rglob("*"))
    assert check() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "data      folder  data/mine   (debug)",
        "train     6 of 6 usable   32x24   images RGB PNG   masks L PNG, values 0-2",
        "val       2 of 2 usable   32x24   images RGB PNG   masks L PNG, values 0-2",
    ]
    assert lines[4].split() == ["class", "train", "pixels", "images", "val", "pixels", "images"]
    assert [line.split()[0] for line in lines[5:9]] == ["sky", "road", "car", "ignored"]
    assert lines[-2:] == [
        "written   runs/check/debug: check.json, labels.png, masks.jpg",
        "result    nothing odd: fine to train on",
    ]
    assert sorted(path.name for path in Path("runs/check/debug").iterdir()) == [
        "check.json",
        "labels.png",
        "masks.jpg",
    ]
    assert found() == []
    assert facts()["train"]["mask_values"].keys() == {"0", "1", "2"}
    assert sorted(data.rglob("*")) == before


@pytest.mark.parametrize("workers", [0, 2])
def test_every_problem_is_listed_however_many_there_are(data, capsys, workers):
    for name in ("train/1", "train/3", "val/0"):
        (data / f"images/{name}.png").write_bytes(b"damaged")
    for n in (0, 2):
        save(f"masks/train/{n}.png", np.full((24, 32), 7 + n))
    save("masks/train/4.png", np.zeros((32, 24)))
    assert check(workers=workers) == 3
    assert [kind for severity, kind in found() if severity == "problem"] == [
        "label-out-of-range",
        "cannot-read",
        "image-and-mask-sizes-differ",
        "cannot-read",
    ]
    output = capsys.readouterr().out
    assert (
        "problem   2 train samples: label out of range: masks/train/0.png has ids 7 but data.classes has 3 classes "
        "(0-2), ignore_index 255\n" in output
    )
    assert f"the same in {Path('data/mine/masks/train/2.png')}\n" in output
    assert "problem   2 train samples: cannot read data/mine/images/train/1.png: " in output
    assert (
        "problem   image and mask sizes differ: images/train/4.png 32x24, masks/train/4.png 24x32\n" in output
    )
    assert output.endswith(": training would fail or learn something else than meant\n")
    assert facts()["findings"][0]["files"] == ["data/mine/masks/train/0.png", "data/mine/masks/train/2.png"]
    assert [entry["name"] for entry in facts()["val"]["failures"]] == ["data/mine/masks/val/0.png"]
    assert "train     1 of 6 usable" in output


def planted_copy(data):
    with Image.open(data / "images/train/2.png") as image:
        image.save(data / "images/val/1.bmp")
    (data / "images/val/1.png").unlink()


def planted_lossy_copy(data):
    """The same scene in the training set, and half as large in a JPEG file in the validation set."""
    rows, columns = np.mgrid[0:48, 0:64]
    scene = np.stack([4 * columns, 5 * rows, 2 * (rows + columns)], axis=2)
    save("images/train/2.png", scene)
    save("masks/train/2.png", np.zeros((48, 64)))
    (data / "images/val/1.png").unlink()
    save("images/val/1.jpg", scene[::2, ::2])


def planted_repetition(data):
    (data / "images/train/5.png").write_bytes((data / "images/train/0.png").read_bytes())


def planted_jpeg(data):
    (data / "masks/train/0.png").unlink()
    save("masks/train/0.jpg", np.ones((24, 32)))


def planted_smoothing(data):
    with Image.open(data / "masks/train/0.png") as mask:
        large = mask.point(lambda value: 40 * value).resize((32, 24), Image.BILINEAR, box=(0, 0, 8, 6))
    large.save(data / "masks/train/0.png")


def planted_blank(data):
    save("images/val/0.png", np.zeros((24, 32, 3)))


def planted_unlabelled(data):
    save("masks/train/5.png", np.full((24, 32), 255))


def planted_ignored(data):
    for path in data.glob("masks/*/*.png"):
        save(path.relative_to(data), np.where(np.arange(32) < 20, 255, np.arange(32) % 3) * np.ones((24, 1)))


def planted_foreground(data):
    for path in data.glob("masks/*/*.png"):
        save(path.relative_to(data), np.where(np.arange(32) < 10, 255, 0) * np.ones((24, 1)))


def planted_absence(data):
    for path in data.glob("masks/train/*.png"):
        save(path.relative_to(data), np.arange(24)[:, None] // 4 % 2 * np.ones((1, 32)))


def planted_offset(data):
    for path in data.glob("masks/*/*.png"):
        save(path.relative_to(data), 1 + np.arange(24)[:, None] // 4 % 2 * np.ones((1, 32)))


def planted_grey(data):
    for path in data.glob("images/train/*.png"):
        with Image.open(path) as image:
            grey = image.convert("L")
        grey.save(path)


def planted_exif(data):
    path = data / "images/train/3.png"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 3
        image.save(path, exif=exif)


def planted_orphan(data):
    save("masks/train/6.png", np.zeros((24, 32)))


def planted_gap(data):
    (data / "masks/val/1.png").unlink()


PLANTED = {
    planted_copy: ("warning", "shared-images"),
    planted_lossy_copy: ("warning", "similar-images"),
    planted_repetition: ("warning", "repeated-images"),
    planted_jpeg: ("warning", "lossy-masks"),
    planted_smoothing: ("warning", "soft-masks"),
    planted_blank: ("warning", "constant-images"),
    planted_unlabelled: ("warning", "no-label"),
    planted_ignored: ("warning", "much-ignored"),
    planted_foreground: ("problem", "foreground-ignored"),
    planted_absence: ("warning", "absent-classes"),
    planted_offset: ("warning", "ids-from-1"),
    planted_grey: ("note", "channels"),
    planted_exif: ("note", "exif"),
    planted_orphan: ("warning", "files"),
    planted_gap: ("problem", "cannot-open"),
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__.removeprefix("planted_"))
def test_each_planted_mistake_is_found(data, plant):
    plant(data)
    status = check()
    assert PLANTED[plant] in found()
    assert status == (3 if "problem" in dict(found()) else 0)


def test_few_images_and_another_output(data, tmp_path):
    assert check("train.batch_size=7", output=tmp_path / "elsewhere/deep") == 0
    facts = json.loads((tmp_path / "elsewhere/deep/check.json").read_text())
    assert [finding["text"] for finding in facts["findings"]] == [
        "6 train images are fewer than a batch of 7: a batch repeats images"
    ]
    assert not Path("runs").exists()


def test_nothing_is_written_among_the_data(data):
    with pytest.raises(ConfigError) as raised:
        check(output=data / "report")
    assert str(raised.value) == (
        f"--output {data}/report lies in the data folder data/mine, which is left as it is"
    )


def test_images_without_mask_do_not_hide_what_else_is_wrong(data, capsys):
    planted_gap(data)
    planted_unlabelled(data)
    assert check() == 3
    assert found() == [("problem", "cannot-open"), ("warning", "no-label")]
    output = capsys.readouterr().out
    assert "problem   val: 1 image has no mask: images/val/1.png -> expected masks/val/1.png" in output
    assert (facts()["val"]["images"], facts()["train"]["images"]) == (1, 6)


def test_a_part_that_cannot_be_opened_does_not_hide_the_other(data):
    shutil.rmtree(data / "images/val")
    planted_unlabelled(data)
    assert check() == 3
    assert found() == [("problem", "cannot-open"), ("warning", "no-label")]
    assert facts()["val"] is None


def test_nothing_can_be_opened(data, capsys):
    for path in data.glob("masks/*/*.png"):
        path.unlink()
    assert check() == 3
    assert "written   runs/check/debug: check.json\n" in capsys.readouterr().out
    assert found() == [("problem", "cannot-open")] * 2


def test_bad_weight_maps_are_listed(data):
    for part, count in (("train", 6), ("val", 2)):
        (data / "weights" / part).mkdir(parents=True)
        for n in range(count):
            value = -1 if (part, n) == ("train", 2) else 1
            np.save(data / f"weights/{part}/{n}.npy", np.full((24, 32), value, dtype=np.float32))
    assert check("data.weight_map={name: file}") == 3
    assert found() == [("problem", "weight-map-with-negative-values")]


def test_generated_data_need_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check_configured("debug", ["data.train_size=20", "data.val_size=8"], workers=0, output=None) == 0
    assert facts()["train"]["mask_values"] == {}


def test_command(data, capsys):
    (data / "images/train/1.png").write_bytes(b"damaged")
    of_data = ("data.name=folder", "data.root=data/mine", "data.classes=[sky,road,car]")
    assert run_script("check_data", "--config", "debug", *of_data) == 3
    printed = capsys.readouterr()
    assert "problem   cannot read data/mine/images/train/1.png: " in printed.out
    assert printed.err == ""
