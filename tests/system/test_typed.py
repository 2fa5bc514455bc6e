"""How a command is called in messages, and how it is started, from a checkout and from an installed package."""

import subprocess
import sys

import pytest

from segkit.system import typed as module
from segkit.system.typed import CHECKOUT, program, started, typed
from tests.paths import ROOT


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """The package as if it lay where packages are installed, beside no train.py."""
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)


def test_a_checkout_has_files(monkeypatch):
    assert CHECKOUT == ROOT
    for argv in ("train.py", "scripts/ablate.py", "/usr/lib/pytest/__main__.py", ""):
        monkeypatch.setattr(sys, "argv", [argv])
        assert typed("train") == "python train.py"
        assert typed("check_data") == "python scripts/check_data.py"
    assert (program("train"), program("check_data")) == ("train.py", "check_data.py")
    for command in ("train", "check_data"):
        python, script = started(command)
        assert (
            python == sys.executable and subprocess.run(["test", "-f", script], check=False).returncode == 0
        )


@pytest.mark.parametrize("argv", ["/usr/bin/segkit", "segkit.exe", str(ROOT / "segkit" / "__main__.py")])
def test_whoever_typed_segkit_reads_segkit(monkeypatch, argv):
    monkeypatch.setattr(sys, "argv", [argv, "train"])
    assert typed("train") == "segkit train"
    assert typed("check_data") == program("check_data") == "segkit check-data"


def test_an_installed_package_has_one_command(installed):
    assert typed("make_weights") == program("make_weights") == "segkit make-weights"
    assert started("train") == [sys.executable, "-P", "-m", "segkit", "train"]


def test_a_train_py_beside_an_installed_package_is_not_segkits(installed, tmp_path):
    (tmp_path / "train.py").touch()
    assert typed("train") == "segkit train"
