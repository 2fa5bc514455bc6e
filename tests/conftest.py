"""What several test files share."""

import importlib
import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.paths import REAL_DATA

if importlib.util.find_spec("triton") is not None and not torch.cuda.is_available():
    # Whether its kernels are interpreted, Triton decides when it is first imported, and torch's compiler imports it.
    # The variable is not left behind: see tests/losses/triton_cases.py.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        importlib.import_module("triton.language")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Sums in one order on every machine, and no fight for the cores with other processes."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _caches_of_their_own(tmp_path_factory):
    """Nothing is read from or left in the caches of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGKIT_CACHE", str(tmp_path_factory.mktemp("caches")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _caches_of_the_tests(tmp_path_factory):
    """What segkit keeps between runs is not kept among the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGKIT_CACHE", str(tmp_path_factory.mktemp("caches")))
        yield


@pytest.fixture
def quick_plots(monkeypatch):
    """Empty pictures in place of matplotlib's plots, which take most of the time of a run of seconds. What they show is
    tested where they are drawn, and that a run draws them in tests/runs/test_run.py."""

    def save_empty(path: Path) -> None:
        Image.new("L", (1, 1)).save(path)

    def plot_first(path, *arguments, **options):
        save_empty(path)

    monkeypatch.setattr("segkit.runs.recording.recorder.plot_confusion", plot_first)
    monkeypatch.setattr("segkit.runs.recording.class_frequencies.plot_shares", plot_first)
    monkeypatch.setattr("segkit.commands.check_data.plot_shares", plot_first)
    monkeypatch.setattr(
        "segkit.runs.recording.recorder.plot_results",
        lambda table, class_names, colors, path: save_empty(path),
    )


@pytest.fixture
def real_data():
    """A function giving the folder of a real data set, or skipping where it is absent."""

    def folder(name: str) -> Path:
        path = REAL_DATA / name
        if not path.is_dir():
            pytest.skip(f"the real data set {name} is not beside the project ({path})")
        return path

    return folder
