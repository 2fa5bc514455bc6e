"""Pictures of what the network saw, answered and learned from. All take and return uint8 (3, H, W) tensors."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.utils import make_grid

from segkit.data.palette import Color
from segkit.evaluation import painting
from segkit.evaluation.fonts import drawable, text_width, write
from segkit.evaluation.panels import Panel
from segkit.system.files import write_bytes
from segkit.system.printable import show_class, show_name

GAP = 3  # pixels between pictures
READABLE = 160  # pixels of width below which a picture is enlarged
WHITE_CE = 4.0  # cross-entropy shown as white: a true class of probability 2 %
ROWS_AT_ONCE = 64  # of a picture, where numbers of more than a byte are computed for its pixels
HEADING = 14  # pixels of a line of titles
ALL_NAMED = 24  # classes up to which a legend has all of them, also those that do not occur
MOST_NAMED = 48  # classes in a legend


def as_rgb(image: Tensor) -> Tensor:
    """A uint8 image (1 or 3, H, W), or the first three channels of a wider one, as RGB (3, H, W)."""
    image = image.cpu()
    return image[:3] if image.shape[0] >= 3 else image[:1].expand(3, -1, -1)


def color_ids(ids: Tensor, palette: Sequence[Color], ignore_index: int) -> Tensor:
    """Class ids (H, W) as colours; ignored pixels hatched, so that they look like no class."""
    return torch.from_numpy(painting.color_ids(ids.cpu().numpy(), palette, ignore_index))


def heat(values: Tensor) -> Tensor:
    """Values in [0, 1] (H, W) from black over red to yellow and white: the maximum stands out."""
    values = values.detach().float().cpu().clamp(0, 1)
    channels = [(values * 3 - start).clamp(0, 1) for start in range(3)]
    return (torch.stack(channels) * 255).to(torch.uint8)


def kept_over(image: Tensor, kept: Tensor) -> Tensor:
    """The image in dark grey with the pixels the loss keeps in yellow, as strongly as they are kept."""
    share = kept.detach().float().cpu().numpy()
    return torch.from_numpy(painting.kept_over(image.cpu().numpy(), share))


def overlay(image: Tensor, ids: Tensor, palette: Sequence[Color], ignore_index: int) -> Tensor:
    """Class ids (H, W) as colours through which the image shines in grey; ignored pixels hatched."""
    grey = as_rgb(image).float().mean(dim=0, keepdim=True).expand(3, -1, -1)
    return (0.45 * grey + 0.55 * color_ids(ids, palette, ignore_index)).to(torch.uint8)


def mix_with_colors(image: Tensor, ids: Tensor, palette: Sequence[Color], *, opacity: float) -> Tensor:
    """A uint8 image (C, H, W) under the colours of its class ids (H, W), each in [0, len(palette)).

    `opacity` in [0, 1] is the share of the colours. Whatever the number of classes, only the result is in memory at the
    image's size: a photograph has millions of pixels.
    """
    rgb = as_rgb(image)
    picture = torch.empty_like(rgb, memory_format=torch.contiguous_format)
    for start in range(0, rgb.shape[1], ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        colors = torch.from_numpy(painting.colorize(ids[rows].cpu().numpy(), palette))  # (3, R, W)
        picture[:, rows] = (rgb[:, rows] * (1 - opacity) + colors * opacity).to(torch.uint8)
    return picture


def errors_over(image: Tensor, target: Tensor, prediction: Tensor, ignore_index: int) -> Tensor:
    """The image in dark grey with wrongly predicted valid pixels in red."""
    ids = target.cpu().numpy(), prediction.cpu().numpy()
    return torch.from_numpy(painting.errors_over(image.cpu().numpy(), *ids, ignore_index))


def panel_row(panel: Panel, palette: Sequence[Color], ignore_index: int, *, most: int = 512) -> Tensor:
    """One example side by side: image | label | prediction | errors | cross-entropy | kept pixels (where the loss
    tells). Panels wider or higher than `most` pixels are reduced."""
    parts = {
        "image": as_rgb(panel["image"]),
        "label": color_ids(panel["target"], palette, ignore_index),
        "prediction": color_ids(panel["prediction"], palette, ignore_index),
        "errors": errors_over(panel["image"], panel["target"], panel["prediction"], ignore_index),
        f"ce, white from {WHITE_CE:g}": heat(panel["ce"] / WHITE_CE),
    }
    if panel["kept"] is not None:
        parts["kept"] = kept_over(panel["image"], panel["kept"])
    factor = -(-max(panel["image"].shape[-2:]) // most)  # every pixel is shown, or each n-th
    return titled([part[:, ::factor, ::factor] for part in parts.values()], list(parts))


def beside(parts: Sequence[Tensor]) -> Tensor:
    """Pictures of equal height in one row, with a white gap between them."""
    height = parts[0].shape[1]
    gap = torch.full((3, height, GAP), 255, dtype=torch.uint8)
    row = [piece for part in parts for piece in (part, gap)][:-1]
    return torch.cat(row, dim=2)


def stack(rows: Sequence[Tensor], *, columns: int = 1) -> Tensor:
    """Rows of pictures in a grid; smaller ones are padded with white to the size of the largest."""
    height, width = (max(row.shape[axis] for row in rows) for axis in (1, 2))
    padded = []
    for row in rows:
        canvas = torch.full((3, height, width), 255, dtype=torch.uint8)
        canvas[:, : row.shape[1], : row.shape[2]] = row
        padded.append(canvas)
    return make_grid(torch.stack(padded), nrow=columns, padding=GAP, pad_value=255)


def titled(parts: Sequence[Tensor], titles: Sequence[str]) -> Tensor:
    """Pictures of equal size in one row, small ones enlarged by a whole factor, each under its title on one line."""
    factor = -(-READABLE // parts[0].shape[2])
    parts = [part.repeat_interleave(factor, 1).repeat_interleave(factor, 2) for part in parts]
    row, width = beside(parts), parts[0].shape[2]
    band = Image.new("RGB", (row.shape[2], HEADING), "white")
    draw = ImageDraw.Draw(band)
    for number, title in enumerate(titles):
        write(draw, (number * (width + GAP) + 2, 1), show_name(title))
    heading = torch.from_numpy(np.array(band)).permute(2, 0, 1)
    return torch.cat([heading, row], dim=1)


def legend(
    class_names: Sequence[str],
    palette: Sequence[Color],
    *,
    width: int,
    pixels: Tensor | None = None,
    highest: int | None = None,
) -> Tensor:
    """The colours of the classes with their names, in as many lines as `width` pixels need.

    Of more than `ALL_NAMED` classes only those that occur, which `pixels` (C,) counts, and of these at most
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
    return torch.from_numpy(np.array(band)).permute(2, 0, 1)


def count_ids(ids: Iterable[Tensor], num_classes: int) -> Tensor:
    """Pixels of each class (C,) in label images (H, W); other ids are not counted."""
    pixels = torch.zeros(num_classes, dtype=torch.long)
    for image in ids:
        known = image.cpu().long().flatten()
        known = known[(known >= 0) & (known < num_classes)]
        pixels += torch.bincount(known, minlength=num_classes)
    return pixels


Entry = tuple[int | None, str]


def _choose_entries(
    class_names: Sequence[str], width: int, pixels: Tensor | None, highest: int | None
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


def training_batch(
    batch: Mapping[str, Any], palette: Sequence[Color], ignore_index: int, *, most: int = 8
) -> Tensor:
    """What the network sees of a training batch: image | label | weight map (as a share of its maximum)."""
    weights = batch.get("weight")
    rows = []
    for n, image in enumerate(batch["image"][:most]):
        parts = [as_rgb(image), color_ids(batch["target"][n], palette, ignore_index)]
        if weights is not None:
            parts.append(heat(weights[n] / weights.max().clamp(min=1e-12)))
        rows.append(titled(parts, ["image", "label", "weight map"][: len(parts)]))
    return stack(rows, columns=2)


def moments(pictures: Sequence[tuple[str, Tensor]]) -> Tensor:
    """Pictures below each other, each under its own caption."""
    parts = []
    for caption, picture in pictures:
        band = Image.new("RGB", (picture.shape[2], 2 * HEADING), "white")
        write(ImageDraw.Draw(band), (4, HEADING // 2), show_name(caption))
        parts += [torch.from_numpy(np.array(band)).permute(2, 0, 1), picture]
    width = max(part.shape[2] for part in parts)
    canvas = torch.full((3, sum(part.shape[1] for part in parts), width), 255, dtype=torch.uint8)
    top = 0
    for part in parts:
        canvas[:, top : top + part.shape[1], : part.shape[2]] = part
        top += part.shape[1]
    return canvas


def read_jpeg(path: Path) -> Tensor:
    """A picture written by `save_jpeg`, uint8 (3, H, W)."""
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def save_jpeg(picture: Tensor, path: Path, *, quality: int = 92) -> None:
    """Write a uint8 picture (3, H, W). Raises CannotWrite."""
    save_image(Image.fromarray(picture.permute(1, 2, 0).numpy()), path, quality=quality)


def save_image(image: Image.Image, path: Path, *, durable: bool = True, **options: Any) -> None:
    """Write an image as a whole or not at all, in the format that the ending of `path` names; `options` are Pillow's,
    `durable` is that of `write_atomically`. Raises CannotWrite."""
    content = io.BytesIO()
    image.save(content, format=Image.registered_extensions()[path.suffix], **options)
    write_bytes(path, content.getvalue(), durable=durable)
