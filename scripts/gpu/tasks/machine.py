"""The machine as a line of JSON: what stands above the table, and how many GPUs torch finds."""

import importlib.metadata
import json
import platform
import shutil
import subprocess

import torch


def describe() -> dict[str, object]:
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"gpus": len(gpus), "head": {"GPU": show_gpus(gpus), "versions": ", ".join(versions())}}


def show_gpus(names: list[str]) -> str:
    """`2 x NVIDIA H100, compute capability 9.0, driver 580.1`."""
    if not names:
        return f"none; CPU {platform.machine()}"
    counted = [
        f"{names.count(name)} x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)
    ]
    major, minor = torch.cuda.get_device_capability(0)
    return f"{', '.join(counted)}, compute capability {major}.{minor}, driver {driver()}"


def driver() -> str:
    """The driver's version, by nvidia-smi."""
    if shutil.which("nvidia-smi") is None:
        return "unknown (no nvidia-smi)"
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True)
    return done.stdout.split("\n")[0].strip() if done.returncode == 0 else f"unknown ({done.stderr.strip()})"


def versions() -> list[str]:
    """Of Python and of what computes."""
    cuda, cudnn = torch.version.cuda, torch.backends.cudnn.version()
    nccl = ".".join(map(str, torch.cuda.nccl.version())) if torch.cuda.is_available() else None
    numbers = {
        "torch": torch.__version__,
        "torchvision": _version("torchvision"),
        "Triton": _version("triton"),
    }
    numbers |= {"CUDA": cuda, "cuDNN": cudnn, "NCCL": nccl, "NumPy": _version("numpy")}
    return [
        f"Python {platform.python_version()}",
        *(f"{name} {number or 'absent'}" for name, number in numbers.items()),
    ]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    print(json.dumps(describe()))
