"""Tables of the page: each has a caption, and is sorted by a click on the head of a column."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from segkit.data.palette import Legend
from segkit.system.console import percent
from segkit.system.markup import escape_html as escape
from segkit.system.printable import show_class


class Cell(NamedTuple):
    """What a cell shows, HTML, and what its column is sorted by: text, or a number; NaN comes last."""

    html: str
    value: str | float


def words(text: str) -> Cell:
    return Cell(escape(text), text)


def number(value: float, text: str) -> Cell:
    return Cell(escape(text), value)


def share(value: float) -> Cell:
    """A share in percent, as `evaluate` prints it."""
    return number(value, percent(value))


def count(value: int) -> Cell:
    return number(value, f"{value:,}")


def render_table(
    name: str,
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    last: Sequence[str] = (),
    ids: Sequence[str] = (),
) -> str:
    """A table that can be sorted, `name` its id: the first column names the row, and `last` is a row that stays below
    the others. `ids` are those of the rows."""
    kinds = [_kind(cell) for cell in rows[0]] if rows else [""] * len(columns)
    head = "".join(
        f'<th scope="col"{kind}><button type="button" data-sort="{place}">{escape(title)}</button></th>'
        for place, (title, kind) in enumerate(zip(columns, kinds, strict=True))
    )
    marks = [f' id="{escape(each)}"' for each in ids] or [""] * len(rows)
    body = "\n".join(
        f"<tr{mark}>{_render_cell(row[0], 'th')}{''.join(_render_cell(cell, 'td') for cell in row[1:])}</tr>"
        for mark, row in zip(marks, rows, strict=True)
    )
    foot = ""
    if last:
        cells = "".join(f"<td>{escape(text)}</td>" for text in last[1:])
        foot = f'<tfoot><tr><th scope="row">{escape(last[0])}</th>{cells}</tr></tfoot>'
    return (
        f'<div class="wide" tabindex="0"><table id="{name}" class="sortable"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>{foot}</table></div>"
    )


def render_bars(
    name: str, caption: str, columns: Sequence[str], rows: Sequence[tuple[str, float, Sequence[str]]]
) -> str:
    """A bar chart with its numbers: of each row what it is, a share in [0, 1] or NaN, and further cells."""
    head = "<td></td>" + "".join(f'<th scope="col">{escape(title)}</th>' for title in columns)
    body = "\n".join(
        f'<tr><th scope="row">{escape(what)}</th><td class="bar">{_draw_bar(value)}</td><td>{percent(value)}</td>'
        f"{''.join(f'<td>{escape(text)}</td>' for text in others)}</tr>"
        for what, value, others in rows
    )
    return (
        f'<div class="wide" tabindex="0"><table id="{name}" class="bars"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def class_cell(number: int, labels: Legend) -> Cell:
    """The colour and the name of a class; a long name in full where the mouse rests on it."""
    red, green, blue = labels.palette[number]
    name = labels.class_names[number]
    full = f' title="{escape(name)}"' if show_class(name) != name else ""
    text = f'<span class="class"{full}><i style="background:rgb({red},{green},{blue})"></i>{escape(show_class(name))}'
    return Cell(f"{text}</span>", name)


def _render_cell(cell: Cell, tag: str) -> str:
    value = cell.value
    key = value if isinstance(value, str) else "" if math.isnan(value) else repr(value)
    scope = ' scope="row"' if tag == "th" else ""
    return f'<{tag}{scope}{_kind(cell)} data-v="{escape(key)}">{cell.html}</{tag}>'


def _kind(cell: Cell) -> str:
    return ' class="words"' if isinstance(cell.value, str) else ""


def _draw_bar(value: float) -> str:
    width = 0.0 if math.isnan(value) else 100 * value
    return (
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="ground" width="100" height="10"></rect>'
        f'<rect class="fill" width="{width:.4f}" height="10"></rect></svg>'
    )
