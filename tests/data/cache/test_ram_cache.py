"""`data.cache: ram` lasts as long as its process, whatever ends that; weight maps are kept under recipe and labels."""

import errno
import gc
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from segkit.cli import train as train_script
from segkit.cli.run_command import run_command
from segkit.config.load import config_from_mapping
from segkit.data.augments.none import NoAugment
from segkit.data.cache import cached_weights, ram_folder
from segkit.data.cache.cached_data import Cached, estimate_size
from segkit.data.cache.cached_weights import CachedWeights, keep_weights
from segkit.data.cache.place import in_memory, on_disk
from segkit.data.cache.ram_folder import RamFolder, require_room, sweep
from segkit.data.datasets.folder import Folder
from segkit.data.datasets.shapes import Shapes
from segkit.data.loading.loader import train_batches
from segkit.data.weight_maps.boundary import Boundary
from segkit.data.weight_maps.constant import Constant
from segkit.data.weight_maps.unet_border import UNetBorder
from segkit.errors import CannotCache
from segkit.training.build import build_data
from tests.paths import ROOT

CLASSES = ["a", "b", "c"]


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    """A folder that stands for shared memory."""
    place = tmp_path / "memory"
    place.mkdir()
    monkeypatch.setattr(ram_folder, "SHARED_MEMORY", place)
    return place


def folders(place):
    return sorted(path.name for path in place.iterdir())


def config(root, **data):
    data = {"name": "folder", "root": str(root), "classes": CLASSES, "cache": "ram", **data}
    mapping = {
        "name": "x",
        "device": "cpu",
        "data": data,
        "model": {"name": "unet", "width": 4, "depth": 2},
        "loss": {"name": "ce"},
        "train": {"iterations": 2, "batch_size": 2, "workers": 0},
        "eval": {"images": 1},
        "log": {"tensorboard": False, "images_every": 0},
    }
    return config_from_mapping(mapping, origin="test")


# the folder


def test_a_folder_goes_with_its_owner(memory):
    folder, other = RamFolder(), RamFolder()
    assert folder.path.parent == memory and folder.path.name.startswith(
        f"segkit-{os.getuid()}-{os.getpid()}-"
    )
    assert folder.path.stat().st_mode & 0o777 == 0o700
    (folder.path / "inside").mkdir()
    assert sweep() == []
    assert pickle.loads(pickle.dumps(folder)) is None
    folder.remove()
    folder.remove()
    assert folders(memory) == [other.path.name]
    del other
    gc.collect()
    assert folders(memory) == []


MAKER = """
import os, signal, sys
from pathlib import Path
from segkit.data.cache.ram_folder import RamFolder
folder = RamFolder(Path(sys.argv[1]))
(folder.path / "file").write_text("x")
child = os.fork() if sys.argv[2] == "orphan" else 1
if child == 0:
    os.close(1), os.close(2)
    signal.pause()
print(child, flush=True)
if sys.argv[2] == "raise":
    raise RuntimeError
if sys.argv[2] != "exit":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("end", ["exit", "raise"])
def test_a_folder_goes_with_its_process(memory, end):
    subprocess.run([sys.executable, "-c", MAKER, memory, end], cwd=ROOT, capture_output=True, check=False)
    assert folders(memory) == []


@pytest.mark.parametrize("end", ["kill", "orphan"])
def test_the_folder_of_a_killed_process_is_swept_by_the_next_run(memory, make_folder, end):
    done = subprocess.run(
        [sys.executable, "-c", MAKER, memory, end], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    (left,) = folders(memory)
    alive = RamFolder()
    build_data(config(make_folder(), cache="off"))
    assert folders(memory) == [alive.path.name] and left != alive.path.name
    if end == "orphan":
        os.kill(int(done.stdout), signal.SIGKILL)


def test_the_folder_of_another_user_is_let_be(memory, monkeypatch):
    stranger = memory / f"segkit-{os.getuid() + 1}-1-x"
    stranger.mkdir()
    (memory / f"segkit-{os.getuid()}-2-x").symlink_to(stranger)
    assert sweep() == [] and stranger.is_dir()


def test_a_place_that_cannot_be_written(memory):
    with pytest.raises(CannotCache) as raised:
        RamFolder(memory / "absent")
    first, disk, advice = str(raised.value).splitlines()
    assert first == f"data.cache=ram: cannot write {memory}/absent: No such file or directory"
    assert disk.startswith("   disk ") and advice == "   -> data.cache=disk or off"


# the room


def space(monkeypatch, *, shared, memory=10**12, job=None):
    monkeypatch.setattr(ram_folder.shutil, "disk_usage", lambda place: SimpleNamespace(free=shared))
    monkeypatch.setattr(ram_folder, "SHARED_MEMORY", Path("/dev/shm"))
    files = {
        "/proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {memory // 1024} kB\n",
        "/proc/self/cgroup": "0::/job/step\n",
        "/sys/fs/cgroup/job/memory.max": f"{job}\n",
        "/sys/fs/cgroup/job/memory.current": "3000000000\n",
        "/sys/fs/cgroup/job/memory.stat": "anon 7\ninactive_file 1500000000\nactive_file 500000000\n",
    }
    monkeypatch.setattr(Path, "read_text", lambda path: files[str(path)])
    monkeypatch.setattr(Path, "is_file", lambda path: job is not None and str(path) in files)


@pytest.mark.parametrize(
    ("limits", "where", "advice"),
    [
        ({"shared": 64e6}, "0.064 GB are free in /dev/shm", "more shared memory (docker run --shm-size=4g)"),
        ({"shared": 64e9, "memory": 10**9}, "1 GB of memory are free", "smaller images (data.resize)"),
        (
            {"shared": 64e9, "job": 2 * 10**9},
            "1 GB of the memory that this job may use are free",
            "smaller images (data.resize)",
        ),
    ],
)
def test_a_set_that_does_not_fit_is_refused_beforehand(monkeypatch, limits, where, advice):
    space(monkeypatch, **limits)
    with pytest.raises(CannotCache) as raised:
        require_room(2 * 10**9)
    assert (
        str(raised.value)
        == f"data.cache=ram needs about 2 GB, and {where}\n   -> data.cache=disk, or {advice}"
    )


def test_room_is_left_for_others(monkeypatch):
    space(monkeypatch, shared=1000, job=10**12)
    require_room(900)
    with pytest.raises(CannotCache):
        require_room(901)


def test_the_size_is_estimated_from_some_samples(make_folder):
    dataset = Folder("train", root=str(make_folder(train=20)), classes=CLASSES)
    assert estimate_size(dataset) == 20 * 24 * 32 * 4
    assert estimate_size(dataset, weights=True) == 20 * 24 * 32 * 8
    for path in dataset.image_paths:
        path.write_bytes(b"")
    assert estimate_size(dataset) == 0  # the check of the data says why


def test_a_run_that_does_not_fit_ends_with_one_message(tmp_path, monkeypatch, make_folder, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(config(make_folder()).to_yaml())
    monkeypatch.setattr(ram_folder, "_free_space", lambda place: [(1000, "are free in /dev/shm")])
    assert run_command(train_script.main, ["--config", "x.yaml"]) == 3
    first, advice = capsys.readouterr().err.strip().splitlines()
    assert first == "data.cache=ram needs about 1.8e-05 GB, and 1e-06 GB are free in /dev/shm"
    assert advice.startswith("   -> data.cache=disk, or ")
    assert not (tmp_path / "runs").exists()


# the cache


def test_workers_share_it_and_it_goes_after_the_run(memory, make_folder, monkeypatch):
    data = build_data(config(make_folder()))
    assert data.train.folder != data.val.folder and data.train.folder.parent == data.val.folder.parent
    options = {"augment": NoAugment(), "batch_size": 4, "seed": 0, "num_batches": 1}
    first = list(train_batches(data.train, workers=2, **options))
    assert data.train.describe() == f"about 1.2e-05 GB, 4 of 4 images there, in {data.train.folder}"
    monkeypatch.setattr(Folder, "__getitem__", lambda self, index: pytest.fail("decoded again"))
    (again,) = train_batches(data.train, workers=0, **options)
    assert torch.equal(first[0]["image"], again["image"]) and torch.equal(first[0]["target"], again["target"])
    del data
    gc.collect()
    assert folders(memory) == []


def test_a_whole_run_leaves_nothing(tmp_path, memory, make_folder, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)
    weights = {"name": "boundary"}
    (tmp_path / "x.yaml").write_text(config(make_folder(), weight_map=weights).to_yaml())
    assert run_command(train_script.main, ["--config", "x.yaml", "train.workers=1"]) == 0
    gc.collect()
    assert folders(memory) == []


def test_a_data_set_without_files_is_kept_by_place(monkeypatch):
    shapes = Shapes("train", size=32, train_size=3)
    kept, expected = Cached(shapes, in_memory(), settings={}), [shapes[n] for n in range(3)]
    first = [kept[n] for n in range(3)]
    monkeypatch.setattr(Shapes, "__getitem__", lambda self, index: pytest.fail("made again"))
    for samples in (first, [kept[n] for n in range(3)]):
        for sample, one in zip(samples, expected, strict=True):
            assert torch.equal(sample.image, one.image) and torch.equal(sample.target, one.target)
            assert (sample.name, sample.index) == (one.name, one.index)


def test_overfitting_keeps_only_its_images(make_folder):
    data = build_data(config(make_folder()), overfit=2)
    assert data.train is data.val and len(data.train) == 2
    assert data.train[1].name == "001"


# weight maps


@pytest.fixture
def sample(make_folder):
    return Folder("train", root=str(make_folder()), classes=CLASSES)[0]


def test_a_map_is_computed_once_and_is_the_map(tmp_path, sample, monkeypatch):
    maker = Boundary(255)
    kept, expected = CachedWeights(maker, on_disk(tmp_path / "cache")), maker(sample)
    assert torch.equal(kept(sample), expected)
    monkeypatch.setattr(Boundary, "__call__", lambda self, sample: pytest.fail("computed again"))
    found = pickle.loads(pickle.dumps(kept))(sample)
    assert torch.equal(found, expected) and found.dtype == torch.float32
    assert kept.sigma == maker.sigma
    found.add_(1)  # a map is the caller's own
    assert torch.equal(kept(sample), expected)


def test_other_labels_and_other_recipes_have_other_maps(tmp_path, sample):
    place = on_disk(tmp_path / "cache")
    sample.target[:] = 0
    sample.target[:12] = 1
    before = CachedWeights(Boundary(255), place)(sample)
    sample.target[0, 0] = 2
    for maker in (Boundary(255), Boundary(255, sigma=2.0), Boundary(0), Boundary(255, base=2)):
        assert torch.equal(CachedWeights(maker, place)(sample), maker(sample))
    assert not torch.equal(CachedWeights(Boundary(255), place)(sample), before)


def test_every_setting_is_in_the_recipe():
    base = {"num_classes": 3, "ignore_index": 255, "class_names": CLASSES, "class_weights": [1.0, 2.0, 3.0]}
    changes = [
        {}, {"ignore_index": 9}, {"class_weights": [1.0, 2.0, 4.0]}, {"class_weights": None}, {"w0": 5.0},
        {"sigma": 2.0}, {"objects": ["b"]}, {"connectivity": 8}, {"inside_objects": True},
    ]  # fmt: skip
    recipes = [UNetBorder(**{**base, **change}).recipe for change in changes]
    assert len(set(recipes)) == len(changes)


def test_only_maps_that_take_long_are_kept(tmp_path):
    place = on_disk(tmp_path / "cache")
    maker = Constant()
    assert keep_weights(maker, place) is maker and keep_weights(None, place) is None
    assert isinstance(keep_weights(Boundary(255), place), CachedWeights)


@pytest.mark.parametrize("damage", [b"", b"\0" * 99])
def test_a_damaged_map_is_computed_anew(tmp_path, sample, damage):
    kept = CachedWeights(Boundary(255), on_disk(tmp_path / "cache"))
    expected = kept(sample)
    (path,) = kept.folder.iterdir()
    path.write_bytes(damage)
    assert torch.equal(kept(sample), expected)


def test_weights_that_were_overwritten_are_never_used(tmp_path, sample):
    kept = CachedWeights(Boundary(255), on_disk(tmp_path / "cache"))
    expected = kept(sample)
    (path,) = kept.folder.iterdir()
    whole = path.read_bytes()
    middle = len(whole) - expected.numel() * 2
    path.write_bytes(whole[:middle] + bytes(8) + whole[middle + 8 :])
    assert torch.equal(kept(sample), expected)
    assert path.read_bytes() == whole and kept.take_damaged() == [path]


def test_a_full_disk_and_an_unreadable_map(tmp_path, sample, monkeypatch):
    kept = CachedWeights(Boundary(255), on_disk(tmp_path / "cache"))

    def fail(*arguments, **options):
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(cached_weights, "write_entry", fail)
        with pytest.raises(CannotCache, match=r"^data.cache: cannot write .*: the disk is full\n"):
            kept(sample)
    kept(sample)
    (path,) = kept.folder.iterdir()
    path.unlink()
    path.mkdir()
    with pytest.raises(
        CannotCache, match=r"^cannot read .*: Is a directory\n   -> remove it, or data.cache=off$"
    ):
        kept(sample)


@pytest.mark.parametrize("cache", ["disk", "ram"])
def test_the_configuration_keeps_weight_maps(make_folder, tmp_path, monkeypatch, cache):
    monkeypatch.setenv("SEGKIT_CACHE", str(tmp_path / "here"))
    data = build_data(config(make_folder(), cache=cache, weight_map={"name": "boundary"}))
    assert isinstance(data.weight_map, CachedWeights)
    where = tmp_path / "here" if cache == "disk" else data.train.folder.parent
    assert data.weight_map.folder.parent == where / "weight_maps"
