"""`prepare_data.py convert`: what is read is what is written, nothing is done twice, nothing of others is touched."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.commands.convert import pair_writer
from segkit.commands.convert.convert import convert, name_files, refuse_lost_size
from segkit.commands.convert.pair_writer import PairWriter
from segkit.config.load import config_from_mapping, load_config
from segkit.data.datasets.shapes import Shapes
from segkit.errors import ConfigError, DataError, RunFolderInUse
from segkit.runs.checkpoint import load_checkpoint
from segkit.system.locks import take_lock
from segkit.training.build_dataset import build_dataset
from tests.data.datasets.tools.tool_folders import box, save_image, save_labelme, shape
from tests.runs.planted_scores import TINY, run
from tests.scripts import run_script

CLASSES = ["a", "b", "c"]
COLOURS = {"#000000": "a", "#ff0000": "b", "#00ff00": "c", "#ffffff": "ignore"}


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)


@pytest.fixture
def written(monkeypatch):
    """The names of the samples that this process makes the files of, in order."""
    names, make = [], PairWriter._make

    def noted(self, index):
        names.append(f"{self.part}/{self.names[index]}")
        return make(self, index)

    monkeypatch.setattr(PairWriter, "_make", noted)
    return names


def config_of(**data):
    return config_from_mapping(
        {
            "device": "cpu",
            "data": data,
            "loss": {"name": "ohem_ce"},
            "model": {"name": "unet", "width": 4, "depth": 1},
            "train": {"iterations": 1},
        },
        origin="test",
    )


def put_colours(save, names=("x", "b/y", "z")):
    """JPEG images turned by EXIF, and masks of colours."""
    random, colours = (
        np.random.default_rng(0),
        np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (255, 255, 255)]),
    )
    for part in ("train", "val"):
        for name in names:
            ids = random.integers(0, 4, (40, 32))
            save(Path(f"mine/masks/{part}/{name}.png"), colours[ids].astype(np.uint8))
            path = Path(f"mine/images/{part}/{name}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            exif = Image.Exif()
            exif[0x0112] = 6
            Image.fromarray(random.integers(0, 255, (32, 40, 3)).astype(np.uint8)).save(path, exif=exif)
    return config_of(name="folder", root="mine", classes=CLASSES, label_map=COLOURS)


def put_wide(save):
    """Images of 12 bits, brought to another size, and 300 classes."""
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in "ab":
            save(Path(f"mine/images/{part}/{name}.png"), random.integers(0, 4096, (8, 9)).astype(np.uint16))
            save(Path(f"mine/masks/{part}/{name}.png"), random.integers(0, 300, (8, 9)).astype(np.uint16))
    classes = [f"c{n}" for n in range(300)]
    return config_of(
        name="folder", root="mine", classes=classes, ignore_index=-1, channels=1, resize=[16, 12]
    )


def put_mix(save):
    put_colours(save)
    part = {"name": "folder", "root": "mine", "classes": CLASSES, "label_map": COLOURS, "resize": [32, 32]}
    shapes = {"name": "shapes", "size": 32, "train_size": 3, "val_size": 2, "class_map": {"*": "b"}}
    return config_of(name="mix", classes=CLASSES, parts=[part, shapes])


def put_drawn(save, **options):
    """Polygons, brought to another size."""
    for part in ("train", "val"):
        for name in "ab":
            save_image(Path(f"mine/{part}/{name}.png"), seed=ord(name))
            save_labelme(Path(f"mine/{part}/{name}.json"), [shape("car", box(3, 3, 20.5, 17))])
    return config_of(name="labelme", root="mine", resize=[20, 24], **options)


SETS = {
    "colours": put_colours,
    "drawn": put_drawn,
    "wide": put_wide,
    "generated": lambda save: config_of(name="shapes", size=32, train_size=3, val_size=2),
    "mix": put_mix,
}


@pytest.mark.parametrize("kind", SETS)
def test_what_was_written_reads_as_the_source(save, kind):
    config = SETS[kind](save)
    assert convert(config, Path("out"), workers=0) == 0
    again = load_config("out/train.yaml")
    assert again.data.name == "folder"
    for split in ("train", "val"):
        source, copy = build_dataset(config, split), build_dataset(again, split)
        assert len(source) == len(copy) and source.class_names == copy.class_names
        assert (source.ignore_index, source.channels) == (copy.ignore_index, copy.channels)
        for index in range(len(source)):
            before, after = source[index], copy[index]
            assert torch.equal(before.image, after.image) and torch.equal(before.target, after.target)
            assert before.target.dtype == after.target.dtype
            assert kind == "mix" or before.file_size == after.file_size
    if kind in ("colours", "wide"):
        for path in Path("mine/images").rglob("*.*"):
            assert (Path("out") / path.relative_to("mine")).read_bytes() == path.read_bytes()


def test_what_is_scored_at_its_original_size_keeps_it(save):
    config = put_drawn(save)
    config = config.model_copy(update={"eval": config.eval.model_copy(update={"at": "original"})})
    convert(config, Path("out"), workers=0)
    again = load_config("out/train.yaml")
    for split in ("train", "val"):
        source, copy = (build_dataset(each, split, scored=True)[0] for each in (config, again))
        assert source.target.shape == (32, 64) and torch.equal(source.target, copy.target)
        assert torch.equal(source.image, copy.image)


def test_a_size_that_would_be_lost_is_refused(save):
    config = put_drawn(save)
    refuse_lost_size(config, object())
    config = config.model_copy(update={"eval": config.eval.model_copy(update={"at": "original"})})
    with pytest.raises(
        ConfigError, match=r"eval.at=original: labelme gives its samples in the size data.resize"
    ):
        refuse_lost_size(config, object())


def test_images_of_a_data_set_with_a_cache_are_copied(save, monkeypatch):
    monkeypatch.setenv("SEGKIT_CACHE", str(Path("cache").absolute()))
    config = put_colours(save)
    cached = config.model_copy(update={"data": config.data.model_copy(update={"cache": "disk"})})
    convert(cached, Path("out"), workers=0)
    assert Path("out/images/train/x.jpg").read_bytes() == Path("mine/images/train/x.jpg").read_bytes()
    assert load_config("out/train.yaml").data.cache == "disk"


def test_masks_have_a_palette_or_16_bits(save):
    convert(put_colours(save), Path("out"), workers=0)
    with Image.open("out/masks/train/x.png") as mask:
        assert mask.mode == "P" and mask.getpalette()[:9] == [0, 0, 0, 255, 0, 0, 0, 255, 0]
        assert set(np.unique(np.asarray(mask))) == {0, 1, 2, 255}
    shutil.rmtree("mine")
    convert(put_wide(save), Path("wide"), workers=0)
    with Image.open("wide/masks/train/a.png") as mask:
        assert mask.mode.startswith("I;16") and np.asarray(mask).max() > 255


def test_it_trains_to_the_same_bits(save, quick_plots, capsys):
    put_colours(save)
    data = f"data={json.dumps({'name': 'folder', 'root': 'mine', 'classes': CLASSES, 'label_map': COLOURS})}"
    words = ("--config", "tiny.yaml", data, "augment.crop_size=24", "train.iterations=5", "name=source")
    assert run_script("prepare_data", "convert", *words, "--to", "out", "--workers", "2") == 0
    assert "train     python train.py --config out/train.yaml" in capsys.readouterr().out
    assert run(*words) == 0 and run("--config", "out/train.yaml", "name=copy") == 0
    source, copy = (
        load_checkpoint(next(Path("runs").glob(f"{name}/*/checkpoints/000005.pt")))
        for name in ("source", "copy")
    )
    for state in ("model", "ema"):
        before, after = source["trainer"][state], copy["trainer"][state]
        assert before.keys() == after.keys() and all(
            torch.equal(before[key], after[key]) for key in before if "." in key
        )


# --- again


def test_what_is_there_is_not_written_again(save, written, capsys):
    config = put_colours(save)
    convert(config, Path("out"), workers=0)
    assert written == ["train/b/y", "train/x", "train/z", "val/b/y", "val/x", "val/z"]
    states = {path: path.stat().st_mtime_ns for path in Path("out/images").rglob("*.jpg")}
    del written[:]
    convert(config, Path("out"), workers=0)
    assert written == [] and "train     3 samples, 0 of them new" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in Path("out/images").rglob("*.jpg")} == states
    # Damaged, missing, of a file that changed, and of a record that was torn.
    Path("out/masks/train/x.png").write_bytes(b"cut")
    Path("out/images/train/z.jpg").unlink()
    save(Path("mine/masks/val/x.png"), np.zeros((40, 32, 3), dtype=np.uint8))
    record = Path("out/converted.jsonl").read_text()
    Path("out/converted.jsonl").write_text(record[:-20])
    convert(config, Path("out"), workers=0)
    assert written == ["train/x", "train/z", "val/x", "val/z"]
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd="out", check=False)
    assert done.returncode == 0 and len(Path("out/SHA256SUMS").read_text().splitlines()) == 12


def test_another_format_or_other_settings_write_all_again(save, written, monkeypatch):
    config = put_colours(save)
    convert(config, Path("out"), workers=0)
    monkeypatch.setattr(pair_writer, "FORMAT", 2)
    del written[:]
    convert(config, Path("out"), workers=0)
    assert len(written) == 6
    swapped = {**COLOURS, "#000000": "b", "#ff0000": "a"}
    convert(config_of(name="folder", root="mine", classes=CLASSES, label_map=swapped), Path("out"), workers=0)
    assert len(written) == 12
    with Image.open("out/masks/train/x.png") as mask, Image.open("mine/masks/train/x.png") as source:
        assert ((np.asarray(mask) == 0) == (np.asarray(source) == (255, 0, 0)).all(axis=2)).all()


def test_a_stopped_conversion_goes_on(save, written, monkeypatch):
    config, make = put_colours(save), PairWriter._make

    def failing(self, index):
        if self.names[index] == "z":
            raise DataError("stopped")
        return make(self, index)

    monkeypatch.setattr(PairWriter, "_make", failing)
    with pytest.raises(DataError, match="stopped"):
        convert(config, Path("out"), workers=0)
    monkeypatch.setattr(PairWriter, "_make", make)
    os.truncate(
        "out/converted.jsonl", Path("out/converted.jsonl").stat().st_size - 9
    )  # killed before it was noted
    assert convert(config, Path("out"), workers=0) == 0
    assert len(list(Path("out/images").rglob("*.jpg"))) == 6


def test_samples_that_are_none_any_more_go(save, capsys):
    config = put_colours(save)
    convert(config, Path("out"), workers=0)
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        Path(f"mine/{kind}/train/x.{suffix}").unlink()
    convert(config, Path("out"), workers=0)
    assert (
        "removed   2 files that an earlier call has written and nothing needs any more"
        in capsys.readouterr().out
    )
    assert (
        not Path("out/images/train/x.jpg").exists()
        and len(build_dataset(load_config("out/train.yaml"), "train")) == 2
    )


# --- what is refused


def message(error, *arguments):
    with pytest.raises(error) as raised:
        convert(*arguments, workers=0)
    return str(raised.value)


def test_files_of_others_are_not_touched(save):
    config = put_colours(save)
    assert message(ConfigError, config, Path("mine/new")) == (
        "--to mine/new is in the folder of the data, mine -> another folder"
    )
    assert message(ConfigError, config, Path()) == (
        "--to . has files of the data: mine/images/train/b/y.jpg -> another folder"
    )
    Path("full").mkdir()
    Path("full/thesis.txt").touch()
    assert message(ConfigError, config, Path("full")) == (
        "--to full: it is there, and not made by this command -> another folder"
    )
    convert(config, Path("out"), workers=0)
    stranger = Path("out/images/val/other.jpg")
    stranger.write_bytes(Path("mine/images/val/x.jpg").read_bytes())
    assert message(ConfigError, config, Path("out")) == (
        "out/images/val/other.jpg is there, and was not written by this command -> another folder"
    )
    stranger.unlink()
    save(Path("mine/images/val/new.png"), np.zeros((4, 4, 3), dtype=np.uint8))
    save(Path("mine/masks/val/new.png"), np.zeros((4, 4, 3), dtype=np.uint8))
    Path("out/masks/val/new.png").write_bytes(b"of somebody else")
    assert message(ConfigError, config, Path("out")) == (
        "out/masks/val/new.png is there, and was not written by this command -> another folder"
    )
    assert Path("out/masks/val/new.png").read_bytes() == b"of somebody else"


def test_what_cannot_be_converted(save):
    config = put_colours(save)
    weighted = config_of(
        name="folder", root="mine", classes=CLASSES, label_map=COLOURS, weight_map={"name": "file"}
    )
    assert message(ConfigError, weighted, Path("out")).startswith(
        "data.weight_map={name: file} has its files beside"
    )
    lock = take_lock(Path("out/.segkit-lock"), "out", "wait")
    Path("out/converted.jsonl").touch()
    assert message(RunFolderInUse, config, Path("out")).startswith("folder out is in use by process ")
    os.close(lock)
    Path("mine/masks/val/z.png").write_bytes(b"no image")
    assert "mine/masks/val/z.png" in message(DataError, config, Path("out"))
    assert not Path("out/train.yaml").exists()


def test_names_of_files_keep_the_order():
    class Named(list):
        names = property(lambda self: self)

    assert name_files(Named(["a", "b/c d", "건물"])) == ["a", "b/c d", "건물"]
    assert name_files(Named(["b", "a"])) == ["0_b", "1_a"]
    assert name_files(Named(["a", "a"])) == ["0_a", "1_a"]
    for odd in ("../a", "/a", ".a", "a\nb", "a//b", "a/", "a/../b", "x" * 400):
        (name,) = name_files(Named([odd]))
        assert name.startswith("0_") and "/" not in name and "\n" not in name and len(name) < 110
    assert name_files(Shapes("train", train_size=11)) == [f"{n:02d}" for n in range(11)]
