"""A report as a sequence of blocks that knows neither Markdown nor HTML nor LaTeX, so that all say the same.

Every text is plain: what renders a block also escapes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Cell:
    """One entry of a table; `strong` stands out, `faint` steps back."""

    text: str
    strong: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Table:
    """Rows below `columns`; the first `left` columns hold words and are aligned left, the others hold numbers.
    `label`, such as `Table 1`, stands before the caption, `note` below the table.

    Raises ValueError if a row has another number of cells.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left: int = 1
    caption: str = ""
    note: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells in a table of {len(self.columns)} columns")

    def select(self, columns: Sequence[str]) -> "Table":
        """The same table with these columns only."""
        places = [self.columns.index(name) for name in columns]
        left = sum(place < self.left for place in places)
        rows = tuple(tuple(row[place] for place in places) for row in self.rows)
        return replace(self, columns=tuple(columns), rows=rows, left=left)


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True)
class Checks:
    """What was checked, or is to be careful about: (level, text) with level ok, warning or error."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Code:
    text: str


@dataclass(frozen=True)
class Picture:
    """A figure by the name of its files, `figures/<stem>.png` and, with `pdf`, `.pdf`."""

    stem: str
    caption: str
    alt: str
    label: str = ""
    pdf: bool = False


@dataclass(frozen=True)
class Details:
    """Long parts behind a line to click on."""

    summary: str
    blocks: tuple["Block", ...]


Block = Heading | Paragraph | Bullets | Checks | Code | Picture | Table | Details


@dataclass(frozen=True)
class Document:
    """`title` and everything below it."""

    title: str
    blocks: tuple[Block, ...]


def plain_row(*texts: str) -> tuple[Cell, ...]:
    """A row of cells without emphasis."""
    return tuple(Cell(text) for text in texts)
