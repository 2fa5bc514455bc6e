"""segkit as it is installed: a wheel, alone in a fresh folder, used from another one."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import segkit
from segkit.__main__ import COMMANDS
from tests.paths import ROOT

#: What a wheel is made of; whatever else lies in a checkout (runs, data, what a build left) stays where it is.
SOURCES = ("pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE", "segkit", "configs")
TINY = [
    "train.iterations=2",
    "log.tensorboard=false",
    "eval.every=2",
    "log.images_every=2",
    "train.checkpoint_every=2",
]
ABLATION = """\
name: two
base: debug.yaml
seeds: [0]
baseline: ce
variants:
  ce: {loss: {name: ce}}
  ohem: {loss: {name: ohem_ce}}
"""


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def build_wheel(folder: Path) -> None:
    """Make a wheel of these sources in `folder`. They are copied first: what an earlier build left would get in."""
    (folder / "sources").mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / "sources" / name)
    pip(
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(folder / "sources"),
    )


@pytest.fixture(scope="module")
def wheel(built_once) -> Path:
    (found,) = built_once("wheel", build_wheel).glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(built_once, wheel) -> Path:
    """The folder that the wheel was installed into, without what it depends on."""
    return built_once(
        "site",
        lambda site: pip("install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)),
    )


@pytest.fixture
def elsewhere(installed, tmp_path, monkeypatch):
    """`elsewhere(*arguments)`: what `segkit ...` does in an empty folder, in a process of its own."""
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(installed / "bin" / "segkit"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    info = f"segkit-{segkit.__version__}.dist-info/"
    assert {name for name in names if not name.startswith(("segkit/", info))} == set()
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "segkit").rglob("*.py")}
    configurations = {
        f"segkit/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")
    }
    assert {name for name in names if name.startswith("segkit/")} == {
        *modules,
        *configurations,
        "segkit/py.typed",
    }
    assert len(configurations) > 15
    metadata = zipfile.ZipFile(wheel).read(f"{info}METADATA").decode()
    lines = [
        line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra" not in line
    ]
    needed = [line.split()[1] for line in lines]
    assert any(name.startswith("torch>") for name in needed) and not any("pytest" in name for name in needed)


def test_commands_of_the_installed_package(elsewhere, installed):
    assert elsewhere("--version").stdout == f"segkit {segkit.__version__}\n"
    shown = elsewhere("--help").stdout
    assert all(f"  {command} " in shown for command in COMMANDS)
    wrong = elsewhere("trian")
    assert wrong.returncode == 2 and "did you mean 'train'?" in wrong.stderr
    bare = elsewhere("train")
    assert bare.returncode == 2
    assert (
        "segkit train: error: --config is needed, for example: segkit train --config ohem.yaml" in bare.stderr
    )


@pytest.mark.heavy
def test_training_with_a_configuration_of_the_package(elsewhere, tmp_path):
    done = elsewhere("train", "--config", "debug.yaml", *TINY)
    assert done.returncode == 0, done.stderr
    (card,) = tmp_path.glob("runs/debug/*/README.md")
    assert "segkit predict --weights" in card.read_text() and "python train.py" not in card.read_text()
    assert str(ROOT) not in done.stdout + done.stderr + card.read_text()


@pytest.mark.heavy
def test_an_ablation_of_two_runs(elsewhere, tmp_path):
    Path("two.yaml").write_text(ABLATION)
    done = elsewhere("ablate", "--config", "two.yaml", *TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("runs/two/*/*/best.pt"))) == 2
    report = Path("runs/two/report.md").read_text()
    assert "segkit ablate --config two.yaml" in report and "scripts/" not in report
