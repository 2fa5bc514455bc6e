"""Batches are a pure function of the seed, whoever makes them."""

import itertools
import random
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segkit.data.augments.compose import ComposeAugment
from segkit.data.augments.none import NoAugment
from segkit.data.augments.standard import Standard
from segkit.data.datasets.folder import Folder
from segkit.data.datasets.shapes import Shapes
from segkit.data.loading.loader import WorkerDied, explain_worker_death, train_batches, val_batches
from segkit.data.loading.sampler import EpochBatches, derive_seed
from segkit.data.loading.view import read_sample, seeded
from segkit.data.sample import Sample
from segkit.data.weight_maps.boundary import Boundary
from segkit.errors import DataError
from tests.paths import ROOT
from tests.processes import run_python


def batches(dataset=None, **options):
    defaults = {
        "weight_map": Boundary(255),
        "augment": Standard(255),
        "batch_size": 3,
        "seed": 1,
        "num_batches": 5,
    }
    return train_batches(dataset or Shapes("train", size=32, train_size=7), **{**defaults, **options})


def assert_equal(first, second):
    first, second = list(first), list(second)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for key, value in a.items():
            assert value == b[key] if key == "name" else torch.equal(value, b[key]), key


class Mixed:
    """Images of two sizes."""

    num_classes, class_names, ignore_index, channels = 2, ("a", "b"), 255, 3

    def __len__(self):
        return 5

    def __getitem__(self, index):
        size = (4, 6) if index % 2 else (5, 5)
        image = tv_tensors.Image(torch.full((3, *size), index, dtype=torch.uint8))
        return Sample(image, tv_tensors.Mask(torch.zeros(size, dtype=torch.uint8)), f"n{index}", index)


# the order


def test_stream_is_one_permutation_after_the_other():
    stream = [place for batch in EpochBatches(7, batch_size=3, seed=0, num_batches=7) for place in batch]
    assert len(stream) == 21
    orders = []
    for epoch in range(3):
        part = stream[epoch * 7 : epoch * 7 + 7]
        assert {e for e, _ in part} == {epoch}
        assert sorted(index for _, index in part) == list(range(7))
        orders.append(tuple(index for _, index in part))
    assert len(set(orders)) == 3


@pytest.mark.parametrize(("length", "batch_size"), [(7, 3), (6, 3), (2, 5), (1, 4)])
def test_starting_late_gives_the_tail(length, batch_size):
    whole = list(EpochBatches(length, batch_size=batch_size, seed=4, num_batches=9))
    assert all(len(batch) == batch_size for batch in whole)
    for k in range(10):
        tail = EpochBatches(length, batch_size=batch_size, seed=4, start_batch=k, num_batches=9 - k)
        assert list(tail) == whole[k:]
        assert len(tail) == 9 - k


def test_order_depends_on_the_seed():
    first, second = (list(EpochBatches(50, batch_size=50, seed=s, num_batches=1)) for s in (0, 1))
    assert first != second


def test_empty_set():
    with pytest.raises(ValueError, match="there are no images"):
        EpochBatches(0, batch_size=1, seed=0, num_batches=1)


def test_derived_seeds_are_fixed_and_distinct():
    assert derive_seed(0, "order", 0) == 1829853113658518448
    seeds = {derive_seed(*parts) for parts in itertools.product(range(5), range(5), range(5))}
    assert len(seeds) == 125
    assert all(0 <= seed < 2**63 for seed in seeds)


# the batches


def test_batch_dict():
    batch = next(iter(batches()))
    assert list(batch) == ["image", "target", "weight", "name", "index"]
    assert batch["image"].shape == (3, 3, 32, 32) and batch["image"].dtype == torch.uint8
    assert batch["target"].shape == (3, 32, 32) and batch["target"].dtype == torch.uint8
    assert batch["weight"].shape == (3, 32, 32) and batch["weight"].dtype == torch.float32
    assert batch["index"].dtype == torch.int64
    assert batch["name"] == [f"train_{n:05d}" for n in batch["index"].tolist()]
    assert all(type(v) is torch.Tensor for k, v in batch.items() if k != "name")
    assert "weight" not in next(iter(batches(weight_map=None)))


def test_workers_never_change_a_batch():
    assert_equal(batches(), batches(workers=2))


@pytest.mark.parametrize("workers", [0, 2])
def test_start_batch_gives_the_tail(workers):
    tail = batches(start_batch=3, num_batches=2, workers=workers)
    assert len(tail) == 2
    assert_equal(tail, list(batches())[3:])


def test_augmentation_changes_with_epoch_and_seed_only():
    one = Shapes("train", size=32, train_size=1)
    first, again = list(batches(one, batch_size=1, num_batches=2))
    assert not torch.equal(first["image"], again["image"])
    assert_equal([first], batches(one, batch_size=1, num_batches=1))
    other = next(iter(batches(one, batch_size=1, num_batches=1, seed=2)))
    assert not torch.equal(first["image"], other["image"])


@pytest.mark.parametrize("workers", [0, 1])
def test_global_random_numbers_are_untouched(workers):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    list(batches(workers=workers, num_batches=2))
    list(val_batches(Shapes("val", size=32, val_size=2), batch_size=2, workers=workers))
    assert torch.equal(before, torch.get_rng_state())


def test_other_random_numbers_drawn_in_between_change_nothing():
    found = []
    for batch in batches():
        torch.rand(17)
        found.append(batch)
    assert_equal(found, batches())


def add_noise(sample):
    """An augmentation of one's own: it draws from NumPy and Python, as most libraries do."""
    brighter = sample.image.int() + np.random.randint(100) + random.randrange(100)
    return replace(sample, image=brighter.clamp(0, 255).to(torch.uint8))


def test_what_is_drawn_from_numpy_and_python_depends_on_the_place_alone():
    plain = {"augment": add_noise, "weight_map": None}
    whole = list(batches(**plain))
    for workers in (0, 1, 2):
        np.random.seed(workers)
        before = random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist()
        assert_equal(batches(**plain, workers=workers), whole)
        assert_equal(batches(**plain, workers=workers, start_batch=3, num_batches=2), whole[3:])
        assert (random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist()) == before
    one = {**plain, "batch_size": 1, "num_batches": 1}
    assert not torch.equal(next(iter(batches(**one)))["image"], next(iter(batches(**one, seed=2)))["image"])


def test_what_is_derived_from_one_of_segkit_s_may_draw_from_them_too():
    class Noisy(Standard):
        def __call__(self, sample):
            return add_noise(super().__call__(sample))

    plain = {"augment": Noisy(255), "weight_map": None}
    assert_equal(batches(**plain), list(batches(**plain)))


@pytest.mark.parametrize("transform", ["own", "in one of torchvision's"])
def test_a_composed_transform_of_one_s_own_may_draw_from_them_too(transform):
    class Own(v2.Transform):
        pass

    for steps, known in (([v2.RandomHorizontalFlip()], True), ([v2.RandomHorizontalFlip(), Own()], False)):
        steps = steps if transform == "own" else [v2.RandomApply(steps)]
        assert ComposeAugment(transforms=steps).draws_from_torch is known


def test_seeded_restores_the_generator_after_an_error():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with pytest.raises(KeyError), seeded(5):
        torch.rand(3)
        raise KeyError
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_sees_every_image_once_and_can_be_repeated(workers):
    found = val_batches(Mixed(), batch_size=4, workers=workers)
    next(iter(found))  # left early, as a short evaluation does
    for _ in range(2):
        seen = [(batch["name"], tuple(batch["image"].shape)) for batch in found]
        assert seen == [
            (["n0", "n2"], (2, 3, 5, 5)),
            (["n1", "n3"], (2, 3, 4, 6)),
            (["n4"], (1, 3, 5, 5)),
        ]


def test_validation_adds_weights_only_on_request():
    dataset = Shapes("val", size=32, val_size=1)
    assert "weight" not in next(iter(val_batches(dataset, batch_size=1)))
    assert "weight" in next(iter(val_batches(dataset, batch_size=1, weight_map=Boundary(255))))


# the errors


def texts(make, workers):
    with pytest.raises(DataError) as raised:
        list(make(workers))
    assert type(raised.value) is DataError
    return str(raised.value)


@pytest.mark.parametrize("kind", ["train", "val"])
def test_data_errors_are_the_same_with_and_without_workers(make_folder, kind):
    root = make_folder()
    for n in (1, 2):
        (root / f"images/train/00{n}.png").write_bytes(b"damaged")
    dataset = Folder("train", root=str(root), classes=["a", "b", "c"])

    def make(workers):
        if kind == "val":
            return val_batches(dataset, batch_size=2, workers=workers)
        return batches(dataset, workers=workers, batch_size=2)

    text = texts(make, 0)
    assert text.startswith(f"cannot read {root}/images/train/00")
    assert text.endswith("\n   -> mend or remove the file, or go on without such: data.on_bad_sample=skip")
    assert texts(make, 2) == text


def test_batches_before_the_error_arrive(make_folder):
    root = make_folder()
    (root / "images/train/002.png").write_bytes(b"damaged")
    dataset = Folder("train", root=str(root), classes=["a", "b", "c"])
    arrived = iter(val_batches(dataset, batch_size=1, workers=2))
    assert [next(arrived)["name"], next(arrived)["name"]] == [["000"], ["001"]]
    with pytest.raises(DataError):
        next(arrived)


def test_labels_of_any_data_set_are_checked():
    class Wrong(Mixed):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            sample.target[0, 0] = 7
            return sample

    text = texts(lambda workers: val_batches(Wrong(), batch_size=1, workers=workers), 0)
    assert text.startswith("label out of range: n0 has ids 0, 7 but data.classes has 2 classes (0-1)")


def test_weights_that_a_data_set_itself_gives_are_checked():
    class Weighing(Shapes):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return replace(
                sample, weight=torch.full(sample.target.shape, [1.0, -2.0][index], dtype=torch.float64)
            )

    data = Weighing("train", size=32, train_size=2)
    assert read_sample(data, 0, None).weight.dtype == torch.float32
    with pytest.raises(DataError, match="negative values: the weight map of train_00001 goes down to -2"):
        read_sample(data, 1, None)


def test_a_bug_in_a_data_set_keeps_its_traceback():
    class Broken(Mixed):
        def __getitem__(self, index):
            raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match=r"^a bug$"):
        list(val_batches(Broken(), batch_size=1))


def test_images_of_different_sizes_in_a_training_batch():
    mixed = batches(Mixed(), augment=NoAugment(), weight_map=None, batch_size=5)
    text = texts(lambda workers: mixed, 0)
    assert text.startswith("images of one batch differ in size: n")
    assert text.endswith(
        "\n   -> augment.crop_size: [4, 5] (of standard; with compose, scale_crop or RandomCrop) cuts them alike, "
        "data.resize brings them to one size"
    )
    cropped = batches(Mixed(), augment=Standard(255, crop_size=4), weight_map=None, batch_size=5)
    assert next(iter(cropped))["image"].shape == (5, 3, 4, 4)


def test_broken_connection_to_a_worker_is_explained(monkeypatch):
    def broken(error):
        found = val_batches(Mixed(), batch_size=1, workers=1)
        monkeypatch.setattr(type(found.loader), "__iter__", lambda loader: raising(error))
        return list(found)

    def raising(error):
        raise error
        yield

    with pytest.raises(WorkerDied, match=r"ended by the system \(Connection reset by peer\)"):
        broken(ConnectionResetError("Connection reset by peer"))
    text = "Caught ConnectionResetError in DataLoader worker process 0."
    with pytest.raises(ConnectionResetError, match=text):
        broken(ConnectionResetError(text))


def test_what_is_no_worker_trouble_is_not_explained():
    assert explain_worker_death(RuntimeError("CUDA out of memory")) is None
    assert explain_worker_death(RuntimeError("out of resource: shared memory")) is None
    assert "ulimit -n" in explain_worker_death(OSError(24, "Too many open files"))
    assert "/dev/shm" in explain_worker_death(
        RuntimeError("unable to write to file </torch_12_3>: No space left on device (28)")
    )


# In a process of its own: torch raises the death of a worker in its main thread, whatever that is doing.
SIGNALLED = """
import os, signal, time
from torch.utils.data import get_worker_info
from segkit.data.datasets.shapes import Shapes
from segkit.data.loading.loader import WorkerDied, explain_worker_death, train_batches, val_batches
from segkit.data.augments.none import NoAugment

class Dying(Shapes):
    def __getitem__(self, index):
        if index == 3 and get_worker_info():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)

def read_status(pid):
    if not os.path.exists(f"/proc/{pid}"):
        return {}
    return dict(line.split(":\\t") for line in open(f"/proc/{pid}/status"))

def is_pending(number, pid):
    return bool(int(read_status(pid).get("ShdPnd", "0"), 16) >> number - 1 & 1)

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for sender in ("others", "parent"):
    options = {"batch_size": 1, "seed": 0, "num_batches": 60, "workers": 2}
    stream = train_batches(Shapes("train", size=32), augment=NoAugment(), **options)
    seen = 0
    try:
        for batch in stream:
            seen += 1
            if seen == 3:
                pids = [worker.pid for worker in stream.loader._iterator._workers]
                for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
                    for pid in pids:
                        os.kill(pid, number) if sender == "parent" else os.system(f"kill -{int(number)} {pid}")
                if sender == "parent":
                    for worker in stream.loader._iterator._workers:
                        worker.join()
                while any(is_pending(signal.SIGTERM, pid) for pid in pids):  # then each has decided about it
                    time.sleep(0.01)
                alive = sum(read_status(pid).get("State", "Z")[0] != "Z" for pid in pids)
        print(sender, "alive", alive, "seen", seen, flush=True)
    except Exception as error:
        print(sender, "alive", alive, type(error).__name__, flush=True)
    del stream

message = None
while True:
    try:
        try:
            message = message or list(val_batches(Dying("val", size=32), batch_size=1, workers=1))
        except WorkerDied as error:
            message = str(error)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        break
    except RuntimeError as error:  # torch tells the death a second time, wherever this process is when it learns of it
        explained = explain_worker_death(error)
        if explained is None:
            raise
        message = message or explained
print(message)
"""


@pytest.fixture(scope="module")
def told():
    """What the process says of its workers: a line after signals from others, one after its own, and a message."""
    done = run_python("-c", SIGNALLED, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="workers cannot tell who sent a signal here")
def test_workers_survive_signals_sent_to_the_whole_job_and_obey_their_parent(told):
    assert told[0] == "others alive 2 seen 60"
    assert told[1].startswith("parent alive 0 ")


def test_dead_worker_is_explained(told):
    text = "\n".join(told[2:])
    assert text.startswith("a process that loads data was ended by the system (")
    assert "/dev/shm" in text
    assert "train.workers" in text
