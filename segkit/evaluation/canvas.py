"""Pictures in arrays, uint8 (3, H, W): what is painted over an image, side by side, with titles and a legend.

Without torch, for the check of a folder and for reports of finished runs.
"""

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from segkit.data.palette import IGNORE_COLOR, Color
from segkit.evaluation.fonts import drawable, text_width, write
from segkit.system.files import write_bytes
from segkit.system.printable import show_class, show_name

GAP = 3  # pixels between pictures
READABLE = 160  # pixels of width below which a picture is enlarged
HEADING = 14  # pixels of a line of titles
ALL_NAMED = 24  # classes up to which a legend has all of them, also those that do not occur
MOST_NAMED = 48  # classes in a legend
DARK = 0.55  # of an image over which something bright is painted
KEPT = 0.85  # of the yellow in a pixel that is kept entirely
YELLOW = (255.0, 214.0, 0.0)
RED = (230.0, 30.0, 40.0)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """A uint8 image (1 or 3, H, W), or the first three channels of a wider one, as RGB (3, H, W)."""
    return image[:3] if len(image) >= 3 else np.broadcast_to(image[:1], (3, *image.shape[1:]))


def colorize(
    ids: np.ndarray,
    colors: Sequence[Color],
    *,
    ignore_index: int | None = None,
    ignore_color: Color = IGNORE_COLOR,
) -> np.ndarray:
    """Paint class ids: integers (..., H, W) -> uint8 (..., 3, H, W).

    `ignore_index` and every id outside `colors` get `ignore_color`.
    """
    unknown = len(colors)
    table = np.array([*colors, ignore_color], dtype=np.uint8)  # (C + 1, 3)
    ids = ids.astype(np.int64)
    known = (ids >= 0) & (ids < unknown)
    if ignore_index is not None:
        known &= ids != ignore_index
    painted = table[np.where(known, ids, unknown)]  # (..., H, W, 3)
    return np.moveaxis(painted, -1, -3)


def color_ids(ids: np.ndarray, palette: Sequence[Color], ignore_index: int) -> np.ndarray:
    """Class ids (H, W) as colours; ignored pixels hatched, so that they look like no class."""
    picture = np.ascontiguousarray(colorize(ids, palette, ignore_index=ignore_index))  # (3, H, W)
    ignored = ids == ignore_index
    if ignored.any():
        rows, columns = np.indices(ids.shape, sparse=True)
        stripe = ((rows + columns) % 8 < 4).astype(np.uint8) * 70 + 150  # (H, W) two greys
        picture[:, ignored] = stripe[ignored]
    return picture


def overlay(image: np.ndarray, ids: np.ndarray, palette: Sequence[Color], ignore_index: int) -> np.ndarray:
    """Class ids (H, W) as colours through which the image shines in grey; ignored pixels hatched."""
    grey = as_rgb(image).mean(axis=0, dtype=np.float32)
    colors = color_ids(ids, palette, ignore_index).astype(np.float32)
    return (0.45 * grey + 0.55 * colors).astype(np.uint8)


def kept_over(image: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The image (C, H, W) in dark grey with the pixels the loss keeps in yellow, as strongly as they are kept (H, W):
    floats in [0, 1]. uint8 (3, H, W)."""
    share = kept.astype(np.float32).clip(0, 1)[None]
    yellow = np.array(YELLOW, dtype=np.float32)[:, None, None]
    return (_dark_grey(image) * (1 - KEPT * share) + yellow * KEPT * share).astype(np.uint8)


def errors_over(
    image: np.ndarray, target: np.ndarray, prediction: np.ndarray, ignore_index: int
) -> np.ndarray:
    """The image (C, H, W) in dark grey with wrongly predicted valid pixels in red: uint8 (3, H, W)."""
    target, prediction = target.astype(np.int64), prediction.astype(np.int64)  # (H, W) each
    wrong = (target != prediction) & (target != ignore_index)
    picture = np.repeat(_dark_grey(image), 3, axis=0)
    picture[:, wrong] = np.array(RED, dtype=np.float32)[:, None]
    return picture.astype(np.uint8)


def _dark_grey(image: np.ndarray) -> np.ndarray:
    """float32 (1, H, W)."""
    return as_rgb(image).mean(axis=0, dtype=np.float32, keepdims=True) * np.float32(DARK)


def beside(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of equal height in one row, with a white gap between them."""
    gap = np.full((3, parts[0].shape[1], GAP), 255, dtype=np.uint8)
    row = [piece for part in parts for piece in (part, gap)][:-1]
    return np.concatenate(row, axis=2)


def stack(rows: Sequence[np.ndarray], *, columns: int = 1) -> np.ndarray:
    """Rows of pictures in a grid with a white frame; smaller ones are padded with white to the size of the largest. One
    alone has no frame."""
    height, width = (max(row.shape[axis] for row in rows) for axis in (1, 2))
    if len(rows) == 1:
        return rows[0].copy()
    columns = min(columns, len(rows))
    lines = -(-len(rows) // columns)
    grid = np.full((3, lines * (height + GAP) + GAP, columns * (width + GAP) + GAP), 255, dtype=np.uint8)
    for number, row in enumerate(rows):
        top, left = (
            place * (side + GAP) + GAP
            for place, side in zip(divmod(number, columns), (height, width), strict=True)
        )
        grid[:, top : top + row.shape[1], left : left + row.shape[2]] = row
    return grid


def titled(parts: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Pictures of equal size in one row, small ones enlarged by a whole factor, each under its title on one line."""
    factor = -(-READABLE // parts[0].shape[2])
    parts = [part.repeat(factor, axis=1).repeat(factor, axis=2) for part in parts]
    row, width = beside(parts), parts[0].shape[2]
    band = Image.new("RGB", (row.shape[2], HEADING), "white")
    draw = ImageDraw.Draw(band)
    for number, title in enumerate(titles):
        write(draw, (number * (width + GAP) + 2, 1), show_name(title))
    return np.concatenate([_as_array(band), row], axis=1)


def legend(
    class_names: Sequence[str],
    palette: Sequence[Color],
    *,
    width: int,
    pixels: Sequence[int] | None = None,
    highest: int | None = None,
) -> np.ndarray:
    """The colours of the classes with their names, in as many lines as `width` pixels need.

    Of more than `ALL_NAMED` classes only those that occur, which `pixels` counts by class, and of these at most
    `MOST_NAMED`, the most frequent; still fewer where they would be higher than `highest` pixels. Then the last entry
    says how many are left out.
    """
    entries, places = _choose_entries(class_names, width, pixels, highest)
    band = Image.new("RGB", (width, (places[-1][1] if places else 0) + HEADING + 5), "white")
    draw = ImageDraw.Draw(band)
    for (number, name), (x, y) in zip(entries, places, strict=True):
        if number is not None:
            box = (x, y, x + HEADING - 2, y + HEADING - 2)
            draw.rectangle(box, fill=tuple(palette[number]), outline="black")
        write(draw, (x + HEADING + 4 if number is not None else x, y), name)
    return _as_array(band)


def count_ids(ids: Iterable[np.ndarray], num_classes: int) -> np.ndarray:
    """Pixels of each class (C,) in label images (H, W); other ids are not counted."""
    pixels = np.zeros(num_classes, dtype=np.int64)
    for image in ids:
        known = image[(image >= 0) & (image < num_classes)]
        pixels += np.bincount(known, minlength=num_classes)
    return pixels


Entry = tuple[int | None, str]


def _choose_entries(
    class_names: Sequence[str], width: int, pixels: Sequence[int] | None, highest: int | None
) -> tuple[list[Entry], list[tuple[int, int]]]:
    """Classes and their names, in the order of their ids, and behind them how many are left out; and their places."""
    names = drawable([show_class(name) for name in class_names])
    order = list(range(len(names)))
    if pixels is not None and len(names) > ALL_NAMED:
        order = sorted((n for n in order if pixels[n]), key=lambda n: -int(pixels[n]))
    count = len(order) if len(names) <= ALL_NAMED else min(len(order), MOST_NAMED)
    while True:
        entries: list[Entry] = [(n, names[n]) for n in sorted(order[:count])]
        if count < len(order):
            entries.append((None, f"and {len(order) - count} more"))
        places = _place([name for _, name in entries], width)
        if count <= 1 or highest is None or places[-1][1] + HEADING + 5 <= highest:
            return entries, places
        count -= 1


def _place(names: Sequence[str], width: int) -> list[tuple[int, int]]:
    """The upper left corners of the entries of a legend."""
    places, left, line = [], 4, 0
    for name in names:
        space = HEADING + 4 + math.ceil(text_width(name)) + 12
        if left + space > width and left > 4:
            left, line = 4, line + 1
        places.append((left, line * (HEADING + 4) + 3))
        left += space
    return places


def _as_array(image: Image.Image) -> np.ndarray:
    return np.array(image).transpose(2, 0, 1)


def save_jpeg(picture: np.ndarray, path: Path, *, quality: int = 92) -> None:
    """Write a uint8 picture (3, H, W). Raises CannotWrite."""
    save_image(Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))), path, quality=quality)


def save_image(image: Image.Image, path: Path, *, durable: bool = True, **options: Any) -> None:
    """Write an image as a whole or not at all, in the format that the ending of `path` names; `options` are Pillow's,
    `durable` is that of `write_atomically`. Raises CannotWrite."""
    content = io.BytesIO()
    image.save(content, format=Image.registered_extensions()[path.suffix], **options)
    write_bytes(path, content.getvalue(), durable=durable)
