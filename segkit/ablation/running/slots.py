"""Where runs are trained: a device each, and a fair share of the CPUs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segkit.system.device import choose_device
from segkit.system.environment import usable_cpus


@dataclass(frozen=True)
class Slot:
    """Room for one run at a time. `device` None leaves it to the configuration; `threads` None to torch."""

    device: str | None = None
    threads: int | None = None

    @property
    def overrides(self) -> list[str]:
        return [] if self.device is None else [f"device={self.device}"]

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The variables for a run here; a number of threads that the user chose stays."""
        extra = {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}
        return {**extra, **variables}


def make_slots(devices: Sequence[str], configured: str) -> list[Slot]:
    """A slot for each of `devices`; without any, one on the `configured` device. Raises ConfigError for a device
    that is not there."""
    kinds = [choose_device(name).type for name in devices or [configured]]
    share = max(1, usable_cpus() // max(1, kinds.count("cpu")))
    threads = [share if kind == "cpu" and len(kinds) > 1 else None for kind in kinds]
    return [Slot(name, count) for name, count in zip(devices or [None], threads, strict=True)]
