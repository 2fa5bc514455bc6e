"""A report as one HTML file that needs nothing else: the style and the figures are inside it."""

import base64
import re
from pathlib import Path

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
from segkit.ablation.report.markdown import MARKS
from segkit.system.markup import escape_html as escape

PIXELS_PER_DOT = 944 / 1400  # a figure of full width fills the page, and text is as large in all of them
SMALLEST = (
    0.64  # of that size: on a narrower screen a figure scrolls, so that its smallest text is of 10 pixels
)
STYLE = """
:root { --ink: #1c1c1e; --soft: #6a6a70; --line: #d9d9de; --wash: #f6f6f8; }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  color: var(--ink); background: #fff; max-width: 1000px; margin: 0 auto; padding: 40px 28px 72px;
  overflow-wrap: break-word; }
h1 { font-size: 29px; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 20px; }
h2 { font-size: 20px; letter-spacing: -0.01em; margin: 52px 0 14px; padding-bottom: 6px;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 16px; margin: 32px 0 8px; }
p { margin: 0 0 12px; max-width: 760px; }
ul { margin: 0 0 16px; padding-left: 20px; max-width: 800px; }
li { margin: 3px 0; }
ul.checks { list-style: none; padding-left: 0; }
ul.checks li { display: grid; grid-template-columns: 24px minmax(0, 1fr); }
.ok b { color: #00694d; } .warning b { color: #a35200; } .error b { color: #b3001b; }
/* What is wider than the screen scrolls in its box, below whose edge a shadow lies where there is more. White covers,
   which scroll with the content, hide the shadow at an end. */
.wide { overflow-x: auto; margin: 0 0 6px; background:
  linear-gradient(90deg, #fff 40%, #fff0) 0 0 / 44px 100% local,
  linear-gradient(-90deg, #fff 40%, #fff0) 100% 0 / 44px 100% local,
  linear-gradient(90deg, #0005, #0000) 0 0 / 16px 100% scroll,
  linear-gradient(-90deg, #0005, #0000) 100% 0 / 16px 100% scroll; background-repeat: no-repeat; }
.wide img { mix-blend-mode: multiply; } /* white lets the shadow through */
table { border-collapse: collapse; font-size: 13px; line-height: 1.35; border-top: 1.5px solid var(--ink);
  border-bottom: 1.5px solid var(--ink); margin: 4px 0; font-variant-numeric: tabular-nums; }
th { font-weight: 600; vertical-align: bottom; border-bottom: 1px solid var(--ink); }
th, td { padding: 5px 12px 5px 0; text-align: right; }
th:last-child, td:last-child { padding-right: 2px; }
td { white-space: nowrap; }
td.words { white-space: normal; overflow-wrap: break-word; max-width: 420px; }
th.words, td.words { text-align: left; }
tbody tr:nth-child(even) td { background: #3c3c5a0c; } /* lets the shadow through */
th:first-child, td:first-child, tbody tr:nth-child(even) td:first-child { position: sticky; left: 0; background: #fff; }
tbody tr:nth-child(even) td:first-child { background: var(--wash); }
td.faint { color: var(--soft); }
.note, figcaption { color: var(--soft); font-size: 13.5px; line-height: 1.45; max-width: 800px; }
.note { margin: 6px 0 0; }
figure { margin: 22px 0 32px; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; }
figcaption { margin-top: 8px; }
figure.table { margin: 16px 0 26px; break-inside: auto; }
figure.table figcaption { margin: 0 0 4px; }
pre { background: var(--wash); border-radius: 6px; padding: 10px 14px; overflow-x: auto; font-size: 13px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin: 10px 0 16px; } details > summary { cursor: pointer; color: var(--soft); margin-bottom: 8px; }
td.words:first-child { min-width: 76px; }
@media (min-width: 641px) { wbr { display: none; } }
@media (max-width: 640px) { body { padding: 20px 14px 48px; } h1 { font-size: 24px; } h2 { margin-top: 36px; }
  table { font-size: 12.5px; } th, td { padding-right: 9px; }
  th:first-child, td.words:first-child { max-width: 124px; overflow-wrap: break-word; }
  th:first-child, td:first-child { box-shadow: 1px 0 var(--line); } td.words { max-width: 260px; } }
@media print { body { max-width: none; padding: 0; font-size: 10.5pt; } h2, h3 { break-after: avoid; }
  table, ul.checks { font-size: 8.5pt; } .wide { overflow: visible; background: none; }
  th:first-child, td:first-child { position: static; }
  .wide img { min-width: 0 !important; mix-blend-mode: normal; } }
"""


def render_html(document: Document, figures: Path) -> str:
    """The whole document as one page; `figures` is the folder that holds the PNG files to put into it."""
    body = "\n".join(_render(block, figures) for block in document.blocks)
    title = escape(document.title)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def _render(block: Block, figures: Path) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
        case Paragraph():
            return f"<p>{escape(block.text)}</p>"
        case Bullets():
            return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in block.items)}</ul>"
        case Checks():
            return f'<ul class="checks">{"".join(_check(*item) for item in block.items)}</ul>'
        case Code():
            return f"<pre><code>{escape(block.text)}</code></pre>"
        case Picture():
            return _figure(block, figures)
        case Table():
            return _table(block)
        case Details():
            inside = "\n".join(_render(part, figures) for part in block.blocks)
            return f"<details>\n<summary>{escape(block.summary)}</summary>\n{inside}\n</details>"
    raise TypeError(f"no such block: {block!r}")


def _check(level: str, text: str) -> str:
    return f'<li class="{level}"><b>{MARKS[level]}</b><span>{escape(text)}</span></li>'


def _figure(picture: Picture, figures: Path) -> str:
    content = (figures / f"{picture.stem}.png").read_bytes()
    width = round(int.from_bytes(content[16:20]) * PIXELS_PER_DOT)  # as PNG's header has it
    encoded = base64.b64encode(content).decode("ascii")
    style = f"max-width: {width}px; min-width: {round(SMALLEST * width)}px"
    image = f'<img src="data:image/png;base64,{encoded}" style="{style}" alt="{escape(picture.alt)}">'
    return f'<figure><div class="wide">{image}</div><figcaption>{_caption(picture)}</figcaption></figure>'


def _caption(block: Table | Picture) -> str:
    label = f"<b>{escape(block.label)}.</b> " if block.label else ""
    return label + escape(block.caption)


def _table(table: Table) -> str:
    head = "".join(_cell("th", Cell(name), place < table.left) for place, name in enumerate(table.columns))
    rows = "\n".join(
        f"<tr>{''.join(_cell('td', cell, place < table.left) for place, cell in enumerate(row))}</tr>"
        for row in table.rows
    )
    caption = f"<figcaption>{_caption(table)}</figcaption>" if table.caption else ""
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    inside = f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>"
    return f'<figure class="table">{caption}<div class="wide">{inside}</div>{note}</figure>'


def _cell(tag: str, cell: Cell, words: bool) -> str:
    names = [name for name, is_so in (("words", words), ("faint", cell.faint)) if is_so]
    attribute = f' class="{" ".join(names)}"' if names else ""
    text = escape(cell.text)
    if words:
        text = re.sub(r"(?<=\w)([_./-]+)(?=\w)", r"\1<wbr>", text)  # names break there rather than anywhere
    return f"<{tag}{attribute}>{f'<strong>{text}</strong>' if cell.strong else text}</{tag}>"
