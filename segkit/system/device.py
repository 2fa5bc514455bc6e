"""Where a run computes and in what precision."""

import os
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from segkit.errors import ConfigError
from segkit.system.cpu.allocator import keep_freed_memory
from segkit.system.cpu.bf16 import computes_bf16
from segkit.system.cpu.fp32_convolutions import depthwise_in_fp32
from segkit.system.environment import usable_cpus

#: Autocast's dtypes, by their names in a configuration.
AMP_DTYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


#: Bytes of the rows of images that are made floats at once on a CPU.
STRIP = 2**20


class Normalize(nn.Module):
    """uint8 images (N, C, H, W) to floats with the data's mean 0 and standard deviation 1, on the device.

    `mean` and `std` are per channel, on the scale of images in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, channels_last: bool = False):
        super().__init__()
        self.register_buffer("mean", 255.0 * torch.tensor(mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(std).reshape(1, -1, 1, 1), persistent=False)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, image: Tensor) -> Tensor:
        if image.device.type == "cpu" and image.dtype == torch.uint8 and not torch.compiler.is_compiling():
            return self._normalize_in_strips(image)
        return ((image.float() - self.mean) / self.std).contiguous(memory_format=self.memory_format)

    def _normalize_in_strips(self, image: Tensor) -> Tensor:
        """The same, a few rows at a time, which stay in the cache: what is between bytes and result is four times the
        result otherwise, each of them fetched from memory."""
        out = torch.empty(image.shape, dtype=self.mean.dtype, memory_format=self.memory_format)
        rows = max(1, STRIP // (4 * max(1, image[:, :, :1].numel())))
        for strip, result in zip(image.split(rows, dim=2), out.split(rows, dim=2), strict=True):
            result.copy_(strip.float().sub_(self.mean).div_(self.std))
        return out


def place(
    model: nn.Module, device: torch.device, *, channels_last: bool, compiled: bool, determinism: str
) -> nn.Module:
    """The model on its device, in its memory format, compiled if asked for.

    `determinism` is `off`, `warn` or `strict`: the last raises where torch has no deterministic kernel.
    """
    if determinism == "strict":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS refuses strict mode without it
    _use_deterministic_algorithms(determinism != "off", warn_only=determinism == "warn")
    torch.backends.cudnn.benchmark = determinism == "off"
    model = to_device(model, device, channels_last=channels_last)
    if compiled:
        model.compile()  # in place, so that the names in a checkpoint stay those of the plain model
    return model


def _use_deterministic_algorithms(wanted: bool, *, warn_only: bool) -> None:
    """As torch's function of that name, which loads torch's compiler, most of a second, even if nothing changes."""
    now = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    if now != (wanted, warn_only):
        torch.use_deterministic_algorithms(wanted, warn_only=warn_only)


def to_device(model: nn.Module, device: torch.device, *, channels_last: bool) -> nn.Module:
    """The model on its device, in its memory format, made of what is fast there; and so is what is computed with it."""
    if device.type == "cpu":
        keep_freed_memory()
        model = depthwise_in_fp32(model)
    model = _without_gaps(model.to(device))
    return model.to(memory_format=torch.channels_last) if channels_last else model


def _without_gaps(model: nn.Module) -> nn.Module:
    """The model, with parameters that own their memory from the first number to the last. One that was cut from a wider
    weight (`Parameter(weight[:, :4])`) has others' numbers in between, which torch's fused optimizers would change."""
    for parameter in model.parameters():
        if nn.parameter.is_lazy(parameter):  # it has no memory yet
            continue
        if torch.empty_like(parameter, device="meta").stride() != parameter.stride():
            parameter.data = parameter.data.contiguous()
    return model


def choose_device(name: str, *, local: int = 0, local_world: int = 1) -> torch.device:
    """The device meant by `auto`, `cpu`, `cuda`, `cuda:N` or `mps`: of process `local` of `local_world` on this machine
    a GPU of its own. Raises ConfigError if it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device: {name!r} is none of auto, cpu, cuda, cuda:N, mps") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        reason = (
            "this torch has no CUDA support -> install the CUDA build, or device=cpu (--device cpu)"
            if torch.version.cuda is None
            else "no usable GPU was found (does nvidia-smi list one?) -> mend the driver, or device=cpu (--device cpu)"
        )
        raise ConfigError(f"CUDA was asked for (device: {name}) but {reason}")
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise ConfigError(
            f"device: {name} but there are {torch.cuda.device_count()} GPUs, counted from cuda:0"
        )
    if local_world > 1 and device.type != "cpu":
        device = _own_device(device, local, local_world)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(
            "MPS was asked for (device: mps) but this torch or this machine has none -> device=cpu (--device cpu)"
        )
    if device.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"device: {name!r} is none of auto, cpu, cuda, cuda:N, mps")
    return device


def _own_device(device: torch.device, local: int, local_world: int) -> torch.device:
    if device.type != "cuda" or device.index is not None:
        raise ConfigError(
            f"device: {device} is one device, and {local_world} processes want one each -> device=auto"
        )
    count = torch.cuda.device_count()
    if local_world > count:
        raise ConfigError(
            f"there are {local_world} processes on this machine and {count} GPUs -> torchrun --nproc-per-node {count}"
        )
    return torch.device("cuda", local)


def choose_amp(name: str, device: torch.device) -> torch.dtype | None:
    """Autocast's dtype: `auto` is bf16 where the device computes in it (of a CPU that is measured), else fp16 on a GPU
    and off elsewhere. Raises ConfigError for fp16 on a CPU."""
    if name == "fp16" and device.type == "cpu":
        auto = name_of_amp(choose_amp("auto", device))
        raise ConfigError(
            "train.amp: fp16, but no CPU trains in it: gradients take tens to hundreds of times as long\n"
            f"   -> train.amp=auto, which is {auto} here"
        )
    if name != "auto":
        return AMP_DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and computes_bf16() else None


class Precision(NamedTuple):
    """What `train.amp` came to on a kind of device: `off`, `bf16` or `fp16`."""

    device: str
    amp: str


def settled_amp(name: str, device: torch.device, before: Precision | None) -> str:
    """The `train.amp` to build with: what `auto` came to `before`, if that was on this kind of device, so that a run
    goes on as it began, and in all its processes alike."""
    return before.amp if name == "auto" and before is not None and before.device == device.type else name


def amp_for_predictions(name: str, device: torch.device) -> torch.dtype | None:
    """Autocast's dtype for weights that were trained with this `train.amp`, maybe on another device: as there, but on a
    CPU never what it only emulates."""
    return choose_amp("auto" if device.type == "cpu" and name != "off" else name, device)


def weights_cast_once(device: torch.device) -> AbstractContextManager:
    """Within, autocast converts each weight once, not in each forward pass: no weight may change meanwhile.

    Autocast keeps what it has converted until the outermost of its contexts ends. This is one, which converts nothing
    itself.
    """
    return torch.autocast(device.type, enabled=False)


def name_of_amp(dtype: torch.dtype | None) -> str:
    """`off`, `bf16` or `fp16`."""
    return next(name for name, each in AMP_DTYPES.items() if each is dtype)


def describe_slow_amp(name: str, device: torch.device, *, kept: bool = False) -> list[str]:
    """A warning where the precision asked for, or `kept` from where the run began, is emulated."""
    if name != "bf16" or device.type != "cpu" or computes_bf16():
        return []
    if kept:
        return [
            "the run began in bf16, which this processor only emulates, slower than fp32 -> "
            "train.amp=off --allow-change train.amp"
        ]
    return ["train.amp: bf16, which this processor only emulates, slower than fp32 -> train.amp=auto"]


def default_workers(device: torch.device, *, share: int = 1) -> int:
    """Loader processes: on the CPU training itself needs the cores; a GPU wants to be fed. `share` processes train."""
    cpus = max(1, usable_cpus() // share)
    return min(2, cpus - 1) if device.type == "cpu" else min(8, cpus)


class Wait:
    """The seconds from now until `end()` in which the device has nothing to do, known once it is through with it.

    A GPU works on what it was given before: time in which the program waits for data, but the GPU does not, costs
    nothing. So its own clock is read, without making anybody wait; elsewhere the time of the program counts.
    """

    def __init__(self, device: torch.device):
        on_gpu = device.type == "cuda"
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if on_gpu else None
        self._times: list[float] = []
        self._note(0)

    def end(self) -> None:
        """What was waited for is there."""
        self._note(1)

    def seconds(self) -> float:
        """The length. On a GPU only after the work that was given to it before `end` is done."""
        if self._events is None:
            return self._times[1] - self._times[0]
        return self._events[0].elapsed_time(self._events[1]) / 1000

    def _note(self, which: int) -> None:
        if self._events is None:
            self._times.append(time.perf_counter())
        else:
            self._events[which].record()


def memory_in_use(device: torch.device) -> float:
    """Peak memory in GB: of the GPU where there is one, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
