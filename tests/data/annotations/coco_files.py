"""Small COCO data sets for tests: objects of known pixels, written as polygons and run lengths."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (24, 32)
NAMES = ("cat", "dog", "tree")


def image_entry(number: int, name: str | None = None, size: Sequence[int] = SIZE) -> dict[str, Any]:
    """An entry of `images`, with the id `number`."""
    return {"id": number, "file_name": name or f"{number}.png", "height": size[0], "width": size[1]}


def box(x: float, y: float, far_x: float, far_y: float) -> list[float]:
    """The polygon of a rectangle."""
    return [x, y, far_x, y, far_x, far_y, x, far_y]


def annotation(image: int, category: int, segmentation: Any, **others: Any) -> dict[str, Any]:
    """An entry of `annotations`."""
    return {"id": 100, "image_id": image, "category_id": category, "segmentation": segmentation, **others}


def coco(images: Sequence[Any], annotations: Sequence[Any], names: Sequence[str] = NAMES) -> dict[str, Any]:
    """What a file holds; the categories have the ids 1, 2, ..."""
    categories = [{"id": n, "name": name, "supercategory": "thing"} for n, name in enumerate(names, 1)]
    return {"info": {}, "images": list(images), "annotations": list(annotations), "categories": categories}


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def save_image(path: Path, size: Sequence[int] = SIZE, **options: Any) -> Path:
    """A picture of noise, the same for every path of one name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(list(path.name.encode()))
    Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path, **options)
    return path


def runs_of(mask: np.ndarray) -> list[int]:
    """The runs of a mask (H, W), down the columns, outside first."""
    pixels = np.concatenate([[False], mask.T.reshape(-1)])
    ends = [0, *np.flatnonzero(np.diff(pixels)).tolist(), mask.size]
    return np.diff(ends).tolist()


def write_small(root: Path) -> Path:
    """Two images to train on and one to validate, with a cat, a dog that overlaps it, and a crowd of trees."""
    trees = np.zeros(SIZE, dtype=bool)
    trees[18:, ::2] = True
    runs = {"size": list(SIZE), "counts": runs_of(trees)}
    for part, numbers in (("train", (1, 2)), ("val", (3,))):
        found = []
        for n in numbers:
            save_image(root / part / f"{n}.png")
            found += [
                annotation(n, 1, [box(2, 2, 12, 12)]),
                annotation(n, 2, [box(8, 4, 10, 10), box(20, 4, 24, 6)]),
                annotation(n, 3, runs, iscrowd=1),
            ]
        write_json(root / f"{part}.json", coco([image_entry(n) for n in numbers], found))
    return root


def small_target() -> np.ndarray:
    """What is drawn on each of these images: 0 background, 1 cat, 2 dog, 3 tree."""
    target = np.zeros(SIZE, dtype=np.uint8)
    target[2:12, 2:12] = 1
    target[4:10, 8:10] = target[4:6, 20:24] = 2
    target[18:, ::2] = 3
    return target
