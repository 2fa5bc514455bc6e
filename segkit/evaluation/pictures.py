"""Pictures of what the network saw, answered and learned from. All take and return uint8 (3, H, W) tensors."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from segkit.data.palette import Color
from segkit.evaluation import canvas
from segkit.evaluation.canvas import HEADING
from segkit.evaluation.fonts import write
from segkit.evaluation.panels import Panel
from segkit.system.printable import show_name

WHITE_CE = 4.0  # cross-entropy shown as white: a true class of probability 2 %
ROWS_AT_ONCE = 64  # of a picture, where numbers of more than a byte are computed for its pixels


def as_rgb(image: Tensor) -> Tensor:
    """A uint8 image (1 or 3, H, W), or the first three channels of a wider one, as RGB (3, H, W)."""
    image = image.cpu()
    return image[:3] if image.shape[0] >= 3 else image[:1].expand(3, -1, -1)


def color_ids(ids: Tensor, palette: Sequence[Color], ignore_index: int) -> Tensor:
    """Class ids (H, W) as colours; ignored pixels hatched, so that they look like no class."""
    return torch.from_numpy(canvas.color_ids(ids.cpu().numpy(), palette, ignore_index))


def heat(values: Tensor) -> Tensor:
    """Values in [0, 1] (H, W) from black over red to yellow and white: the maximum stands out."""
    values = values.detach().float().cpu().clamp(0, 1)
    channels = [(values * 3 - start).clamp(0, 1) for start in range(3)]
    return (torch.stack(channels) * 255).to(torch.uint8)


def kept_over(image: Tensor, kept: Tensor) -> Tensor:
    """The image in dark grey with the pixels the loss keeps in yellow, as strongly as they are kept."""
    share = kept.detach().float().cpu().numpy()
    return torch.from_numpy(canvas.kept_over(image.cpu().numpy(), share))


def overlay(image: Tensor, ids: Tensor, palette: Sequence[Color], ignore_index: int) -> Tensor:
    """Class ids (H, W) as colours through which the image shines in grey; ignored pixels hatched."""
    return torch.from_numpy(canvas.overlay(image.cpu().numpy(), ids.cpu().numpy(), palette, ignore_index))


def mix_with_colors(image: Tensor, ids: Tensor, palette: Sequence[Color], *, opacity: float) -> Tensor:
    """A uint8 image (C, H, W) under the colours of its class ids (H, W), each in [0, len(palette)).

    `opacity` in [0, 1] is the share of the colours. Whatever the number of classes, only the result is in memory at the
    image's size: a photograph has millions of pixels.
    """
    rgb = as_rgb(image)
    picture = torch.empty_like(rgb, memory_format=torch.contiguous_format)
    for start in range(0, rgb.shape[1], ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        colors = torch.from_numpy(canvas.colorize(ids[rows].cpu().numpy(), palette))  # (3, R, W)
        picture[:, rows] = (rgb[:, rows] * (1 - opacity) + colors * opacity).to(torch.uint8)
    return picture


def errors_over(image: Tensor, target: Tensor, prediction: Tensor, ignore_index: int) -> Tensor:
    """The image in dark grey with wrongly predicted valid pixels in red."""
    ids = target.cpu().numpy(), prediction.cpu().numpy()
    return torch.from_numpy(canvas.errors_over(image.cpu().numpy(), *ids, ignore_index))


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
    return torch.from_numpy(canvas.beside(_arrays(parts)))


def stack(rows: Sequence[Tensor], *, columns: int = 1) -> Tensor:
    """Rows of pictures in a grid; smaller ones are padded with white to the size of the largest."""
    return torch.from_numpy(canvas.stack(_arrays(rows), columns=columns))


def titled(parts: Sequence[Tensor], titles: Sequence[str]) -> Tensor:
    """Pictures of equal size in one row, small ones enlarged by a whole factor, each under its title on one line."""
    return torch.from_numpy(canvas.titled(_arrays(parts), titles))


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
    counts = None if pixels is None else pixels.tolist()
    return torch.from_numpy(canvas.legend(class_names, palette, width=width, pixels=counts, highest=highest))


def count_ids(ids: Iterable[Tensor], num_classes: int) -> Tensor:
    """Pixels of each class (C,) in label images (H, W); other ids are not counted."""
    return torch.from_numpy(canvas.count_ids(_arrays(image.long() for image in ids), num_classes))


def _arrays(tensors: Iterable[Tensor]) -> list[np.ndarray]:
    return [tensor.cpu().numpy() for tensor in tensors]


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
    whole = torch.full((3, sum(part.shape[1] for part in parts), width), 255, dtype=torch.uint8)
    top = 0
    for part in parts:
        whole[:, top : top + part.shape[1], : part.shape[2]] = part
        top += part.shape[1]
    return whole


def read_jpeg(path: Path) -> Tensor:
    """A picture written by `save_jpeg`, uint8 (3, H, W)."""
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def save_jpeg(picture: Tensor, path: Path, *, quality: int = 92) -> None:
    """Write a uint8 picture (3, H, W). Raises CannotWrite."""
    canvas.save_jpeg(picture.cpu().numpy(), path, quality=quality)
