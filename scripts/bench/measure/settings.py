"""How a benchmark is run: where, how often, in how many processes."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.bench.measure.process import call_task, measure_afresh
from segkit.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """`rounds` measured in turns in each of `processes` fresh processes with `threads` threads; 0 processes: in this
    one, for a quick look. `small` shrinks everything to milliseconds, which shows that it runs and nothing else.
    `baseline` is the folder of another checkout, for what is compared with one."""

    device: str = "cpu"
    threads: int = 2
    rounds: int = 5
    processes: int = 3
    small: bool = False
    baseline: Path | None = None

    @property
    def allocators(self) -> tuple[str, ...]:
        """Those that a CPU's time depends on: glibc's defaults, and memory kept, as segkit's commands keep it. That of
        this process cannot be changed any more."""
        both = self.processes > 0 and not self.device.startswith("cuda")
        return ("default", "retained") if both else ("default",)

    def measure(
        self,
        task: str,
        arguments: Mapping[str, Any],
        *,
        allocator: str = "default",
        threads: int | None = None,
    ) -> list[dict[str, Any]]:
        """What `task` finds, once per process."""
        if not self.processes:
            return [call_task(task, arguments)]
        options = {"threads": threads or self.threads, "allocator": allocator}
        return [measure_afresh(task, arguments, **options) for _ in range(self.processes)]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of Settings."""
    default = Settings()
    parser.add_argument("--device", default=default.device, help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=default.threads, help="of each process (%(default)s)")
    parser.add_argument("--rounds", type=int, default=default.rounds, help="of which the median is taken")
    parser.add_argument(
        "--processes",
        type=int,
        default=default.processes,
        help="fresh processes, of which the range is shown (%(default)s); 0 measures in this one",
    )
    parser.add_argument(
        "--baseline", type=Path, metavar="FOLDER", help="another checkout, to compare whole commands with"
    )
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see that everything runs")


def read_settings(args: argparse.Namespace) -> Settings:
    """The Settings that were asked for."""
    baseline = None if args.baseline is None else args.baseline.resolve()
    if baseline is not None and not (baseline / "train.py").is_file():
        raise ConfigError(f"--baseline {args.baseline}: there is no train.py in it")
    return Settings(args.device, args.threads, args.rounds, args.processes, args.small, baseline)
