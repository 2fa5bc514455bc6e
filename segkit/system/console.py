"""Text for people: a progress bar on a terminal, plain lines elsewhere, and a copy of every line in a log file.

All of it is printable, whatever the names in it hold: see `segkit.system.printable`.
"""

import sys
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from segkit.system.files import cannot_write
from segkit.system.printable import printable
from segkit.system.screen import as_screen


class Console:
    """Prints lines above a progress bar if `stream` is a terminal, else plainly; appends them to `log_file`."""

    def __init__(self, *, stream: TextIO | None = None, log_file: Path | None = None):
        self.stream = as_screen(stream or sys.stdout)
        self.log_file = log_file
        self.bar: tqdm | None = None

    def line(self, text: str = "") -> None:
        """Print `text` and append it to the log."""
        text = printable(text)
        if self.bar is None:
            print(text, file=self.stream, flush=True)
        else:
            self.bar.write(text, file=self.stream)
        self.log(text)

    def log(self, text: str) -> None:
        """Append `text` to the log only. Raises CannotWrite."""
        if self.log_file is None:
            return
        try:
            with self.log_file.open("a", encoding="utf-8") as file:
                file.write(printable(text) + "\n")
        except OSError as error:
            raise cannot_write(self.log_file, error) from error

    def start_progress(self, *, total: int, done: int) -> None:
        """Show a progress bar where somebody can see it move."""
        if self.stream.isatty():
            # A short bar: on 80 columns the text beside it is what people read.
            layout = "{percentage:3.0f}%|{bar:8}| {desc}"
            self.bar = tqdm(
                total=total, initial=done, file=self.stream, bar_format=layout, dynamic_ncols=True
            )
            self.bar.set_description_str(f"iter  {done:,}/{total:,}")

    def advance(self) -> None:
        """One iteration is done."""
        if self.bar is not None:
            self.bar.update()

    def progress(self, text: str) -> None:
        """Report the state of training: beside the bar on a terminal, as a line elsewhere."""
        if self.bar is None:
            self.line(text)
        else:
            self.bar.set_description_str(text, refresh=False)
            self.log(text)

    def close(self) -> None:
        """Finish the progress bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def table(rows: list[list[str]]) -> str:
    """Rows in columns: the first left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) if rows else 0)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def duration(seconds: float) -> str:
    """`1:02:03` for 3723 seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def percent(share: float) -> str:
    """`71.3` for 0.7128; `-` for nan (a class that does not occur)."""
    return "-" if share != share else f"{100 * share:.1f}"
