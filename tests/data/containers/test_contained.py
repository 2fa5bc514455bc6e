"""What all data sets keep whose files hold several images: each image its own labels, cache, names, counts."""

import os
import pickle
import shutil

import numpy as np
import pytest

from segkit.data.cache.cached_data import Cached
from segkit.data.cache.place import on_disk
from segkit.data.check import check_data
from segkit.data.check.whole import count_whole, find_all
from segkit.data.label_counts import count_classes
from segkit.data.loading.bad_samples import describe_bad_sample
from segkit.data.loading.view import Subset, TrainView
from segkit.errors import DataError
from tests.data.containers.contained_folders import COUNT, IMAGES, KINDS, LABELS, open_part


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory):
    """Folder and block of a kind, which are only read."""
    root = tmp_path_factory.mktemp(request.param)
    return root, KINDS[request.param](root)


def test_every_sample_is_the_image_with_its_labels(made):
    train, val = (open_part(*made, split) for split in ("train", "val"))
    assert (len(train), len(val)) == (8, 2)
    for place, sample in enumerate([*train, *val]):
        np.testing.assert_array_equal(sample.image[0], IMAGES[place])
        np.testing.assert_array_equal(sample.target, LABELS[place])
        assert sample.index == (place if place < 8 else place - 8)
    names = [*train.names, *val.names]
    assert len(set(names)) == COUNT and [sample.name for sample in train] == list(train.names)
    assert not any(set(train.files(n)) - set(made[0].rglob("*")) for n in range(8))


def test_worker_processes_get_the_same(made):
    train = open_part(*made, "train")
    copy = pickle.loads(pickle.dumps(train))
    assert copy.fingerprint() == train.fingerprint()
    np.testing.assert_array_equal(copy[3].target, train[3].target)


def test_a_cache_keeps_samples_of_one_file_apart_and_notices_a_change(made, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(made[0], root)
    train = open_part(root, made[1], "train")
    cached = Cached(train, on_disk(tmp_path / "cache"), settings={})
    for _ in range(2):
        for place in range(len(train)):
            np.testing.assert_array_equal(cached[place].image[0], IMAGES[place])
    assert cached.describe().startswith("about") and "8 of 8 images there" in cached.describe()
    before = cached._key(0)
    for path in train.files(0):
        os.utime(path, (1, 1))
    assert cached._key(0) != before
    part = Cached(Subset(train, [5, 2]), on_disk(tmp_path / "cache"), settings={})
    np.testing.assert_array_equal(part[1].target, LABELS[2])


def test_the_fingerprint_is_of_files_and_samples(made, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(made[0], root)
    assert open_part(root, made[1], "train").fingerprint() == open_part(*made, "train").fingerprint()
    assert open_part(*made, "val").fingerprint() != open_part(*made, "train").fingerprint()


def test_the_check_finds_no_copies_where_one_file_holds_both_parts(made):
    train, val = (open_part(*made, split) for split in ("train", "val"))
    report = check_data(train, val)
    assert report.summary.startswith("10/10 masks fine")
    assert [text for text in report.warnings if "also" in text or "repeat" in text] == []
    parts = {
        name: count_whole(part, name, weight_map=None, workers=0)
        for name, part in (("train", train), ("val", val))
    }
    assert [finding.kind for finding in find_all(parts, batch_size=2, weighted=False)] == []
    assert parts["train"].tally.values == {value: int((LABELS[:8] == value).sum()) for value in range(3)}


def test_classes_are_counted(made):
    counts = count_classes(open_part(*made, "train"))
    assert list(counts.pixels) == [int((LABELS[:8] == value).sum()) for value in range(3)]


def test_a_bad_sample_is_skipped_and_named_alone(made):
    """Of one file, the other images are used."""
    train = open_part(*made, "train")
    good = type(train).read

    def read(index):
        if index == 3:
            raise DataError("damaged")
        return good(train, index)

    train.read = read
    loaded = TrainView(train, weight_map=None, augment=lambda sample: sample, seed=0, skip_bad=True).load(
        (0, 3)
    )
    (bad,) = loaded.bad
    assert bad.reason == "damaged" and bad.replaced_by in train.names
    names = {describe_bad_sample(train, n, DataError("")).file for n in range(len(train))}
    assert len(names) == len(train)
