"""What the segmentation of an annotation covers: polygons, or run lengths."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segkit.data.annotations.patches import Patch
from segkit.data.annotations.polygons import polygon_patches
from segkit.data.annotations.run_lengths import decode_runs, runs_patch

#: Pixels from the image beyond which a corner is a mistake, whatever the rest of its polygon.
FARTHEST = 1e6


class WrongShape(ValueError):
    """A segmentation that cannot be drawn, by its place among those asked for; the text is the rule and what to do."""

    def __init__(self, place: int, text: str):
        super().__init__(text)
        self.place = place


def object_patches(annotations: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> list[list[Patch]]:
    """What each object covers of an image of `size` (H, W), in parts. Raises WrongShape."""
    polygons: list[np.ndarray] = []
    found: list[list[Patch] | range] = []
    for place, annotation in enumerate(annotations):
        try:
            shape = _read_shape(annotation, size)
        except ValueError as error:
            raise WrongShape(place, str(error)) from None
        if isinstance(shape, Patch):
            found.append([shape])
        else:
            found.append(range(len(polygons), len(polygons) + len(shape)))
            polygons += shape
    drawn = polygon_patches(polygons, size)
    return [[drawn[n] for n in parts] if isinstance(parts, range) else parts for parts in found]


def _read_shape(annotation: Mapping[str, Any], size: tuple[int, int]) -> list[np.ndarray] | Patch:
    """The polygons of an object, or what its run lengths cover. Raises ValueError."""
    segmentation = annotation.get("segmentation")
    if not segmentation:
        box = "a box alone" if annotation.get("bbox") else "nothing"
        raise ValueError(
            f"has no segmentation, but {box}\n   -> outline the object, or remove the annotation"
        )
    if isinstance(segmentation, dict):
        return _read_runs(segmentation, size)
    if not isinstance(segmentation, list):
        raise ValueError(f"segmentation is {segmentation!r}, expected polygons or run lengths")
    parts = len(segmentation)
    return [
        _read_polygon(numbers, size, "its polygon" if parts == 1 else f"polygon {n} of {parts}")
        for n, numbers in enumerate(segmentation, 1)
    ]


def _read_polygon(numbers: Any, size: tuple[int, int], which: str) -> np.ndarray:
    """The corners (K, 2) of a polygon [x, y, x, y, ...]. Raises ValueError."""
    if not isinstance(numbers, list):
        raise ValueError(f"{which} is {numbers!r}, expected a list [x, y, x, y, ...]\n   -> [[x, y, ...]]")
    if len(numbers) % 2:
        raise ValueError(
            f"{which} has {len(numbers)} numbers, expected x and y of each corner\n   -> draw it again"
        )
    if len(numbers) < 6:
        raise ValueError(
            f"{which} has {len(numbers) // 2} corners, expected at least 3\n   -> draw it again, or remove it"
        )
    try:
        points = np.array(numbers, dtype=np.float64).reshape(-1, 2)
    except (ValueError, TypeError):
        points = np.array(np.nan)
    if points.ndim != 2 or not np.isfinite(points).all() or any(isinstance(n, str) for n in numbers):
        wrong = next(n for n in numbers if type(n) not in (int, float) or n != n or abs(n) == np.inf)
        raise ValueError(f"{which} has {wrong!r}, expected numbers\n   -> draw it again")
    height, width = size
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    if right < 0 or bottom < 0 or left > width or top > height or max(right, bottom, -left, -top) > FARTHEST:
        raise ValueError(
            f"{which} lies outside of the image: x {left:g} to {right:g}, y {top:g} to {bottom:g}, "
            f"the image is {width}x{height}\n   -> is it of another image, or were its coordinates scaled?"
        )
    return points


def _read_runs(segmentation: Mapping[str, Any], size: tuple[int, int]) -> Patch:
    """What run lengths {size: [H, W], counts: ...} cover. Raises ValueError."""
    said, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(said, list) or len(said) != 2:
        raise ValueError(f"size of its run lengths is {said!r}, expected [height, width]")
    if tuple(said) != size:
        raise ValueError(
            f"its run lengths are of an image of {said[1]}x{said[0]}, this one is {size[1]}x{size[0]}\n"
            "   -> the image was changed after it was labelled: put the one that was labelled back"
        )
    is_list = isinstance(counts, list) and all(type(count) is int for count in counts)
    if not is_list and not isinstance(counts, str):
        raise ValueError("counts of its run lengths is neither a text nor a list of whole numbers")
    if isinstance(counts, str) and counts[:2] in ("b'", 'b"'):  # what str() makes of pycocotools' bytes
        raise ValueError(
            f"counts of its run lengths is Python's notation of bytes, {counts[:12]}...\n"
            "   -> write counts.decode() to the file instead of str(counts)"
        )
    try:
        runs = decode_runs(counts) if isinstance(counts, str) else np.array(counts, dtype=np.int64)
        return runs_patch(runs, size)
    except ValueError as error:
        raise ValueError(f"its run lengths are damaged: {error}\n   -> write them again") from None
