"""What several test files share."""

import dataclasses
import faulthandler
import fcntl
import functools
import gc
import importlib
import importlib.util
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# What the tests start finds the package compiled, also where somebody asked Python not to keep what it compiles.
os.environ["PYTHONDONTWRITEBYTECODE"] = ""
# Before torch is imported, which reads them once; what the tests start inherits them. The tests fill the cores with
# processes, and sums are made in one order on every machine.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pytest
from PIL import Image

from segkit.system.environment import usable_cpus
from tests.empty_plots import replace_plots
from tests.paths import REAL_DATA
from tests.processes import use_default_signals

use_default_signals()

HANGS = 1800.0  # seconds
MOST_PROCESSES = 4  # each imports torch and collects all tests, which takes it ten seconds and half a GB


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config) -> int:
    """How many processes share out the tests: one for each core and one for the time in which others wait for the disk
    or for what they started; but a file or a test that was named runs in this."""
    named = any(Path(argument.split("::")[0]).is_file() for argument in config.args)
    return 0 if named else min(usable_cpus() + 1, MOST_PROCESSES)


def pytest_configure(config: pytest.Config) -> None:
    """Import torch, where tests run: the process that only shares them out goes on without it."""
    if config.getoption("numprocesses", None):
        return
    config.pluginmanager.register(EndOfWhatHangs())
    import torch

    Image.init()  # once, rather than in every process that a run forks to draw
    # Sums in one order on every machine, and no fight for the cores with other processes.
    torch.set_num_threads(1)
    if importlib.util.find_spec("triton") is not None and not torch.cuda.is_available():
        # Whether its kernels are interpreted, Triton decides when it is first imported, which torch's compiler does.
        # The variable is not left behind: see tests/losses/triton_cases.py.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            importlib.import_module("triton.language")


class EndOfWhatHangs:
    """Ends this process, with a traceback of every thread, HANGS seconds after it has begun a test and no other since,
    or a minute less; far beyond HANG_LIMIT of tests/processes.py, which comes first.

    pytest's own starts a thread for every test, and waits for it to end: where others want the cores, for as long as
    many a test takes.
    """

    def __init__(self) -> None:
        self.stderr = os.dup(2)  # while a test runs pytest has another there
        self.since = -math.inf

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> None:
        if time.monotonic() - self.since > 60:
            self.since = time.monotonic()
            faulthandler.dump_traceback_later(HANGS, exit=True, file=self.stderr)

    def pytest_unconfigure(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        os.close(self.stderr)


def pytest_collection_finish() -> None:
    """What collecting has left, nearly a million objects, stays to the end and is not searched for garbage; and the
    tests leave little in cycles, for which it is enough to look now and then."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _caches_of_their_own(tmp_path_factory):
    """Nothing is read from or left in the caches of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGKIT_CACHE", str(tmp_path_factory.mktemp("caches")))
        # Read by the library `datasets` when it is imported.
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("tables")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def one_at_a_time(tmp_path_factory):
    """`with one_at_a_time(name) as place:`, of all processes that share out the tests; the place is a folder of all."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent

    @contextmanager
    def take_turns(name: str) -> Iterator[Path]:
        with open(place / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield place

    return take_turns


@pytest.fixture(scope="session")
def built_once(one_at_a_time):
    """`built_once(name, build)`: a folder that `build(folder)` has filled, for all processes that share out the tests.
    It is only read: a test that changes something works on a copy."""

    def find(name: str, build: Callable[[Path], None]) -> Path:
        with one_at_a_time(f"built-{name}") as place:
            folder, done = place / f"built-{name}", place / f"built-{name}.done"
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one that failed
                folder.mkdir()
                build(folder)
                done.touch()
        return folder

    return find


@pytest.fixture(scope="session", autouse=True)
def _shapes_drawn_once():
    """Every process draws an image of `shapes` once, however many runs see it: it was a fifth of the time of runs of
    seconds. What draws them is tested with `shapes_drawn_anew`."""
    from segkit.data.datasets.shapes import Shapes

    draw, drawn = Shapes.__getitem__, {}

    @functools.wraps(draw)
    def draw_once(self: Shapes, index: int):
        key = (type(self), *vars(self).items(), index)
        if key not in drawn:
            drawn[key] = draw(self, index)
        sample = drawn[key]
        return dataclasses.replace(sample, image=sample.image.clone(), target=sample.target.clone())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shapes, "__getitem__", draw_once)
        yield


@pytest.fixture
def shapes_drawn_anew(monkeypatch):
    """Images of `shapes` are drawn each time that somebody asks, as outside the tests."""
    from segkit.data.datasets.shapes import Shapes

    monkeypatch.setattr(Shapes, "__getitem__", Shapes.__getitem__.__wrapped__)


@pytest.fixture
def quick_plots(monkeypatch):
    """No plots are drawn: tests/empty_plots.py."""
    replace_plots(monkeypatch.setattr)


@pytest.fixture
def real_data():
    """A function giving the folder of a real data set, or skipping where it is absent."""

    def folder(name: str) -> Path:
        path = REAL_DATA / name
        if not path.is_dir():
            pytest.skip(f"the real data set {name} is not beside the project ({path})")
        return path

    return folder


def write_image(path: Path, pixels, mode: str | None = None, **options) -> Path:
    """Save an array (H, W) or (H, W, 3) as the image file `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.fixture
def save():
    return write_image


@pytest.fixture
def make_folder(tmp_path):
    """Write a folder data set with 3 classes: `make_folder(train=4, val=2, size=(24, 32), ids=(0, 1, 2))`."""

    def make(*, train=4, val=2, size=(24, 32), ids=(0, 1, 2), masks="masks") -> Path:
        random = np.random.default_rng(0)
        for split, count in (("train", train), ("val", val)):
            for n in range(count):
                image = random.integers(0, 256, size=(*size, 3), dtype=np.uint8)
                labels = random.choice(np.array(ids, dtype=np.uint8), size=size)
                labels[: len(ids), 0] = ids  # each id is there
                write_image(tmp_path / "images" / split / f"{n:03d}.png", image)
                write_image(tmp_path / masks / split / f"{n:03d}.png", labels)
        return tmp_path

    return make
