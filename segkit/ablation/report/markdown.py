"""A report as GitHub's Markdown."""

import re

from segkit.ablation.folder import ReportFiles
from segkit.ablation.report.document import (
    Block,
    Bullets,
    Cell,
    Checks,
    Code,
    Details,
    Document,
    Heading,
    Paragraph,
    Picture,
    Table,
)
from segkit.system.markup import escape_markdown as escape
from segkit.system.printable import printable

MARKS = {"ok": "✓", "warning": "⚠", "error": "✗"}


def render_markdown(document: Document) -> str:
    """The whole document; figures are links relative to its folder."""
    parts = [f"# {escape(document.title)}", *(_render(block) for block in document.blocks)]
    return "\n\n".join(parts) + "\n"


def _render(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {escape(block.text)}"
        case Paragraph():
            return escape(block.text)
        case Bullets():
            return "\n".join(f"- {escape(item)}" for item in block.items)
        case Checks():
            return "\n".join(f"- {MARKS[level]} {escape(text)}" for level, text in block.items)
        case Code():
            return _fence(printable(block.text))
        case Picture():
            place = f"{ReportFiles.figures.name}/{block.stem}"
            link = f" ([PDF]({place}.pdf))" if block.pdf else ""
            return f"![{escape(block.alt)}]({place}.png)\n\n{_caption(block)}{link}"
        case Table():
            return _table(block)
        case Details():
            inside = "\n\n".join(_render(part) for part in block.blocks)
            summary = f"<details>\n<summary>{escape(block.summary)}</summary>"
            return f"{summary}\n\n{inside}\n\n</details>"
    raise TypeError(f"no such block: {block!r}")


def _fence(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _table(table: Table) -> str:
    rules = [":---" if place < table.left else "---:" for place in range(len(table.columns))]
    lines = [_line([escape(name) for name in table.columns]), _line(rules)]
    lines += [_line([_cell(cell) for cell in row]) for row in table.rows]
    caption = f"{_caption(table)}\n\n" if table.caption else ""
    note = f"\n\n{escape(table.note)}" if table.note else ""
    return caption + "\n".join(lines) + note


def _caption(block: Table | Picture) -> str:
    label = f"**{escape(block.label)}.** " if block.label else ""
    return label + escape(block.caption)


def _line(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    return f"**{text}**" if cell.strong and text.strip() else text
