"""What people draw, and which pixels of an image that covers.

A pixel belongs to an ellipse, or to a line of some width, if its centre lies within; to a polygon by the rule of
COCO's tools, which lets polygons that share an edge meet without a gap or a pixel in both. Coordinates are in pixels,
and (0, 0) is the upper left corner of the first pixel, so that its centre is (0.5, 0.5).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from segkit.data.annotations.patches import Patch
from segkit.data.annotations.polygons import polygon_patches

NOTHING = Patch(0, 0, np.zeros((0, 0), dtype=bool))


class Area(ABC):
    """Something that covers pixels. `thin` says that it does so only by the width that it is drawn with."""

    thin = False

    @abstractmethod
    def cover(self, size: tuple[int, int], line_width: float) -> Patch:
        """The pixels that are covered of an image of `size` (H, W); lines and points are `line_width` pixels wide."""


@dataclass(frozen=True, eq=False)
class Polygon(Area):
    """A closed outline. points (K, 2), K >= 3: x and y of each corner."""

    points: np.ndarray

    def cover(self, size: tuple[int, int], line_width: float) -> Patch:
        return polygon_patches([self.points], size)[0]


@dataclass(frozen=True)
class Ellipse(Area):
    """An ellipse with half axes `radii` (across, down) about `centre` (x, y), turned clockwise by `degrees`."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    degrees: float = 0.0

    def cover(self, size: tuple[int, int], line_width: float) -> Patch:
        (x, y), (across, down), far = self.centre, self.radii, max(self.radii)
        if not (across > 0 and down > 0):
            return NOTHING
        top, left, columns, rows = _window(size, (x - far, y - far), (x + far, y + far))
        columns, rows = columns - x, rows - y  # (1, w), (h, 1)
        if self.degrees:
            cos, sin = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
            columns, rows = columns * cos + rows * sin, rows * cos - columns * sin
        return Patch(top, left, (columns / across) ** 2 + (rows / down) ** 2 <= 1)


@dataclass(frozen=True, eq=False)
class Stroke(Area):
    """Lines from point to point with round ends or, if they are not `joined`, the points. points (K, 2), K >= 1."""

    points: np.ndarray
    joined: bool = True
    thin = True

    def cover(self, size: tuple[int, int], line_width: float) -> Patch:
        half = line_width / 2
        low, high = self.points.min(axis=0) - half, self.points.max(axis=0) + half
        top, left, columns, rows = _window(size, low, high)
        inside = np.zeros((rows.size, columns.size), dtype=bool)
        starts = self.points[:-1] if self.joined and len(self.points) > 1 else self.points
        for start, end in zip(starts, self.points[-len(starts) :], strict=True):
            low, high = np.minimum(start, end) - half, np.maximum(start, end) + half
            row, column, x, y = _window(size, low, high)
            x, y = x - start[0], y - start[1]  # (1, w), (h, 1)
            dx, dy = (end - start).tolist()
            long = dx * dx + dy * dy
            # How far along the line the nearest of its points is, from 0 to 1.
            along = np.clip((x * dx + y * dy) / long, 0, 1) if long > 0 else 0.0
            near = (x - along * dx) ** 2 + (y - along * dy) ** 2 <= half * half
            inside[row - top : row - top + y.size, column - left : column - left + x.size] |= near
        return Patch(top, left, inside)


@dataclass(frozen=True, eq=False)
class Pixels(Area):
    """Pixels that are stored one by one. inside (h, w) bool, of which the first lies in column `left` and row `top`."""

    left: int
    top: int
    inside: np.ndarray

    def cover(self, size: tuple[int, int], line_width: float) -> Patch:
        top, left = (
            min(max(first, 0), most) for first, most in zip((self.top, self.left), size, strict=True)
        )
        bottom, right = (
            max(min(first + side, most), 0)
            for first, side, most in zip((self.top, self.left), self.inside.shape, size, strict=True)
        )
        rows, columns = slice(top - self.top, bottom - self.top), slice(left - self.left, right - self.left)
        return Patch(top, left, self.inside[rows, columns]) if bottom > top and right > left else NOTHING


@dataclass(frozen=True, eq=False)
class Shape:
    """An area that somebody gave a label.

    label   as the file has it
    entry   where in its file it is, for messages: "shapes[3]"
    group   what is one object together with others of the same label has the same here; None: an object of its own
    """

    label: str
    area: Area
    entry: str
    group: Hashable | None = None


def rectangle(left: float, top: float, right: float, bottom: float, *, degrees: float = 0.0) -> Polygon:
    """The polygon of a box between two opposite corners, turned clockwise by `degrees` about its middle."""
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float64)
    if not degrees:
        return Polygon(corners)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle = corners.mean(axis=0)
    return Polygon((corners - middle) @ np.array([[cos, sin], [-sin, cos]]) + middle)


def cover_all(areas: Sequence[Area], size: tuple[int, int], line_width: float) -> list[Patch]:
    """What each of the areas covers: all polygons at once, which is sooner than one by one."""
    polygons = [area.points for area in areas if isinstance(area, Polygon)]
    drawn = iter(polygon_patches(polygons, size))
    return [next(drawn) if isinstance(area, Polygon) else area.cover(size, line_width) for area in areas]


def _window(
    size: tuple[int, int], low: np.ndarray | tuple[float, float], high: np.ndarray | tuple[float, float]
) -> tuple[int, int, np.ndarray, np.ndarray]:
    """The part of an image between two corners (x, y): its first row and column, and the centres of its columns (1,
    w) and of its rows (h, 1)."""
    first = [min(max(math.floor(value), 0), most) for value, most in zip(low, size[::-1], strict=True)]
    last = [min(max(math.ceil(value), 0), most) for value, most in zip(high, size[::-1], strict=True)]
    columns, rows = (np.arange(a, b) + 0.5 for a, b in zip(first, last, strict=True))
    return first[1], first[0], columns[None], rows[:, None]
