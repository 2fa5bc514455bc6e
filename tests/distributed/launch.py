"""Runs that torchrun starts, and what is done to them from outside."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.paths import ROOT
from tests.processes import finish, wait_until

#: Short, and with all that a checkpoint has to hold. Its length is that of a run that nobody stops.
CONFIG = (
    "--config", "debug.yaml", "model.name=faulty_unet", "data.name=faulty_shapes", "data.size=64",
    "data.train_size=32", "data.val_size=8", "model.dropout=0.2", "train.ema=0.9",
    "train.accumulate=2", "train.checkpoint_every=10", "eval.every=20", "eval.images=0", "log.images_every=0",
    "log.every=1", "log.tensorboard=false",
)  # fmt: skip


#: How lines of torchrun's own begin: of its log, of its table, of its advice on threads.
_TORCHRUN = re.compile(r"[WEI]\d{4} |\*{5}|Setting OMP_NUM_THREADS|.*torch/distributed/")


class Launched:
    """A torchrun of `processes` processes that train in `folder`, with `fault` (see faulty.py) in one of them."""

    def __init__(
        self,
        folder: Path,
        *words: str,
        processes: int = 2,
        iterations: int = 40,
        fault: str = "",
        rank: int = 1,
    ):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(
                sys.executable,
                "-m",
                "torch.distributed.run",
                "--standalone",
                "--nproc-per-node",
                str(processes),
            ),
            *(str(ROOT / "train.py"), "--import", str(ROOT / "tests/distributed/faulty.py"), *CONFIG),
            *(f"train.iterations={iterations}", *words),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "FAULT": fault, "FAULT_RANK": str(rank)}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.ranks: list[int] = []
        self.out = self.err = ""

    @property
    def run(self) -> Path:
        """The only run folder."""
        (found,) = self.folder.glob("runs/debug/*")
        return found

    @property
    def status(self) -> dict[str, Any]:
        return json.loads((self.run / "status.json").read_text())

    def wait_until(self, iteration: int) -> None:
        """Until the log has a line of that iteration; the processes are known then, by rank."""

        def has_come() -> bool:
            logs = list(self.folder.glob("runs/debug/*/train.log"))
            return bool(logs) and f"iter  {iteration}/" in logs[0].read_text()

        wait_until(lambda: has_come() or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()[1]
        self.ranks = sorted(children_of(self.process.pid))  # torchrun starts them in this order

    def end(self) -> None:
        """Wait until none of the processes is left. `out` is what they printed then, and `err` what on stderr, without
        what torchrun adds of its own."""
        self.out, errors = finish(self.process)
        wait_until(lambda: not any(map(is_alive, self.ranks)))
        self.err = own_lines(errors)


def own_lines(text: str) -> str:
    """The lines of the ranks: without torchrun's advice, its traceback, and its table of what failed."""
    before, _, _ = text.partition('Traceback (most recent call last):\n  File "<frozen runpy>"')
    lines = [line for line in before.splitlines() if "torch/distributed/" not in line]
    return "\n".join(
        line for line in lines if line and not line.startswith(("W1", "E1", "***", "Setting OMP", "W0", "E0"))
    )


def train(
    folder: Path, *words: str, act: Callable[[Launched], None] | None = None, **options: Any
) -> Launched:
    """Launch, wait for iteration 15 if there is something to `act`, and wait for the end."""
    launched = Launched(folder, *words, **options)
    if act is not None:
        launched.wait_until(15)
        act(launched)
    launched.end()
    return launched


def children_of(pid: int) -> Sequence[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has asked after does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
