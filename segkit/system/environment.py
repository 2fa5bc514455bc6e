"""What a run ran on, for env.json, and whether torch and torchvision fit together."""

import gc
import importlib
import importlib.metadata
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segkit import __version__
from segkit.errors import ConfigError

_PROJECT = Path(__file__).resolve().parents[2]


def environment(command: Sequence[str] | None = None) -> dict[str, Any]:
    """Versions, hardware, code and command line of this process, in plain types.

    `command` is the argument list, by default that of this process. `git_commit` and `git_dirty` are there
    only if the project is a git work tree. Imports torch.
    """
    import torch

    return {
        "segkit": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__ + "",  # TorchVersion is a str subclass
        "torchvision": _version_of("torchvision"),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "gpus": _gpu_names(torch),
        "cpu": _cpu_name(),
        "cpu_count": usable_cpus(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "command": shlex.join(sys.argv if command is None else command),
        **_git_state(_PROJECT),
    }


def usable_cpus() -> int:
    """CPUs that this process may use: a container or a scheduler gives fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_torch_pair(
    *,
    import_module: Callable[[str], Any] = importlib.import_module,
    distribution: Callable[[str], Any] = importlib.metadata.distribution,
) -> None:
    """Import torch, or raise ConfigError saying what does not fit to torchvision and how to repair it.

    torchvision, which takes a second and which most runs do not need, is imported only if its own metadata leaves it
    open whether the two fit. Call it before anything else imports torch. `import_module` and `distribution` are
    replaced in tests.
    """
    with _collecting_later():
        _require("torch", import_module, distribution)
        if not _says_it_fits(distribution):
            _require("torchvision", import_module, distribution)


@contextmanager
def _collecting_later() -> Generator[None, None, None]:
    """No garbage collection while torch loads for the first time, and none of what it made ever after.

    That is some hundred thousand objects, all of which stay. Looking through them for garbage, again and again while
    they are made and once more when the process ends, takes as long as a quarter of the loading.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _require(module: str, import_module: Callable[[str], Any], distribution: Callable[[str], Any]) -> None:
    """Import the module, or raise ConfigError."""
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        if package not in ("torch", "torchvision"):
            raise ConfigError(
                f"{module} needs the package {package}, which is not installed\n"
                "   -> python -m pip install -r requirements.txt"
            ) from error
        raise ConfigError(_explain_pair(module, error, distribution)) from error
    except (ImportError, OSError, RuntimeError, AttributeError, AssertionError) as error:
        raise ConfigError(_explain_pair(module, error, distribution)) from error


def _says_it_fits(distribution: Callable[[str], Any]) -> bool:
    """Whether both are of one index (`+cpu`), and torchvision's metadata asks for a torch such as there is."""
    torch, torchvision = (_metadata_of(name, distribution) for name in ("torch", "torchvision"))
    if torch is None or torchvision is None:
        return False
    version, _, build = torch.version.partition("+")
    needed = re.fullmatch(r"torch(==|>=)([\d.]+)", _torch_needed_by(torchvision) or "")
    if needed is None or build != torchvision.version.partition("+")[2]:
        return False
    if needed[1] == "==":
        return version == needed[2]
    return _as_numbers(version) >= _as_numbers(needed[2])


def _as_numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _explain_pair(module: str, error: Exception, distribution: Callable[[str], Any]) -> str:
    """`torch 2.11.0 and torchvision 0.29.2 do not fit together: ...` with the pip line that repairs it."""
    found = {name: _metadata_of(name, distribution) for name in ("torch", "torchvision")}
    missing = [name for name, metadata in found.items() if metadata is None]
    versions = {name: metadata.version for name, metadata in found.items() if metadata is not None}
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if missing:
        present = "".join(f" ({name} {version} is)" for name, version in versions.items())
        lines = [f"{' and '.join(missing)} not installed{present}"]
    elif module == "torch":
        lines = [
            f"torch {versions['torch']} (torchvision {versions['torchvision']}) cannot be loaded: {reason}"
        ]
    else:
        pair = f"torch {versions['torch']} and torchvision {versions['torchvision']}"
        lines = [f"{pair} do not fit together: {reason}"]
        needed = _torch_needed_by(found["torchvision"])
        built = f"torchvision {versions['torchvision']} needs {needed}; both" if needed else "both"
        lines.append(f"   {built} must come from the same index")
    lines.append(f"   -> {_repair(versions.get('torch', ''))}")
    return "\n".join(lines)


def _repair(torch_version: str) -> str:
    """The pip line that installs a fitting pair, from torch's own index (its suffix, such as `+cpu`)."""
    line = "python -m pip install --upgrade --force-reinstall torch torchvision"
    _, _, build = torch_version.partition("+")
    return f"{line} --index-url https://download.pytorch.org/whl/{build}" if build else line


def _torch_needed_by(torchvision: Any) -> str | None:
    """The torch that torchvision's own metadata asks for, such as `torch==2.11.0`."""
    for requirement in torchvision.requires or ():
        condition = requirement.partition(";")[0].strip()
        if condition.startswith("torch") and not condition[5:6].isalnum():
            return condition.replace("(", "").replace(")", "").replace(" ", "")
    return None


def _metadata_of(name: str, distribution: Callable[[str], Any]) -> Any:
    try:
        return distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _version_of(name: str) -> str | None:
    metadata = _metadata_of(name, importlib.metadata.distribution)
    return None if metadata is None else metadata.version


def _gpu_names(torch: Any) -> list[str]:
    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []  # not Linux
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git_state(folder: Path) -> dict[str, Any]:
    """Commit and whether the code differs from it: a tracked file changed, or a new one in the package (a new one
    elsewhere, such as a user's configuration, is not the code). Empty without git or a commit, or if `folder` is
    not the top of a work tree (an installed package may lie somewhere inside another project)."""
    top = _run_git(folder, "rev-parse", "--show-toplevel")
    commit = _run_git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    changed = _run_git(folder, "status", "--porcelain", "--untracked-files=no")
    new = _run_git(folder, "status", "--porcelain", "--", "segkit")
    if top is None or None in (commit, changed, new) or Path(top).resolve() != folder.resolve():
        return {}
    return {"git_commit": commit, "git_dirty": bool(changed or new)}


def _run_git(folder: Path, *arguments: str) -> str | None:
    """Git's output for `folder`, None if it failed or is not there."""
    # A hook or an outer git sets GIT_DIR and others, which would answer for another work tree.
    variables = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    variables["GIT_OPTIONAL_LOCKS"] = "0"
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=variables, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
