"""A small validation set is read once, and its batches are kept."""

from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader

from segkit.config.load import config_from_mapping
from segkit.data.datasets.shapes import Shapes
from segkit.data.loading.loader import val_batches
from segkit.errors import DataError
from segkit.training.build import build

LENGTH = 5
#: Bytes of one image, its label and its place.
SAMPLE = 32 * 32 * 4 + 8


class Counted(Shapes):
    """Counts how often an image is read in this process."""

    def __init__(self):
        super().__init__("val", size=32, val_size=LENGTH)
        self.reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


def walk(batches, count=None):
    return [(batch["name"], batch["image"], batch["target"]) for batch in islice(batches, count)]


def assert_same(first, second):
    assert len(first) == len(second)
    for (names, *tensors), (other_names, *others) in zip(first, second, strict=True):
        assert names == other_names
        assert all(torch.equal(a, b) for a, b in zip(tensors, others, strict=True))


def test_after_one_whole_walk_nothing_is_read():
    dataset = Counted()
    batches = val_batches(dataset, batch_size=2, keep_bytes=LENGTH * SAMPLE)
    first = walk(batches)
    assert dataset.reads == LENGTH
    assert_same(walk(batches), first)
    assert_same(walk(batches, 2), first[:2])
    assert dataset.reads == LENGTH
    assert len(batches) == 3


def test_part_of_a_walk_is_not_taken_for_the_set():
    dataset = Counted()
    batches = val_batches(dataset, batch_size=2, keep_bytes=LENGTH * SAMPLE)
    walk(batches, 1)
    assert sum(len(names) for names, *_ in walk(batches)) == LENGTH


@pytest.mark.parametrize("keep_bytes", [0, LENGTH * SAMPLE - 1])
def test_a_larger_set_is_read_each_time(keep_bytes):
    dataset = Counted()
    batches = val_batches(dataset, batch_size=2, keep_bytes=keep_bytes)
    assert_same(walk(batches), walk(batches))
    assert dataset.reads == 2 * LENGTH


def test_bad_samples_are_told_of_once(tmp_path):
    class Damaged(Counted):
        def __getitem__(self, index):
            if index == 1:
                raise DataError("val_00001 is damaged")
            return super().__getitem__(index)

    told = []
    batches = val_batches(Damaged(), batch_size=2, skip_bad=True, note=told.extend, keep_bytes=2**20)
    assert [names for names, *_ in walk(batches)] == [names for names, *_ in walk(batches)]
    assert [bad.file for bad in told] == ["sample 1"]


def test_the_workers_are_let_go(monkeypatch):
    batches = val_batches(Shapes("val", size=32, val_size=LENGTH), batch_size=2, workers=1, keep_bytes=2**20)
    first = walk(batches)

    def refuse(loader):
        raise AssertionError("the loader was asked again")

    assert batches.loader._iterator is None
    monkeypatch.setattr(DataLoader, "__iter__", refuse)
    assert_same(walk(batches), first)


def test_a_run_keeps_its_validation_set(monkeypatch):
    data = {"name": "shapes", "size": 32, "train_size": 4, "val_size": LENGTH}
    known = {
        "name": "kept",
        "device": "cpu",
        "data": data,
        "model": {"name": "unet", "width": 4, "depth": 1},
        "loss": {"name": "ce"},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "train": {"iterations": 1, "batch_size": 2, "workers": 0},
    }
    batches = build(config_from_mapping(known, origin="test", overrides=())).val_batches()
    first = walk(batches)
    monkeypatch.setattr(Shapes, "__getitem__", None)
    assert_same(walk(batches), first)
