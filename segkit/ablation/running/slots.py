"""Where runs are trained: a device each, or a group of devices with a process on each; and a fair share of the CPUs."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segkit.errors import ConfigError
from segkit.system.device import choose_device
from segkit.system.environment import usable_cpus

#: Starts torchrun; -P: a torch.py in the working folder is not torch.
TORCHRUN = (sys.executable, "-P", "-m", "torch.distributed.run")
#: Seconds that torchrun waits for processes that it has asked to end: less than the two minutes that a job has left,
#: more than its own 30, which a validation may take. Older versions do not read it.
PATIENCE = 100


@dataclass(frozen=True)
class Slot:
    """Room for one run at a time. `device` None leaves it to the configuration; `threads`, of each process, None to
    torch. With several `processes` it is a group, such as `cuda:0,1`, with a device for each of them."""

    device: str | None = None
    threads: int | None = None
    processes: int = 1

    @property
    def grouped(self) -> bool:
        return self.processes > 1

    @property
    def first_device(self) -> str | None:
        """The device, of a group the first one."""
        return self.device.partition(",")[0] if self.grouped and self.device else self.device

    @property
    def overrides(self) -> list[str]:
        """What is added to the configuration; each process of a group takes the device of its place in it."""
        if self.device is None:
            return []
        return [f"device={self.device.partition(':')[0].partition(',')[0] if self.grouped else self.device}"]

    @property
    def launcher(self) -> list[str]:
        """What stands before the command that trains, to start it in every process."""
        if not self.grouped:
            return []
        return [*TORCHRUN, "--standalone", "--nproc-per-node", str(self.processes), "--no-python"]

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The variables for a run here; a number of threads that the user chose stays."""
        extra = {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}
        if not self.grouped:
            return {**extra, **variables}
        extra["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(PATIENCE)
        return {**extra, **variables, **_visible_gpus(self.device or "", variables)}


def make_slots(devices: Sequence[str], configured: str) -> list[Slot]:
    """A slot for each of `devices`; without any, one on the `configured` device. Raises ConfigError for a device
    that is not there, and for a group that is none."""
    groups = [split_group(text) for text in devices] or [(configured,)]
    kinds = [{choose_device(name).type for name in group}.pop() for group in groups]
    sharing = sum(
        len(group) for group, kind in zip(groups, kinds, strict=True) if kind == "cpu" or len(group) > 1
    )
    share = max(1, usable_cpus() // max(1, sharing))
    return [
        Slot(
            name,
            share if len(group) > 1 or (kind == "cpu" and len(kinds) > 1) else None,
            processes=len(group),
        )
        for name, group, kind in zip(devices or [None], groups, kinds, strict=True)
    ]


def split_group(text: str) -> tuple[str, ...]:
    """The devices of `cuda:0`, which is one, or of a group: `cuda:0,1` as `cuda:0` and `cuda:1`, `cpu,cpu` as two
    processes. Raises ConfigError for a group that is none."""
    if "," not in text:
        return (text,)
    names = tuple(f"cuda:{word}" if word.isdigit() else word for word in text.split(","))
    cpus = [name for name in names if name == "cpu"]
    known = [name for name in names if re.fullmatch(r"cuda:\d+", name)]
    if cpus and known:
        raise ConfigError(f"--devices {text}: a group is of one kind -> cuda:0,1 or cpu,cpu")
    if len(cpus) + len(known) < len(names) or text[0].isdigit():
        raise ConfigError(
            f"--devices {text}: expected a group of GPUs or of processes on the CPU -> cuda:0,1 or cpu,cpu\n"
            "   (devices with a space between them train a run each: cuda:0 cuda:1)"
        )
    twice = next((name for place, name in enumerate(known) if name in known[:place]), None)
    if twice is not None:
        raise ConfigError(f"--devices {text}: {twice} appears twice; every process needs a GPU of its own")
    return names


def _visible_gpus(group: str, variables: Mapping[str, str]) -> dict[str, str]:
    """CUDA_VISIBLE_DEVICES for the GPUs of a group, which are counted in those that are visible now."""
    if not group.startswith("cuda"):
        return {}
    numbers = [int(name.partition(":")[2]) for name in split_group(group)]
    visible = [name.strip() for name in variables.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return {"CUDA_VISIBLE_DEVICES": ",".join(visible[n] if visible else str(n) for n in numbers)}
