"""With `skip_bad`, a sample that cannot be used is replaced in training and left out in validation, always alike."""

import errno
import os

import pytest
import torch

from segkit.data.augments.none import NoAugment
from segkit.data.augments.standard import Standard
from segkit.data.cache.cached_data import Cached
from segkit.data.cache.place import on_disk
from segkit.data.check import check_data
from segkit.data.class_weights import count_classes
from segkit.data.datasets.folder import Folder
from segkit.data.label_counts import LabelCounts
from segkit.data.loading.bad_samples import BadSample, usable_samples
from segkit.data.loading.loader import WorkerDied, train_batches, val_batches
from segkit.data.loading.sampler import REPLACEMENTS, replacements
from segkit.data.loading.view import Subset
from segkit.errors import CannotCache, DataError, OutOfMemory
from segkit.runs.fingerprints import data_fingerprint

CLASSES = ["a", "b", "c"]
NO_IMAGE = "not a PNG, JPEG, BMP, TIFF, WEBP or GIF image"


@pytest.fixture
def broken(make_folder):
    """`broken(*places)`: six train images, of which those cannot be read."""
    root = make_folder(train=6, val=6)

    def make(*places, split="train"):
        for place in places:
            (root / f"images/{split}/{place:03d}.png").write_bytes(b"damaged")
        return Folder(split, root=str(root), classes=CLASSES)

    return make


def train(dataset, **options):
    defaults = {"augment": Standard(255, crop_size=16), "batch_size": 3, "seed": 1, "num_batches": 8}
    return train_batches(dataset, skip_bad=True, **{**defaults, **options})


def assert_equal(first, second):
    first, second = list(first), list(second)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a["name"] == b["name"]
        assert torch.equal(a["image"], b["image"]) and torch.equal(a["target"], b["target"])


# training


def test_replacements_are_other_images_drawn_anew_for_each_place():
    drawn = [tuple(replacements(0, epoch, 3, length=100)) for epoch in range(5)]
    assert len(set(drawn)) == 5
    for places in drawn:
        assert len(places) == len(set(places)) == REPLACEMENTS and 3 not in places
    assert sorted(replacements(0, 0, 3, length=5)) == [0, 1, 2, 4]
    assert list(replacements(0, 0, 0, length=1)) == []
    assert drawn[0] == tuple(replacements(0, 0, 3, length=100))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_replacements_with_any_workers_and_from_any_batch(broken, workers):
    dataset, told = broken(1, 4), []
    whole = list(train(dataset))
    names = [name for batch in whole for name in batch["name"]]
    assert len(names) == 24 and not {"001", "004"} & set(names)
    assert_equal(train(dataset, workers=workers, note=told.extend), whole)
    assert_equal(train(dataset, workers=workers, start_batch=3, num_batches=5), whole[3:])
    assert {sample.file for sample in told} == {str(dataset.image_paths[place]) for place in (1, 4)}
    reasons = {f"cannot read {dataset.image_paths[place]}: {NO_IMAGE}" for place in (1, 4)}
    assert {sample.reason for sample in told} == reasons
    # Each of the four epochs meets each of the two, once as itself and perhaps as a replacement that failed too.
    assert {sample.epoch for sample in told} == {0, 1, 2, 3} and len(told) >= 8
    assert all(sample.replaced_by in {"000", "002", "003", "005"} for sample in told)


def test_good_images_are_what_they_would_be_without_the_bad_one(broken):
    before = list(train(broken()))
    after = list(train(broken(2)))
    changed = 0
    for one, other in zip(before, after, strict=True):
        for n, name in enumerate(one["name"]):
            if name == "002":
                changed += 1
            else:
                assert name == other["name"][n] and torch.equal(one["image"][n], other["image"][n])
    assert changed == 4


def test_a_replacement_has_the_random_numbers_of_its_place(broken):
    dataset = broken(0)
    batches = list(train(dataset, batch_size=6, num_batches=1))
    names = batches[0]["name"]
    twice = next(name for name in names if names.count(name) == 2)
    one, other = (batches[0]["image"][n] for n, name in enumerate(names) if name == twice)
    assert not torch.equal(one, other)


def test_only_bad_images_end_training(broken):
    dataset = broken(*range(6))
    with pytest.raises(DataError) as raised:
        list(train(dataset))
    first, rest = str(raised.value).split("\n")
    assert first.startswith("cannot read ") and first.endswith(NO_IMAGE)
    assert rest == "   data.on_bad_sample=skip: 5 other images were tried instead, and none can be used"
    with pytest.raises(
        DataError, match=r"\n   data.on_bad_sample=skip: there is no other image to take instead$"
    ):
        list(train(Subset(dataset, [2])))


def test_images_of_different_sizes_are_no_bad_samples(broken, save):
    dataset = broken()
    save(dataset.image_paths[0], torch.zeros(10, 12, 3, dtype=torch.uint8).numpy())
    save(dataset.mask_paths[0], torch.zeros(10, 12, dtype=torch.uint8).numpy())
    with pytest.raises(DataError, match=r"^images of one batch differ in size: "):
        list(train(dataset, augment=NoAugment(), batch_size=6))


def test_every_kind_of_data_error_counts(broken, save):
    dataset, told = broken(), []
    save(dataset.mask_paths[0], torch.full((24, 32), 9, dtype=torch.uint8).numpy())
    save(dataset.mask_paths[1], torch.zeros(3, 4, dtype=torch.uint8).numpy())
    list(
        train(
            dataset,
            weight_map=lambda sample: torch.full((24, 32), -1.0 * (sample.index == 2)),
            note=told.extend,
        )
    )
    reasons = {sample.reason.partition(":")[0] for sample in told}
    assert reasons == {"label out of range", "image and mask sizes differ", "weight map with negative values"}


# validation


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_leaves_bad_images_out_and_says_so_each_time(broken, workers):
    dataset, told = broken(0, 1, 5, split="val"), []
    batches = val_batches(dataset, batch_size=2, workers=workers, skip_bad=True, note=told.extend)
    for _ in range(2):
        seen = [(batch["name"], batch["index"].tolist()) for batch in batches]
        assert seen == [(["002", "003"], [2, 3]), (["004"], [4])]
    files = [str(dataset.image_paths[place]) for place in (0, 1, 5)]
    assert told == [BadSample(file, f"cannot read {file}: {NO_IMAGE}") for file in files] * 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_validation_set_without_one_usable_image_is_an_error(broken, workers):
    dataset = broken(*range(6), split="val")
    options = {"batch_size": 2, "workers": workers, "skip_bad": True}
    with pytest.raises(DataError) as raised:
        list(val_batches(dataset, **options))
    assert str(raised.value) == (
        f"none of the 6 validation images can be used; the first: cannot read {dataset.image_paths[0]}: {NO_IMAGE}"
    )
    assert list(val_batches(dataset, **options, allow_empty=True)) == []


def test_a_part_of_a_set_names_its_own_files(broken):
    told = []
    list(val_batches(Subset(broken(3), [2, 3]), batch_size=1, skip_bad=True, note=told.extend))
    assert [sample.file.rpartition("/")[2] for sample in told] == ["003.png"]


# what is no sample's fault


def test_a_cache_that_cannot_be_written_is_not_skipped(broken, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("segkit.data.cache.cached_data._write", fail)
    kept = Cached(broken(), on_disk(tmp_path / "cache"), settings={})
    with pytest.raises(CannotCache, match=r"^data.cache: cannot write "):
        list(train(kept))
    with pytest.raises(CannotCache):
        list(val_batches(kept, batch_size=1, skip_bad=True))
    with pytest.raises(CannotCache):
        check_data(kept, skip_bad=True)
    with pytest.raises(CannotCache):
        list(usable_samples(kept.__getitem__, [0], skip_bad=True))


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_limit_of_the_system_is_not_skipped(broken, workers, skip_bad, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "x.png")

    monkeypatch.setattr("segkit.data.decoding.images_and_masks.Image.open", refuse)
    monkeypatch.setattr("segkit.data.loading.faults.resource.getrlimit", lambda which: (1024, 4096))
    with pytest.raises(WorkerDied) as raised:
        list(val_batches(broken(), batch_size=2, workers=workers, skip_bad=skip_bad))
    assert str(raised.value) == (
        "too many open files while loading data ([Errno 24] Too many open files: 'x.png')\n"
        "   a process may have 1,024 open\n"
        "   -> raise the limit in the shell (ulimit -n 65536), or train.workers=0"
    )


TORCH = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000 bytes. Error code 12 (Cannot allocate memory)"  # noqa: E501
NUMPY = "Unable to allocate 7.11 PiB for an array with shape (1000000000000000,) and data type float64"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (MemoryError(), ""),
        (MemoryError(NUMPY), " (7.11 PiB were asked for)"),
        (RuntimeError(TORCH), " (4 GB were asked for)"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), ""),
    ],
    ids=["python", "numpy", "torch", "system"],
)
def test_memory_that_ran_out_is_not_skipped(broken, workers, monkeypatch, error, asked):
    def refuse(*arguments, **options):
        raise error

    places = [
        "decoding.images_and_masks.Image.open",
        "loading.view.check_ids",
        "loading.loader.default_collate",
    ]
    for place in (f"segkit.data.{name}" for name in places):
        with monkeypatch.context() as patch:
            patch.setattr(place, refuse)
            with pytest.raises(OutOfMemory) as raised:
                list(val_batches(broken(), batch_size=2, workers=workers, skip_bad=True))
        assert str(raised.value) == (
            f"out of memory while loading data{asked}\n"
            "   -> fewer train.workers, a smaller train.batch_size or eval.batch_size, smaller images (data.resize), "
            "data.cache=disk instead of ram"
        )


# what else reads samples


def test_counts_and_fingerprint_are_those_of_the_good_samples(broken, save):
    good = count_classes(Subset(broken(), [0, 2, 3, 5]))
    dataset = broken(1)
    save(dataset.mask_paths[4], torch.full((24, 32), 9, dtype=torch.uint8).numpy())
    assert count_classes(dataset, skip_bad=True) == good
    with pytest.raises(DataError, match=r"^cannot read "):
        count_classes(dataset)
    val = broken(split="val")
    assert data_fingerprint(dataset, val, skip_bad=True) == data_fingerprint(dataset, val, skip_bad=True)
    with pytest.raises(DataError, match=r"^cannot read "):
        data_fingerprint(dataset, val)


def test_the_check_warns_of_bad_samples(broken):
    dataset = broken(1, 3)
    report = check_data(dataset, broken(split="val"), skip_bad=True)
    assert report.train.samples == 4
    assert any("cannot be used" in warning and "001.png" in warning for warning in report.warnings)
    with pytest.raises(DataError, match=r"^cannot read "):
        check_data(broken(*range(6)), skip_bad=True)


def test_kept_counts_are_made_anew_when_an_image_is_repaired(broken, tmp_path):
    whole = count_classes(broken())
    damaged = broken(1, 2)
    damaged.image_paths[2].unlink()
    options = {"settings": {}, "skip_bad": True}
    counts = LabelCounts(damaged, tmp_path / "counts", **options).counts()
    assert counts == count_classes(Subset(damaged, [0, 3, 4, 5])) != whole
    for place in (1, 2):
        damaged.image_paths[place].write_bytes(damaged.image_paths[0].read_bytes())
    assert LabelCounts(damaged, tmp_path / "counts", **options).counts() == whole
