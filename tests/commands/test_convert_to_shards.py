"""`prepare_data.py convert --shards N`: the same samples in tar files, as webdataset reads them."""

import os
import signal
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.commands.convert import shard_writer
from segkit.commands.convert.convert import convert
from segkit.commands.convert.pair_writer import PairMaker
from segkit.commands.convert.shard_writer import ShardWriter
from segkit.config.load import load_config
from segkit.errors import ConfigError
from segkit.runs.checkpoint import load_checkpoint
from segkit.training.build_dataset import build_dataset
from tests.commands.test_convert import SETS, put_colours
from tests.runs.planted_scores import TINY, run
from tests.scripts import run_script


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGKIT_CACHE", str(tmp_path / "cache"))
    Path("tiny.yaml").write_text(TINY)


@pytest.fixture
def made(monkeypatch):
    """The numbers of the samples that this process makes, in order."""
    numbers, make = [], PairMaker.make

    def noted(self, index):
        numbers.append(index)
        return make(self, index)

    monkeypatch.setattr(PairMaker, "make", noted)
    return numbers


@pytest.mark.parametrize("kind", SETS)
def test_what_was_written_reads_as_the_source(save, kind):
    config = SETS[kind](save)
    assert convert(config, Path("out"), workers=0, shard_size=2) == 0
    again = load_config("out/train.yaml")
    assert again.data.name == "shards"
    for split in ("train", "val"):
        source, copy = build_dataset(config, split), build_dataset(again, split)
        assert len(source) == len(copy) and source.class_names == copy.class_names
        assert (source.ignore_index, source.channels) == (copy.ignore_index, copy.channels)
        for index in range(len(source)):
            before, after = source[index], copy[index]
            assert torch.equal(before.image, after.image) and torch.equal(before.target, after.target)
    assert not Path("out/images").exists()


def test_shards_hold_as_many_samples_as_asked_for_and_no_times(save):
    config = put_colours(save)
    convert(config, Path("out"), workers=0, shard_size=2)
    convert(config, Path("again"), workers=2, shard_size=2)
    names = ["train-000000.tar", "train-000001.tar", "val-000000.tar", "val-000001.tar"]
    assert sorted(path.name for path in Path("out").glob("*.tar")) == names
    for name in names:
        assert Path("out", name).read_bytes() == Path("again", name).read_bytes()
    with tarfile.open("out/train-000000.tar") as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == ["0_b_y.jpg", "0_b_y.seg.png", "1_x.jpg", "1_x.seg.png"]
        assert {(member.mtime, member.uid, member.uname) for member in members} == {(0, 0, "")}
        assert tar.extractfile(members[0]).read() == Path("mine/images/train/b/y.jpg").read_bytes()
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd="out", check=False)
    assert done.returncode == 0 and len(Path("out/SHA256SUMS").read_text().splitlines()) == 4


def test_only_what_changed_is_written_again(save, made, capsys, monkeypatch):
    config = put_colours(save)
    convert(config, Path("out"), workers=0, shard_size=2)
    assert made == [0, 1, 2] * 2
    del made[:]
    convert(config, Path("out"), workers=0, shard_size=2)
    assert made == [] and "train     2 shards of 3 samples, 0 of them new" in capsys.readouterr().out
    save(Path("mine/masks/train/z.png"), np.zeros((40, 32, 3), dtype=np.uint8))  # the last of training
    Path("out/val-000000.tar").write_bytes(b"cut")
    convert(config, Path("out"), workers=0, shard_size=2)
    assert made == [2, 0, 1]
    monkeypatch.setattr(shard_writer, "FORMAT", 2)
    convert(config, Path("out"), workers=0, shard_size=2)
    assert made == [2, 0, 1] + [0, 1, 2] * 2
    # As files, and in fewer shards: what was there of the other form goes.
    convert(config, Path("out"), workers=0)
    assert not list(Path("out").glob("*.tar"))
    convert(config, Path("out"), workers=0, shard_size=100)
    assert len(list(Path("out").glob("*.tar"))) == 2 and not list(Path("out").rglob("*.jpg"))


def test_half_of_another_division_is_not_trained_on(save, monkeypatch, capsys):
    config = put_colours(save)
    convert(config, Path("out"), workers=0, shard_size=1)
    write = ShardWriter.__call__

    def interrupted(self, shard):
        os.kill(os.getpid(), signal.SIGINT)
        return write(self, shard)

    monkeypatch.setattr(ShardWriter, "__call__", interrupted)
    assert convert(config, Path("out"), workers=0, shard_size=2) == 130
    # The second sample is in the first shard of now and in the second of before.
    assert len(list(Path("out").glob("train-*.tar"))) == 3 and not Path("out/train.yaml").exists()
    assert "stopped   1 shards are there -> the same command writes the others" in capsys.readouterr().out
    monkeypatch.setattr(ShardWriter, "__call__", write)
    assert convert(config, Path("out"), workers=0, shard_size=2) == 0
    assert "removed   2 files that an earlier call has written" in capsys.readouterr().out
    assert len(build_dataset(load_config("out/train.yaml"), "train")) == 3


def test_tar_files_of_others_are_not_read_with_ours(save):
    config = put_colours(save)
    convert(config, Path("out"), workers=0, shard_size=2)
    Path("out/train-old.tar").write_bytes(b"theirs")
    Path("out/other.tar").write_bytes(b"theirs")
    with pytest.raises(
        ConfigError, match=r"out/train-old\.tar is there, and was not written by this command"
    ):
        convert(config, Path("out"), workers=0, shard_size=2)
    assert Path("out/train-old.tar").read_bytes() == b"theirs"


def test_names_with_dots_get_numbers(save):
    for part in ("train", "val"):
        for name in ("a.b", "a.c"):
            save(Path(f"mine/masks/{part}/{name}.png"), np.zeros((8, 8), dtype=np.uint8))
            save(Path(f"mine/images/{part}/{name}.png"), np.zeros((8, 8, 3), dtype=np.uint8))
    Path("dots.yaml").write_text(TINY)
    words = ["--config", "dots.yaml", "data={name: folder, root: mine, classes: [a, b]}", "--to", "out"]
    assert run_script("prepare_data", "convert", *words, "--shards", "5", "--workers", "0") == 0
    with tarfile.open("out/val-000000.tar") as tar:
        assert tar.getnames() == ["0_a_b.png", "0_a_b.seg.png", "1_a_c.png", "1_a_c.seg.png"]
    assert run_script("prepare_data", "convert", *words, "--shards", "0") == 2


def test_it_trains_to_the_same_bits_in_the_order_of_the_source(save, quick_plots, capsys):
    data = "data={name: shapes, size: 32, train_size: 6, val_size: 2}"
    words = ("--config", "tiny.yaml", data, "augment.crop_size=24", "train.iterations=4", "name=source")
    assert run_script("prepare_data", "convert", *words, "--to", "out", "--shards", "4") == 0
    assert "data.shuffle=null" in capsys.readouterr().out
    assert run(*words) == 0
    assert run("--config", "out/train.yaml", "name=copy", "data.shuffle=null") == 0
    source, copy = (
        load_checkpoint(next(Path("runs").glob(f"{name}/*/checkpoints/000004.pt")))["trainer"]["model"]
        for name in ("source", "copy")
    )
    assert all(torch.equal(source[key], copy[key]) for key in source)


# webdataset leaves the shard open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_webdataset_reads_them(save):
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    convert(put_colours(save), Path("out"), workers=0, shard_size=2)
    samples = list(webdataset.WebDataset("out/train-000000.tar", shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["0_b_y", "1_x"]
    assert all({"jpg", "seg.png"} <= set(sample) for sample in samples)
    assert samples[1]["jpg"] == Path("mine/images/train/x.jpg").read_bytes()
    Path("mask.png").write_bytes(samples[1]["seg.png"])
    with Image.open("mask.png") as mask:
        assert mask.mode == "P"
