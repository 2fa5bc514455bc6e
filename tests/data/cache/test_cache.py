"""A cached sample is the sample, until its files or settings change."""

import errno
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from segkit.config.load import config_from_mapping
from segkit.data.cache import cached_data as cache
from segkit.data.cache.cached_data import Cached
from segkit.data.cache.cached_weights import CachedWeights
from segkit.data.cache.place import default_folder, in_memory, on_disk
from segkit.data.datasets.folder import Folder
from segkit.data.datasets.mix import Mix, Part
from segkit.data.datasets.shapes import Shapes
from segkit.data.loading.bad_samples import DamagedCache
from segkit.data.loading.loader import train_batches
from segkit.data.loading.view import Subset, TrainView
from segkit.data.weight_maps.boundary import Boundary
from segkit.errors import ConfigError, DataError
from segkit.registry import AUGMENTS
from segkit.runs import preflight
from segkit.runs.recording.bad_sample_log import BadSampleLog
from segkit.training.build import build_data

CLASSES = ["a", "b", "c"]


@pytest.fixture
def cached(make_folder, tmp_path):
    """`cached(**options)`: a data set of four images, and the same with a cache."""
    root = make_folder()

    def make(**options):
        plain = Folder("train", root=str(root), classes=CLASSES, **options)
        return plain, Cached(plain, on_disk(tmp_path / "cache"), settings=options)

    return make


def assert_same(sample, other):
    for name in ("image", "target"):
        assert torch.equal(getattr(sample, name), getattr(other, name))
        assert type(getattr(sample, name)) is type(getattr(other, name))
    for name in ("name", "index", "weight", "mask_path", "weight_path", "file_size"):
        assert getattr(sample, name) == getattr(other, name)


@pytest.mark.parametrize("options", [{}, {"resize": [12, 20]}, {"channels": 1}, {"ignore_index": -1}])
def test_samples_are_the_same_and_decoded_once(cached, options, monkeypatch):
    plain, kept = cached(**options)
    expected = [plain[index] for index in range(len(plain))]
    for index, sample in enumerate(expected):
        assert_same(kept[index], sample)
    monkeypatch.setattr(Folder, "__getitem__", lambda self, index: pytest.fail("decoded again"))
    for index, sample in enumerate(expected):
        found = kept[index]
        assert_same(found, sample)
        found.image.add_(1)  # a sample is the caller's own
        assert_same(kept[index], sample)


def test_augmented_samples_are_the_same(cached):
    augment = AUGMENTS.get("standard")(255, crop_size=16)
    plain, kept = (TrainView(each, weight_map=None, augment=augment, seed=3) for each in cached())
    for _ in range(2):  # decoded, and read
        for place in ((0, 1), (1, 1), (4, 3)):
            one, two = plain[place], kept[place]
            assert torch.equal(one["image"], two["image"]) and torch.equal(one["target"], two["target"])


def test_workers_fill_and_read_it(cached):
    plain, kept = cached()
    options = {"augment": AUGMENTS.get("none")(), "batch_size": 2, "seed": 0, "num_batches": 6}
    batches = [list(train_batches(each, workers=2, **options)) for each in (plain, kept, kept)]
    for one, *others in zip(*batches, strict=True):
        for other in others:
            assert torch.equal(one["image"], other["image"]) and one["name"] == other["name"]


@pytest.mark.parametrize("part", [0, 1], ids=["image", "mask"])
@pytest.mark.parametrize("change", ["size", "time"])
def test_a_changed_file_is_read_anew(cached, save, part, change):
    plain, kept = cached()
    path, shape = plain.files(0)[part], ((24, 32, 3), (24, 32))[part]
    # Not compressed, so that others of this shape have this size.
    save(path, np.zeros(shape, dtype=np.uint8), compress_level=0)
    before, state = kept[0], path.stat()
    save(path, np.full(shape, 1, dtype=np.uint8), compress_level=0 if change == "time" else 9)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + (change == "time")))
    assert (path.stat().st_size == state.st_size) == (change == "time")
    after = kept[0]
    assert_same(after, plain[0])
    assert not torch.equal((before.image, before.target)[part], (after.image, after.target)[part])


def test_other_settings_have_other_files(cached):
    _, kept = cached()
    _, small = cached(resize=[12, 20])
    assert kept[0].image.shape != small[0].image.shape == (3, 12, 20)
    assert kept[0].image.shape == (3, 24, 32)


def test_a_label_map_may_have_numbers_and_words(cached):
    plain, kept = cached(label_map={2: "ignore", "*": 0})
    assert_same(kept[0], plain[0])


@pytest.mark.parametrize(
    "damage", [lambda b: b[:100], lambda b: b[:-1], lambda b: b"", lambda b: b"\0" * len(b)]
)
def test_a_damaged_file_is_written_anew(cached, damage):
    plain, kept = cached()
    kept[0]
    (path,) = kept.folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert_same(kept[0], plain[0])
    assert path.read_bytes() == whole


@pytest.mark.parametrize("place", ["disk", "ram"])
@pytest.mark.parametrize("part", ["image", "target"])
def test_pixels_that_were_overwritten_are_never_used(make_folder, tmp_path, place, part):
    plain = Folder("train", root=str(make_folder()), classes=CLASSES)
    where = on_disk(tmp_path / "cache") if place == "disk" else in_memory()
    kept = Cached(plain, where, settings={})
    kept[0]
    (path,) = kept.folder.iterdir()
    whole = path.read_bytes()
    values = getattr(plain[0], part).numpy()
    pixels = (values.transpose(1, 2, 0) if part == "image" else values).tobytes()  # as they are written
    middle = whole.index(pixels) + len(pixels) // 2
    path.write_bytes(
        whole[:middle] + bytes(255 - value for value in whole[middle : middle + 9]) + whole[middle + 9 :]
    )
    assert_same(kept[0], plain[0])
    assert path.read_bytes() == whole
    assert kept.take_damaged() == [path] and kept.take_damaged() == []


def test_a_file_of_an_earlier_version_is_written_anew_and_goes(cached):
    plain, kept = cached()
    kept[0]
    (path,) = kept.folder.iterdir()
    path.rename(path.with_suffix(".npy"))
    path.with_suffix(".npy").write_bytes(b"anything")
    assert_same(kept[0], plain[0])
    assert list(kept.folder.iterdir()) == [path] and kept.take_damaged() == []


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("weights", [False, True], ids=["sample", "weight map"])
def test_damage_is_said_once(cached, tmp_path, workers, weights):
    _, kept = cached()
    maker = CachedWeights(Boundary(255), on_disk(tmp_path / "maps"))
    for index in range(len(kept)):
        maker(kept[index])
    files = sorted((maker if weights else kept).folder.iterdir())
    for path in files:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    lines = []
    log = BadSampleLog(tmp_path / "bad.csv", tell=lines.append)
    options = {"weight_map": maker, "augment": AUGMENTS.get("none")(), "batch_size": 2, "seed": 0}
    list(train_batches(kept, workers=workers, num_batches=4, note=log.note, **options))
    (line,) = lines
    assert line.startswith("cache     ") and line.endswith(
        " was damaged and has been written anew; others will be too, and not be named"
    )
    assert line.split()[1] in map(str, files)
    log.write()
    assert not log.path.exists() and log.total() is None  # no sample is bad


def test_damage_that_is_met_before_there_is_a_log_is_said_later(cached):
    _, kept = cached()
    kept[0]
    (path,) = kept.folder.iterdir()
    path.write_bytes(b"")
    options = {"augment": AUGMENTS.get("none")(), "batch_size": 4, "seed": 0, "num_batches": 1}
    list(train_batches(kept, **options))
    met = []
    list(train_batches(kept, note=met.extend, **options))
    assert met == [DamagedCache(path)]


def test_it_is_the_data_set_in_everything_else(cached):
    plain, kept = cached()
    kept = pickle.loads(pickle.dumps(kept))
    assert len(kept) == len(plain) and kept.class_names == plain.class_names
    assert kept.fingerprint() == plain.fingerprint()
    assert kept.describe() == f"about 1.2e-05 GB, 0 of 4 images there, in {kept.folder}"
    assert "4 of 4 images there" in kept.describe()


def test_of_many_images_the_kept_files_are_counted(cached, monkeypatch):
    _, kept = cached()
    monkeypatch.setattr(cache, "MANY", 0)
    kept[0], kept[2]
    monkeypatch.setattr(cache, "estimate_size", lambda dataset: 48)  # without reading any
    assert "2 of 4 images there" in kept.describe()


def test_a_full_disk_says_what_to_do(cached, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(cache, "_write", fail)
    with pytest.raises(DataError) as raised:
        cached()[1][0]
    first, disk, advice = str(raised.value).splitlines()
    assert first.startswith("data.cache: cannot write ") and first.endswith(".cache: the disk is full")
    assert "GB free" in disk
    assert advice == "   -> data.cache=off, or another place: SEGKIT_CACHE=FOLDER in the environment"


def test_a_cached_file_that_cannot_be_read(cached):
    _, kept = cached()
    kept[0]
    (path,) = kept.folder.iterdir()
    path.unlink()
    path.mkdir()
    with pytest.raises(
        DataError, match=r"^cannot read .*: Is a directory\n   -> remove it, or data.cache=off$"
    ):
        kept[0]


def test_a_file_that_went_away(cached):
    plain, kept = cached()
    kept[0]
    plain.image_paths[0].unlink()
    with pytest.raises(DataError, match=r"^cannot read .*000.png: no such file$"):
        kept[0]


def test_a_data_set_without_files_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"^data.cache=disk needs a data set that names the files"):
        Cached(Shapes("train"), on_disk(tmp_path), settings={})


def test_the_configuration_turns_it_on(make_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGKIT_CACHE", str(tmp_path / "here"))
    mapping = {
        "name": "x",
        "data": {"name": "folder", "root": str(make_folder()), "classes": CLASSES, "cache": "disk"},
        "loss": {"name": "ce"},
        "train": {"iterations": 1},
    }
    data = build_data(config_from_mapping(mapping, origin="test"))
    assert isinstance(data.train, Cached) and isinstance(data.val, Cached)
    assert data.train.folder != data.val.folder and data.train.folder.parent == tmp_path / "here"
    monkeypatch.delenv("SEGKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert str(default_folder()) == "/caches/segkit"
    mapping["data"]["cache"] = "off"
    assert isinstance(build_data(config_from_mapping(mapping, origin="test")).train, Folder)


def test_a_check_says_what_it_wrote(make_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEGKIT_CACHE", str(tmp_path / "here"))
    data = {"name": "folder", "root": str(make_folder()), "classes": CLASSES, "cache": "disk"}
    mapping = {
        "name": "x",
        "device": "cpu",
        "data": data,
        "model": {"name": "unet", "width": 4, "depth": 2},
        "loss": {"name": "ce"},
        "train": {"iterations": 1, "batch_size": 2, "workers": 0},
    }
    assert preflight.check(config_from_mapping(mapping, origin="test"), source="x", overfit=2) == 0
    assert (
        capsys.readouterr().out.splitlines()[-1] == "check     everything fits; only data.cache was written"
    )
    assert list((tmp_path / "here").iterdir())


class Weighing(Shapes):
    """Shapes with weights of its own."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return replace(sample, weight=torch.rand(32, 32, generator=torch.Generator().manual_seed(index)))


def test_weights_that_the_data_set_itself_gives_are_kept():
    plain = Weighing("train", size=32, train_size=2)
    kept = Cached(plain, in_memory(), settings={})
    for _ in range(2):
        for index in range(2):
            assert torch.equal(kept[index].weight, plain[index].weight)
    assert cache.estimate_size(plain) == 2 * 32 * 32 * (3 + 1 + 4)


@pytest.mark.parametrize("place", [lambda path: on_disk(path), lambda path: in_memory()])
def test_parts_of_a_mix_that_read_the_same_files_are_kept_apart(make_folder, tmp_path, place):
    """Their classes mean different things, in the mix and in a mix within it."""
    root = str(make_folder())

    def part(title, second, third):
        plain = Folder("train", root=root, classes=CLASSES)
        return Part("folder", plain, class_map={"b": second, "c": third}, title=title)

    inner = Mix("train", parts=[part("one", "c", "b"), part("two", "b", "ignore")], classes=CLASSES)
    plain = Mix("train", parts=[part("one", "b", "c"), Part("mix", inner)], classes=CLASSES)
    kept = Cached(plain, place(tmp_path / "cache"), settings={})
    for _ in range(2):
        for index in range(len(plain)):
            assert_same(kept[index], plain[index])
    few = [index for index in range(len(plain)) if index % 4 == 0]
    again = Cached(Subset(plain, few), place(tmp_path / "cache"), settings={})
    for _ in range(2):
        for number, index in enumerate(few):
            assert again[number].name == plain[index].name
            assert torch.equal(again[number].target, plain[index].target)
