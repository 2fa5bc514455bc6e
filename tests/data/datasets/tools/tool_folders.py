"""Small folders as annotation tools leave them, for the tests of the data sets that read them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segkit.registry import DATASETS

#: (H, W): powers of two, so that a whole pixel is a share of them without rounding.
SIZE = (32, 64)
Points = Sequence[Sequence[float]]


def save_image(path: Path, *, size: tuple[int, int] = SIZE, seed: int = 0, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def shape(label: str, points: Points, kind: str = "polygon", **more: Any) -> dict[str, Any]:
    """One shape as labelme 6 writes it."""
    return {
        "label": label,
        "points": [list(point) for point in points],
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
        **more,
    }


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def save_labelme(path: Path, shapes: Sequence[dict], *, image: str | None = None, **more: Any) -> Path:
    """A file of labelme 6 about the image of its own name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "version": "6.3.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": image or f"{path.stem}.png",
        "imageData": None,
        "imageHeight": SIZE[0],
        "imageWidth": SIZE[1],
    }
    path.write_text(json.dumps({**data, **more}), encoding="utf-8")
    return path


def save_yolo(path: Path, rows: Sequence[tuple[int, Points]], *, size: tuple[int, int] = SIZE) -> Path:
    """Polygons in pixels as a text file of shares, with as many digits as numbers have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        " ".join(
            [
                str(number),
                *(
                    repr(float(value / side))
                    for point in points
                    for value, side in zip(point, size[::-1], strict=True)
                ),
            ]
        )
        for number, points in rows
    ]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def build(name: str, root: Path, split: str = "train", **options: Any) -> Any:
    return DATASETS.get(name)(split, root=str(root), **options)


def read_ids(dataset: Any, index: int = 0) -> np.ndarray:
    return dataset.read(index).target
