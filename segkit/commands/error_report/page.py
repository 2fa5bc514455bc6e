"""The page of errors: the scores, where they are lost, and the images that show it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from segkit.commands.error_report.charts import render_calibration, render_distances, render_sizes
from segkit.commands.error_report.confusion import image_cell, pair_data, render_confusion, render_pairs
from segkit.commands.error_report.options import Rank
from segkit.commands.error_report.pictures import Example
from segkit.commands.error_report.places import PlaceCounts
from segkit.commands.error_report.rows import ImageRow, Pair, rank_worst
from segkit.commands.error_report.script import SCRIPT
from segkit.commands.error_report.style import STYLE
from segkit.commands.error_report.tables import Cell, class_cell, count, number, render_table, share, words
from segkit.commands.web_page import render_class, render_data, render_document, render_facts, render_image
from segkit.data.palette import Legend
from segkit.evaluation import metrics
from segkit.evaluation.evaluate import Evaluation
from segkit.system.console import percent
from segkit.system.markup import escape_html as escape
from segkit.system.printable import show_class, show_path

#: Rows of the table of images; of more images those with the lowest rank.
MOST_ROWS = 5000


@dataclass(frozen=True)
class Facts:
    """What the page says of where its numbers are from: the name of the run, rows of (what, value), the command."""

    name: str
    rows: Sequence[tuple[str, str]]
    command: str


def render_page(
    facts: Facts,
    result: Evaluation,
    places: PlaceCounts,
    images: Sequence[ImageRow],
    pairs: Sequence[Pair],
    examples: Iterable[Example],
    labels: Legend,
    *,
    rank: Rank,
) -> str:
    """The page of an evaluation with its calibration; the rest is what was found of its errors."""
    assert result.calibration is not None
    listed = rank_worst(images, rank)[:MOST_ROWS]
    sections, shown = _render_examples(examples, labels)
    links = {row.number: f"row-{row.number}" for row in listed} | shown
    calibration = result.calibration.scores()
    scores = (
        ("mIoU", percent(result.mean_iou)),
        ("accuracy", percent(metrics.accuracy(result.matrix))),
        ("cross-entropy", f"{result.ce:.4f}"),
        ("ECE", f"{100 * calibration.ece:.2f}"),
        ("images", f"{result.images:,}"),
    )
    tiles = "".join(f"<div><dt>{what}</dt><dd>{value}</dd></div>" for what, value in scores)
    legend = "".join(render_class(n, labels) for n in range(len(labels.class_names)))
    ignored = f'<li><i class="ignored"></i>ignored ({labels.ignore_index})</li>'
    chapters = {
        "Confusion": (
            f"{render_confusion(result.matrix, pairs, labels)}\n"
            '<div id="chosen" role="status" hidden></div>\n'
            f"{render_pairs(pairs, result.matrix, images, labels, links)}"
        ),
        "Classes": _render_classes(result, pairs, labels),
        "Worst images": (
            "<p>In the error map what is right is pale, and what is wrong has the colour of the predicted class. "
            "A click on a picture enlarges it.</p>\n"
            f'<details open><summary>Colours</summary><ul class="legend">{legend}{ignored}</ul></details>\n{sections}'
        ),
        "Size of objects": (
            "<p>Objects are pixels of one true class that touch at a side or a corner.</p>\n"
            f"{render_sizes(places, labels)}"
        ),
        "Distance to a border": (
            "<p>0 are the pixels of both sides, which have a pixel of another class beside them.</p>\n"
            f"{render_distances(places, labels)}"
        ),
        "Calibration": (
            "<p>Bars are accuracies; what they miss to the mean confidence of a bin, or have beyond it, is red. ECE is "
            "the mean of these gaps over the pixels.</p>\n"
            f"{render_calibration(calibration)}"
        ),
        "All images": (
            '<input type="search" id="find" placeholder="part of a name" aria-label="Find images by their names" '
            f"hidden>\n{_render_images(listed, len(images), labels, shown)}"
        ),
    }
    anchors = {title: f"part-{title.lower().replace(' ', '-')}" for title in chapters}
    menu = "".join(f'<li><a href="#{anchors[title]}">{title}</a></li>' for title in chapters)
    body = [
        f"<h1>Errors of {escape(facts.name)}</h1>",
        f'<dl class="scores">{tiles}</dl>',
        render_facts(facts.rows),
        f'<nav aria-label="Parts of the page"><ul>{menu}</ul></nav>',
        *(f'<h2 id="{anchors[title]}">{title}</h2>\n{part}' for title, part in chapters.items()),
        '<dialog id="large"><img alt=""><p></p><button type="button">close</button></dialog>',
        f"<footer>Made again with <code>{escape(facts.command)}</code></footer>",
        render_data("data", pair_data(pairs, images, labels, links)),
    ]
    return render_document(f"{facts.name}: errors", "\n".join(body), style=STYLE, script=SCRIPT)


def _render_classes(result: Evaluation, pairs: Sequence[Pair], labels: Legend) -> str:
    """A row per class, with the means that `evaluate` prints below."""
    matrix = result.matrix
    assert result.matrices is not None
    true, predicted = matrix.sum(dim=1).tolist(), matrix.sum(dim=0).tolist()
    total = max(1, sum(true))
    within = np.unique(np.stack([result.matrices.image, result.matrices.label]), axis=1)[1]
    in_images = np.bincount(within, minlength=len(true)).tolist()
    taken: dict[int, Pair] = {}
    for pair in pairs:  # the largest first
        taken.setdefault(pair.label, pair)
    scores = (metrics.iou(matrix), metrics.dice(matrix), metrics.class_accuracy(matrix))
    rows = []
    for each, (iou, dice, recall) in enumerate(zip(*scores, strict=True)):
        precision = int(matrix[each, each]) / predicted[each] if predicted[each] else float("nan")
        pair = taken.get(each)
        mistaken = [words(""), number(float("nan"), "")]
        if pair is not None:
            mistaken = [class_cell(pair.prediction, labels), share(pair.pixels / true[each])]
        rows.append(
            [
                class_cell(each, labels),
                *map(share, (iou, dice, recall, precision, true[each] / total)),
                count(in_images[each]),
                *mistaken,
            ]
        )
    means = (metrics.mean_iou(matrix), metrics.mean_dice(matrix), metrics.mean_class_accuracy(matrix))
    columns = (
        "class",
        "IoU",
        "Dice",
        "recall",
        "precision",
        "pixels %",
        "images",
        "most taken for",
        "% of it",
    )
    last = ("mean", *map(percent, means), "", "", "", "", "")
    return render_table("classes", "Scores of each class, in percent", columns, rows, last=last)


def _render_examples(examples: Iterable[Example], labels: Legend) -> tuple[str, dict[int, str]]:
    """The images one below the other, and where each is on the page, by its number."""
    parts, places = [], {}
    for example in examples:
        row = example.row
        places[row.number] = f"image-{row.number}"
        pictures = (
            ("image", example.image, False),
            ("label", example.label, True),
            ("prediction", example.prediction, True),
            ("errors", example.errors, True),
        )
        name = show_path(row.name)
        figures = "".join(
            f'<figure><button type="button" class="zoom">{render_image(picture, f"{name}: {what}", flat=flat)}</button>'
            f"<figcaption>{what}</figcaption></figure>"
            for what, picture, flat in pictures
        )
        facts = (
            f"mIoU {percent(row.mean_iou)}   wrong {percent(row.wrong)} %   ce {row.ce:.4f}   {example.size}"
        )
        most = _name_taken(row, labels)
        most = f"; most: {most}, {row.taken[2]:,} pixels" if row.taken else ""
        parts.append(
            f'<section id="{places[row.number]}"><h3>{escape(name)} <small>{escape(facts)}{escape(most)}</small></h3>'
            f'<div class="four">{figures}</div></section>'
        )
    return "\n".join(parts), places


def _render_images(listed: Sequence[ImageRow], total: int, labels: Legend, shown: dict[int, str]) -> str:
    rows = [
        [
            image_cell(row, shown),
            share(row.mean_iou),
            share(row.wrong),
            number(row.ce, f"{row.ce:.4f}"),
            count(row.pixels),
            words(_name_taken(row, labels)),
            Cell(f"{row.taken[2]:,}", row.taken[2]) if row.taken else number(float("nan"), ""),
        ]
        for row in listed
    ]
    which = f"The worst {len(listed):,} of {total:,} images" if len(listed) < total else f"{total:,} images"
    caption = f"{which}, the worst first; those with a link are shown above"
    columns = ("image", "mIoU", "wrong %", "ce", "pixels", "largest confusion", "its pixels")
    return render_table("images", caption, columns, rows, ids=[f"row-{row.number}" for row in listed])


def _name_taken(row: ImageRow, labels: Legend) -> str:
    if row.taken is None:
        return ""
    return " → ".join(show_class(labels.class_names[n]) for n in row.taken[:2])
