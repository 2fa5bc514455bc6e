"""The confusion matrix of the page, the list of its largest entries, and the images behind each for its script."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from segkit.commands.error_report.rows import PAIRS, ImageRow, Pair, choose_classes
from segkit.commands.error_report.tables import Cell, class_cell, count, render_table, share
from segkit.data.palette import Legend
from segkit.system.console import percent
from segkit.system.markup import escape_html as escape
from segkit.system.printable import show_class, show_path

#: Classes in the matrix; of more, those with the most wrong pixels.
MOST_CLASSES = 40


def render_confusion(matrix: Tensor, pairs: Sequence[Pair], labels: Legend) -> str:
    """The matrix (C, C), rows true and columns predicted, by row; a cell with wrong pixels is a button."""
    classes = choose_classes(pairs, len(labels.class_names), MOST_CLASSES)
    counts, totals = matrix.tolist(), matrix.sum(dim=1).tolist()
    names = [show_class(name) for name in labels.class_names]
    head = "".join(f'<th scope="col"><span>{escape(names[n])}</span></th>' for n in classes)
    body = "\n".join(
        f'<tr><th scope="row">{class_cell(label, labels).html}</th>'
        + "".join(_render_cell(label, answer, counts, totals, names) for answer in classes)
        + "</tr>"
        for label in classes
    )
    caption = "Confusion matrix, in percent of a row"
    if len(classes) < len(names):
        caption += f": of {len(names)} classes the {len(classes)} with the most wrong pixels"
    return (
        "<p>How many percent of the pixels of each true class (row) are predicted as each class (column); the counts "
        "where the mouse rests. A click on a cell shows the images that have most of it.</p>\n"
        f'<div class="wide" tabindex="0"><table id="matrix"><caption>{escape(caption)}</caption>'
        f"<thead><tr><td>true \\ predicted</td>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _render_cell(
    label: int, answer: int, counts: list[list[int]], totals: list[int], names: Sequence[str]
) -> str:
    pixels, total = counts[label][answer], totals[label]
    part = pixels / total if total else 0.0
    kind = "hit" if label == answer else "miss"
    if not pixels:
        return f'<td class="{kind}">{"0" if label == answer and total else ""}</td>'
    text = f"{names[label]} → {names[answer]}: {pixels:,} of {total:,} pixels"
    style = f'class="{kind}" style="--share:{part:.3f}" title="{escape(text)}"'
    shown = percent(part)
    if label == answer:
        return f"<td {style}>{shown}</td>"
    button = (
        f'<button type="button" data-pair="{label}-{answer}" aria-label="{escape(text)}">{shown}</button>'
    )
    return f"<td {style}>{button}</td>"


def render_pairs(
    pairs: Sequence[Pair], matrix: Tensor, rows: Sequence[ImageRow], labels: Legend, links: dict[int, str]
) -> str:
    """The largest confusions; `links` are where an image is on the page, by its number."""
    totals = matrix.sum(dim=1).tolist()
    wrong = max(1, sum(pair.pixels for pair in pairs))
    cells = [
        [
            class_cell(pair.label, labels),
            class_cell(pair.prediction, labels),
            Cell(_pair_button(pair, labels), pair.pixels),
            share(pair.pixels / totals[pair.label]),
            share(pair.pixels / wrong),
            count(pair.images[0][1]),
            image_cell(rows[pair.images[0][0]], links),
        ]
        for pair in pairs[:PAIRS]
    ]
    caption = f"The {len(cells)} largest of {len(pairs):,} confusions"
    columns = ("true", "predicted", "pixels", "% of true", "% of errors", "most in one image", "that image")
    return render_table("pairs", caption, columns, cells)


def _pair_button(pair: Pair, labels: Legend) -> str:
    names = [show_class(labels.class_names[n]) for n in (pair.label, pair.prediction)]
    text = f"{pair.pixels:,} pixels of {names[0]} predicted as {names[1]}: show the images"
    return (
        f'<button type="button" data-pair="{pair.label}-{pair.prediction}" aria-label="{escape(text)}">'
        f"{pair.pixels:,}</button>"
    )


def image_cell(row: ImageRow, links: dict[int, str]) -> Cell:
    """The name of an image, as a link to where it is on the page."""
    text, value = escape(show_path(row.name)), show_path(row.name)
    return Cell(f'<a href="#{links[row.number]}">{text}</a>' if row.number in links else text, value)


def pair_data(
    pairs: Sequence[Pair], rows: Sequence[ImageRow], labels: Legend, links: dict[int, str]
) -> dict[str, Any]:
    """What the script shows of a pair of classes: its title, and [name, pixels, where it is on the page] of images.

    Of the pairs that have a button.
    """
    inside = set(choose_classes(pairs, len(labels.class_names), MOST_CLASSES))
    found, used = {}, set()
    for place, pair in enumerate(pairs):
        if place < PAIRS or {pair.label, pair.prediction} <= inside:
            label, answer = (show_class(labels.class_names[n]) for n in (pair.label, pair.prediction))
            title = f"{label} predicted as {answer}: {pair.pixels:,} pixels"
            found[f"{pair.label}-{pair.prediction}"] = {"title": title, "images": pair.images}
            used |= {image for image, _ in pair.images}
    names = {image: [show_path(rows[image].name), links.get(image, "")] for image in sorted(used)}
    return {"pairs": found, "images": names}
