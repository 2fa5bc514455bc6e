"""env.json is plain and complete; a torch and torchvision that do not fit are explained in one message."""

import importlib.metadata
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from segkit.errors import ConfigError
from segkit.system import environment as env


def distributions(**versions):
    """Stands in for importlib.metadata.distribution; a version of None means not installed."""

    def distribution(name):
        if versions.get(name) is None:
            raise importlib.metadata.PackageNotFoundError(name)
        requires = ["numpy", "torch==2.11.0", "pillow!=8.3.*,>=5.3.0"] if name == "torchvision" else []
        return SimpleNamespace(version=versions[name], requires=requires)

    return distribution


def failing(module, error):
    """Stands in for importlib.import_module: importing `module` raises `error`."""

    def import_module(name):
        if name == module:
            raise error

    return import_module


def message(import_module, **versions):
    with pytest.raises(ConfigError) as caught:
        env.require_torch_pair(import_module=import_module, distribution=distributions(**versions))
    assert caught.value.exit_code == 2
    assert len(caught.value.problems) == 1
    return str(caught.value)


def test_the_installed_pair_fits():
    env.require_torch_pair()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::nms does not exist"),
        ImportError("/x/torchvision/_C.so: undefined symbol: _ZN3c10"),
        OSError("/x/torchvision/_C.so: undefined symbol: _ZN3c10"),
        AttributeError("partially initialized module 'torchvision' has no attribute 'extension'"),
    ],
)
def test_a_pair_that_does_not_fit(error):
    assert message(failing("torchvision", error), torch="2.15.0+cpu", torchvision="0.26.0") == (
        f"torch 2.15.0+cpu and torchvision 0.26.0 do not fit together: {error}\n"
        "   torchvision 0.26.0 needs torch==2.11.0; both must come from the same index\n"
        "   -> python -m pip install --upgrade --force-reinstall torch torchvision "
        "--index-url https://download.pytorch.org/whl/cpu"
    )


def test_only_the_first_line_of_a_long_error_is_shown():
    error = RuntimeError("Detected different CUDA major versions.\nMuch more\ntext")
    text = message(failing("torchvision", error), torch="2.15.0", torchvision="0.26.0")
    assert text.splitlines()[0].endswith("do not fit together: Detected different CUDA major versions.")
    assert text.splitlines()[-1] == (
        "   -> python -m pip install --upgrade --force-reinstall torch torchvision"
    )


def test_torch_missing():
    error = ModuleNotFoundError("No module named 'torch'", name="torch")
    assert message(failing("torch", error), torchvision="0.26.0") == (
        "torch not installed (torchvision 0.26.0 is)\n"
        "   -> python -m pip install --upgrade --force-reinstall torch torchvision"
    )
    assert message(failing("torch", error)).startswith("torch and torchvision not installed\n   -> python")


def test_torchvision_missing():
    error = ModuleNotFoundError("No module named 'torchvision'", name="torchvision")
    assert message(failing("torchvision", error), torch="2.11.0+cu128") == (
        "torchvision not installed (torch 2.11.0+cu128 is)\n"
        "   -> python -m pip install --upgrade --force-reinstall torch torchvision "
        "--index-url https://download.pytorch.org/whl/cu128"
    )


def test_torch_that_cannot_be_loaded():
    error = OSError("libcudart.so.13: cannot open shared object file")
    assert message(failing("torch", error), torch="2.15.0", torchvision="0.29.2").splitlines()[0] == (
        "torch 2.15.0 (torchvision 0.29.2) cannot be loaded: libcudart.so.13: cannot open shared object file"
    )


def test_another_missing_package_is_not_blamed_on_the_pair():
    error = ModuleNotFoundError("No module named 'PIL.Image'", name="PIL.Image")
    assert message(failing("torchvision", error), torch="2.15.0", torchvision="0.29.2") == (
        "torchvision needs the package PIL, which is not installed\n"
        "   -> python -m pip install -r requirements.txt"
    )


def test_ctrl_c_during_the_import_is_not_a_mismatch():
    with pytest.raises(KeyboardInterrupt):
        env.require_torch_pair(import_module=failing("torch", KeyboardInterrupt()))


def test_the_torch_that_torchvision_needs():
    def needed(*requires):
        return env._torch_needed_by(SimpleNamespace(requires=list(requires)))

    assert needed("numpy", "torch (>=2.14.0)") == "torch>=2.14.0"
    assert needed("torchaudio==1.0", "torch==2.11.0 ; python_version > '3'") == "torch==2.11.0"
    assert needed("numpy") is None
    assert env._torch_needed_by(SimpleNamespace(requires=None)) is None


@pytest.mark.parametrize(
    ("torch", "torchvision", "needed", "fits"),
    [
        ("2.11.0", "0.26.0", "torch==2.11.0", True),
        ("2.11.0+cpu", "0.26.0+cpu", "torch==2.11.0", True),
        ("2.14.1", "0.29.1", "torch (>=2.14.0)", True),
        ("2.14.0", "0.29.1", "torch>=2.14.0", True),
        ("2.9.0", "0.29.1", "torch>=2.14.0", False),
        ("2.15.0", "0.26.0", "torch==2.11.0", False),
        ("2.11.0+cpu", "0.26.0", "torch==2.11.0", False),
        ("2.11.0+cpu", "0.26.0+cu128", "torch==2.11.0", False),
        ("2.11.0", "0.26.0", "torch", False),
        ("2.11.0", "0.26.0", "torch!=2.10", False),
        ("2.11.0", "0.26.0", "numpy", False),
        (None, "0.26.0", "torch==2.11.0", False),
        ("2.11.0", None, "torch==2.11.0", False),
    ],
)
def test_torchvision_is_imported_only_if_its_metadata_leaves_it_open(torch, torchvision, needed, fits):
    versions, imported = {"torch": torch, "torchvision": torchvision}, []

    def distribution(name):
        if versions[name] is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return SimpleNamespace(version=versions[name], requires=[needed])

    env.require_torch_pair(import_module=imported.append, distribution=distribution)
    assert imported == (["torch"] if fits else ["torch", "torchvision"])


@pytest.mark.parametrize(("loaded", "enabled"), [(False, True), (True, True), (False, False)])
def test_garbage_is_not_collected_while_torch_loads(loaded, enabled, monkeypatch):
    modules = {name: module for name, module in sys.modules.items() if loaded or name != "torch"}
    calls, collecting = [], []
    state = {"on": enabled}
    fake = SimpleNamespace(
        isenabled=lambda: state["on"],
        disable=lambda: state.update(on=False),
        enable=lambda: state.update(on=True),
        freeze=lambda: calls.append(state["on"]),
    )
    monkeypatch.setattr(env, "gc", fake)
    monkeypatch.setattr(env, "sys", SimpleNamespace(modules=modules))
    env.require_torch_pair(
        import_module=lambda name: collecting.append(state["on"]),
        distribution=distributions(torch="2.11.0", torchvision="0.26.0"),
    )
    assert collecting == [loaded and enabled]
    assert state["on"] == enabled, "as it was"
    assert calls == ([False] if enabled and not loaded else []), "frozen once, before collecting goes on"


def test_environment_is_plain_and_complete():
    facts = env.environment(["train.py", "--config", "my run.yaml"])
    assert json.loads(json.dumps(facts)) == facts
    assert type(facts["torch"]) is str
    assert facts["command"] == "train.py --config 'my run.yaml'"
    expected = (
        """segkit python torch torchvision cuda cudnn gpus cpu cpu_count threads platform host command"""
    )
    assert set(expected.split()) <= set(facts) <= {*expected.split(), "git_commit", "git_dirty"}
    assert facts["threads"] >= 1 and facts["cpu_count"] >= 1 and facts["cpu"] and facts["host"]


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(
        ["git", *identity, "-C", folder, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_git_state(tmp_path, monkeypatch):
    assert env._git_state(tmp_path) == {}
    git(tmp_path, "init", "-q")
    assert env._git_state(tmp_path) == {}  # no commit yet
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-q", "-m", "a", "--no-verify")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert env._git_state(tmp_path) == {"git_commit": commit, "git_dirty": False}
    (tmp_path / "my_config.yaml").write_text("1")
    assert env._git_state(tmp_path) == {"git_commit": commit, "git_dirty": False}
    (tmp_path / "segkit").mkdir()
    (tmp_path / "segkit" / "my_loss.py").write_text("1")
    assert env._git_state(tmp_path) == {"git_commit": commit, "git_dirty": True}
    (tmp_path / "segkit" / "my_loss.py").unlink()
    (tmp_path / "a").write_text("2")
    assert env._git_state(tmp_path) == {"git_commit": commit, "git_dirty": True}
    (tmp_path / "inside").mkdir()
    assert env._git_state(tmp_path / "inside") == {}  # an installed package inside another project
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert env._git_state(tmp_path)["git_commit"] == commit
    monkeypatch.setenv("PATH", "")
    assert env._git_state(tmp_path) == {}  # no git
