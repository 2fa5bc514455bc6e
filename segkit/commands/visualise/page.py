"""index.html: one page with the pictures inside it, for a screen or a phone."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from segkit.commands.visualise.drawing import (
    draw_image,
    draw_label,
    draw_overlay,
    draw_weight,
    find_classes,
    highest_weight,
)
from segkit.commands.visualise.samples import Shown, Step, View
from segkit.commands.visualise.style import STYLE
from segkit.commands.web_page import render_class, render_document, render_facts, render_figure
from segkit.data.palette import Legend
from segkit.system.markup import escape_html as escape
from segkit.system.printable import show_path

#: Pixels of the longer side of a picture of a sample, and of a single transform.
BOX, SMALL_BOX = 480, 320


@dataclass(frozen=True)
class Facts:
    """What the page says before the pictures: the configuration's name, rows of (what, value), and the command."""

    name: str
    rows: Sequence[tuple[str, str]]
    command: str


def render_page(
    facts: Facts, shown: Sequence[Shown], steps: Sequence[Step], example: Shown, labels: Legend
) -> str:
    """The page. `steps` were tried on `example`, one of the images."""
    top = highest_weight(shown)
    parts = [
        f"<h1>{escape(facts.name)}</h1>",
        render_facts(facts.rows),
        _render_legend(shown, labels, top),
        "<h2>What training sees</h2>" if any(item.augmented for item in shown) else "<h2>The images</h2>",
        *(_render_sample(item, labels, top) for item in shown),
    ]
    if steps:
        name = escape(show_path(example.name))
        parts += [
            "<h2>What each transform does alone</h2>",
            f"<p>On {name}, in the order of the configuration; in colours where labels move too.</p>",
            *(
                _render_step(number, step, example.original, labels)
                for number, step in enumerate(steps, start=1)
            ),
        ]
    parts.append(f"<footer>Made again with <code>{escape(facts.command)}</code></footer>")
    return render_document(f"{facts.name}: what training sees", "\n".join(parts), style=STYLE)


def _render_legend(shown: Sequence[Shown], labels: Legend, top: float) -> str:
    """The classes in the images, the scale of the weights up to `top`, and behind a fold the other classes."""
    found = find_classes(shown, len(labels.class_names))
    others = [n for n in range(len(labels.class_names)) if n not in found]
    ignored = f'<li><i class="ignored"></i>ignored ({labels.ignore_index})</li>'
    scale = f'<li><i class="scale"></i>weights 0 to {top:.3g}</li>' if top else ""
    legend = f'<ul class="legend">{"".join(render_class(n, labels) for n in found)}{ignored}{scale}</ul>'
    if not others:
        return legend
    hidden = "".join(render_class(n, labels) for n in others)
    summary = f"{len(others)} more class{'es' * (len(others) != 1)}, not in these images"
    return f'{legend}\n<details><summary>{summary}</summary><ul class="legend">{hidden}</ul></details>'


def _render_sample(item: Shown, labels: Legend, top: float) -> str:
    original = [
        render_figure(draw_image(item.original, BOX), "image"),
        render_figure(draw_label(item.original, labels, BOX), "label", flat=True),
        *_weight_figure(item.original, "weight map", top),
    ]
    groups = [_group("as it is", item.original.size, original)]
    for epoch, view in item.augmented.items():
        figures = [
            render_figure(draw_image(view, BOX), "image"),
            render_figure(draw_overlay(view, labels, BOX), "label over image"),
            *_weight_figure(view, "weights", top),
        ]
        groups.append(_group(f"in epoch {epoch}", view.size, figures))
    heading = f"<h3>{escape(show_path(item.name))} <small>image {item.index}</small></h3>"
    rows = 1 + len(original)  # the heading, and as many pictures in every column
    return f'<section>{heading}<div class="groups" style="--rows:{rows}">{"".join(groups)}</div></section>'


def _render_step(number: int, step: Step, before: View, labels: Legend) -> str:
    def draw(view: View) -> Tensor:
        return draw_overlay(view, labels, SMALL_BOX) if step.moves else draw_image(view, SMALL_BOX)

    figures = [render_figure(draw(before), f"before, {before.size}")]
    figures += [
        render_figure(draw(view), f"draw {n}, {view.size}") for n, view in enumerate(step.draws, start=1)
    ]
    note = "" if step.draws else "<p>It changes nothing with these options.</p>"
    strip = f'<div class="strip">{"".join(figures)}</div>' if step.draws else ""
    options = f" <code>{escape(step.options)}</code>" if step.options else ""
    return f"<section><h3>{number}. {escape(step.title)}{options}</h3>{note}{strip}</section>"


def _weight_figure(view: View, title: str, top: float) -> list[str]:
    if view.weight is None:
        return []
    low, high = view.weight.min().item(), view.weight.max().item()
    return [render_figure(draw_weight(view, BOX, top=top), f"{title}, {low:.3g} to {high:.3g}")]


def _group(title: str, size: str, figures: Sequence[str]) -> str:
    return f'<div class="group"><h4>{title} <small>{size}</small></h4>{"".join(figures)}</div>'
