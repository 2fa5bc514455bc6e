"""A mistake in a configuration: where it was written, and how it is shown."""

import textwrap
from dataclasses import dataclass

from segkit.system.printable import printable

LONGEST_LINE = 100
WIDTH = 110
UNBROKEN_SPACE = "\u00a0"


@dataclass(frozen=True)
class Mark:
    """Where something was written: a place in a file, an argument of the command line, or only a source's name."""

    source: str
    line: int = 0  # counted from 1; 0 for what has no lines
    column: int = 0
    text: str = ""  # the whole line
    argument: int = 0  # its place among the overrides on the command line, counted from 1; 0 elsewhere

    @property
    def order(self) -> tuple[int, str, int, int]:
        """Sorts by file and line, the command line last."""
        return self.argument, self.source, self.line, self.column

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source

    def without_column(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(frozen=True)
class Problem:
    """One mistake: where, what, and lines that help."""

    mark: Mark
    message: str
    hints: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.mark}: {self.message}"]
        if self.mark.line:
            lines.append(f"{self.mark.line:>7} | {shorten(self.mark.text.rstrip())}")
        for hint in self.hints:
            wrapped = textwrap.wrap(
                hint, WIDTH, initial_indent="   ", subsequent_indent="      ", break_on_hyphens=False
            )
            lines += [line.replace(UNBROKEN_SPACE, " ") for line in wrapped]
        return "\n".join(printable(line.replace("\t", " "), keep="") for line in lines)


def keep_on_one_line(words: str) -> str:
    """The words, so that a hint of which they are part is not wrapped between them: commands are for copying."""
    return words.replace(" ", UNBROKEN_SPACE)


def shorten(text: str, limit: int = LONGEST_LINE) -> str:
    """The text, cut to `limit` characters."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
