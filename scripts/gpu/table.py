"""The table: a row for each part, written anew whenever one begins or ends, so that a call cut off leaves it behind."""

import os
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.gpu.commands import ENVIRONMENT
from scripts.gpu.parts import Part

#: What a row says; a call that is killed leaves "running" and "not run", which say what they are.
WAITING, RUNNING, FAILED, CUT, SKIPPED = "not run", "running", "**failed**", "**cut off**", "skipped"
#: Results that leave the exit status at 0; the others are what `Part.good` says.
ALLOWED = (SKIPPED,)
#: What is kept of the files that parts write.
KEPT = (".log", ".md", ".json", ".csv")
LONGEST = 300  # characters of a finding in its row


@dataclass
class Row:
    """A part and what came of it: a result, seconds, and what was found or why not."""

    part: Part
    result: str = WAITING
    seconds: float | None = None
    found: str = ""

    @property
    def fine(self) -> bool:
        return self.result in (*ALLOWED, self.part.good)


@dataclass
class Table:
    """The rows of one call, and what is said above them. `folder` is where table.md and results.tar.gz are kept, and
    `work` what the latter is made of."""

    folder: Path
    work: Path
    parts: Sequence[Part]
    head: Mapping[str, str] = field(default_factory=dict)
    rehearsal: bool = False

    def __post_init__(self) -> None:
        self.rows = {part.name: Row(part) for part in self.parts}
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def fine(self) -> bool:
        """Whether every part did what it was to, or was skipped with a reason."""
        return all(row.fine for row in self.rows.values())

    def set(self, name: str, result: str, *, seconds: float | None = None, found: str = "") -> None:
        """Fill in a row, and write the table."""
        row = self.rows[name]
        row.result, row.seconds, row.found = result, seconds, found
        self.write()

    def write(self) -> None:
        """Replace table.md at once: whoever reads it sees the old or the new one, never half of it."""
        fresh = self.folder / "table.md.tmp"
        fresh.write_text(self.text(), encoding="utf-8")
        os.replace(fresh, self.folder / "table.md")

    def text(self) -> str:
        """The Markdown."""
        title = "# Checks on a GPU"
        if self.rehearsal:
            title += ": a rehearsal in small on a CPU, which says nothing of a GPU"
        head = [f"- {name}: {value}" for name, value in self.head.items()]
        lines = ["| part | what | result | s | of | found |", "| --- | --- | --- | ---: | ---: | --- |"]
        lines += [show_row(row) for row in self.rows.values()]
        return "\n".join([title, "", *head, "", *lines, "", self.verdict(), *self.details()]) + "\n"

    def details(self) -> list[str]:
        """In full what is too long for a row, line by line."""
        lines: list[str] = []
        for row in self.rows.values():
            if len(row.found) > LONGEST:
                lines += ["", f"## {row.part.name}", "", *(f"- {line}" for line in row.found.splitlines())]
        return lines

    def verdict(self) -> str:
        """One sentence: what held, and the names of all that did not or was not tried."""
        wrong = [f"{row.part.name} ({row.result.strip('*')})" for row in self.rows.values() if not row.fine]
        skipped = [row.part.name for row in self.rows.values() if row.result == SKIPPED]
        good = len(self.rows) - len(wrong) - len(skipped)
        parts = [f"{good} of {len(self.rows)} parts held"]
        parts += [f"skipped: {', '.join(skipped)}"] if skipped else []
        return "; ".join([*parts, f"not so: {', '.join(wrong)}"] if wrong else parts) + "."

    def pack(self) -> None:
        """All logs, tables and scores as results.tar.gz, for a machine from which few files come back."""
        fresh = self.folder / "results.tar.gz.tmp"
        with tarfile.open(fresh, "w:gz") as archive:
            for path in sorted(self.work.rglob("*")):
                name = path.relative_to(self.work)
                if name.parts[0] != ENVIRONMENT and path.suffix in KEPT and path.is_file():
                    archive.add(path, name)
        os.replace(fresh, self.folder / "results.tar.gz")

    def sweep(self) -> None:
        """Delete what is large and said in the logs: the runs' checkpoints and pictures, the environment."""
        for name in ("runs", ENVIRONMENT):
            shutil.rmtree(self.work / name, ignore_errors=True)


def show_row(row: Row) -> str:
    """A line of the table; what was found may hold what Markdown takes for a cell's end."""
    found = " ".join("; ".join(row.found.splitlines()).split()).replace("|", "\\|")
    if len(found) > LONGEST:
        found = found[: LONGEST - 4] + " ..."
    seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
    return (
        f"| {row.part.name} | {row.part.what} | {row.result} | {seconds} | {row.part.limit:.0f} | {found} |"
    )
