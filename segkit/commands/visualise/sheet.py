"""contact_sheet.jpg: a row per image with its label, its weights and what training makes of it."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from segkit.commands.visualise.drawing import (
    draw_image,
    draw_label,
    draw_overlay,
    draw_weight,
    find_classes,
    highest_weight,
)
from segkit.commands.visualise.samples import Shown, View
from segkit.data.palette import Legend
from segkit.evaluation.canvas import GAP
from segkit.evaluation.fonts import drawable, text_width, write
from segkit.system.printable import show_class, show_name

#: Pixels of the longer side of a picture; of small pictures, which grow by whole factors, it may be less.
BOX = 256
TEXT = 15
LINE = 22
MARGIN = 12
#: Classes in the legend, which is for the few; the page has them all.
MOST_CLASSES = 60


def draw_sheet(shown: Sequence[Shown], labels: Legend, *, heading: str) -> Tensor:
    """The whole sheet as a picture (3, H, W)."""
    top = highest_weight(shown)
    rows = [_draw_row(item, labels, top) for item in shown]
    least = round(text_width(heading, size=TEXT)) + 1
    width = max(least, *(row.shape[2] for row in rows))
    parts = [
        _write([heading], width),
        _draw_legend(shown, labels, width),
        *(_widen(row, width) for row in rows),
    ]
    sheet = torch.cat(parts, dim=1)
    return _surround(sheet, MARGIN)


def _draw_row(item: Shown, labels: Legend, top: float) -> Tensor:
    cells = [
        ("image", draw_image(item.original, BOX)),
        ("label", draw_label(item.original, labels, BOX)),
        *_weight_cell("weight map", item.original, top),
    ]
    for epoch, view in item.augmented.items():
        cells.append((f"epoch {epoch}", draw_overlay(view, labels, BOX)))
        cells += _weight_cell(f"weights, epoch {epoch}", view, top)
    height = max(picture.shape[1] for _, picture in cells)
    columns = [_draw_cell(title, picture, height) for title, picture in cells]
    gap = torch.full((3, columns[0].shape[1], 2 * GAP), 255, dtype=torch.uint8)
    row = torch.cat([piece for column in columns for piece in (column, gap)][:-1], dim=2)
    return torch.cat(
        [_write([f"{show_name(item.name)}   {item.original.size}"], row.shape[2], bold=True), row], dim=1
    )


def _weight_cell(title: str, view: View, top: float) -> list[tuple[str, Tensor]]:
    if view.weight is None:
        return []
    return [(f"{title}, {view.weight.min():.3g} to {view.weight.max():.3g}", draw_weight(view, BOX, top=top))]


def _draw_cell(title: str, picture: Tensor, height: int) -> Tensor:
    """A picture on a white cell of that height, under its title, which the cell is wide enough for."""
    width = max(picture.shape[2], round(text_width(title, size=TEXT)) + 4)
    cell = torch.full((3, height, width), 255, dtype=torch.uint8)
    cell[:, : picture.shape[1], : picture.shape[2]] = picture
    return torch.cat([_write([title], width), cell], dim=1)


def _draw_legend(shown: Sequence[Shown], labels: Legend, width: int) -> Tensor:
    """The colours of the classes that occur, in as many lines as they need."""
    names = drawable([show_class(name) for name in labels.class_names])
    found = find_classes(shown, len(names))
    entries = [(names[n], tuple(labels.palette[n])) for n in found[:MOST_CLASSES]]
    entries += [("ignored: hatched", None)]
    if len(found) > MOST_CLASSES:
        entries += [(f"and {len(found) - MOST_CLASSES} more classes", "white")]
    places, left, line = [], 0, 0
    for name, _ in entries:
        space = TEXT + 6 + round(text_width(name, size=TEXT)) + 18
        if left + space > width and left:
            left, line = 0, line + 1
        places.append((left, line * LINE))
        left += space
    band = Image.new("RGB", (width, (line + 1) * LINE), "white")
    draw = ImageDraw.Draw(band)
    for (name, color), (x, y) in zip(entries, places, strict=True):
        draw.rectangle((x, y + 2, x + TEXT, y + 2 + TEXT), fill=color or "#c0c0c0", outline="black")
        if color is None:
            draw.line((x, y + 2 + TEXT, x + TEXT, y + 2), fill="#707070", width=3)
        write(draw, (x + TEXT + 6, y), name, size=TEXT)
    return _to_tensor(band)


def _write(lines: Sequence[str], width: int, *, bold: bool = False) -> Tensor:
    band = Image.new("RGB", (width, len(lines) * LINE + (8 if bold else 0)), "white")
    draw = ImageDraw.Draw(band)
    for number, line in enumerate(lines):
        place = (0, number * LINE + (8 if bold else 0))
        write(draw, place, line, size=TEXT)
    return _to_tensor(band)


def _widen(row: Tensor, width: int) -> Tensor:
    canvas = torch.full((3, row.shape[1], width), 255, dtype=torch.uint8)
    canvas[:, :, : row.shape[2]] = row
    return canvas


def _surround(picture: Tensor, margin: int) -> Tensor:
    return torch.nn.functional.pad(picture, [margin] * 4, value=255)


def _to_tensor(band: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(band)).permute(2, 0, 1)
