"""How far the runs of an ablation are: a bar on a terminal, plain lines elsewhere."""

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from segkit.system.console import Console, duration
from segkit.system.run_files import RunFiles

#: Seconds between two lines of overall progress where there is no bar.
LINE_EVERY = 60.0
_TAIL_BYTES = 8192


def read_iteration(folder: Path) -> int:
    """Completed updates of a run that is being trained, as of its last logged line; 0 before that."""
    try:
        with RunFiles(folder).results.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return 0
    whole = [line for line in lines[:-1] if line]  # what follows the last line end is being written
    cells = next(csv.reader(whole[-1:]), [""])
    return int(cells[0]) if cells and cells[0].isdigit() else 0


class Progress:
    """Iterations and runs done, of all. `done` iterations were there at the start."""

    def __init__(
        self,
        stream: TextIO,
        *,
        runs: int,
        total: int,
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
        line_every: float = LINE_EVERY,
    ):
        self.stream = Console(
            stream=stream
        ).stream  # which outlives the terminal: the runs are to be looked after
        self.runs, self.total, self.clock = runs, total, clock
        self.first, self.iterations, self.runs_done = done, done, 0
        self.started = self.last_line = clock()
        self.line_every = line_every
        self.bar: tqdm | None = None
        if stream.isatty():
            layout = "{percentage:3.0f}%|{bar:12}| {desc}"
            self.bar = tqdm(
                total=total, initial=min(done, total), file=self.stream, bar_format=layout, dynamic_ncols=True
            )

    def line(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        if self.bar is None:
            print(text, file=self.stream, flush=True)
        else:
            self.bar.write(text, file=self.stream)

    def update(self, iterations: int, runs_done: int) -> None:
        """Note where the runs are; show it, without a bar about once a minute."""
        self.iterations, self.runs_done = min(iterations, self.total), runs_done
        if self.bar is not None:
            self.bar.n = self.iterations
            self.bar.set_description_str(self.text, refresh=True)
        elif self.clock() - self.last_line >= self.line_every:
            self.last_line = self.clock()
            self.line(f"progress  {self.text}")

    @property
    def text(self) -> str:
        """`3/12 runs  1,200/4,800 iterations  eta 0:12:00`"""
        made = self.iterations - self.first
        seconds = self.clock() - self.started
        left = f"  eta {duration((self.total - self.iterations) * seconds / made)}" if made > 0 else ""
        return f"{self.runs_done}/{self.runs} runs  {self.iterations:,}/{self.total:,} iterations{left}"

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
