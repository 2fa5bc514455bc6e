"""`shapes`: a small segmentation problem that is drawn on the fly.

Every image is a pure function of (seed, split, index). It holds on purpose what makes losses differ: large areas
that are soon learnt, lines of 1 to 3 pixels, a rare small class, borders blurred until they are ambiguous, background
streaks that resemble lines, low contrast, pixels without a label and, on request, wrong labels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional

from segkit.data.sample import Sample, as_height_width
from segkit.registry import DATASETS
from segkit.types import NonNegativeInt, PositiveInt, Share, Size

BACKGROUND, CIRCLE, SQUARE, LINE, STAR = range(5)
IGNORE_INDEX = 255
REFERENCE = 128  # the image side at which the sizes below are in pixels
SMALLEST = 32

STAR_SHARE = 0.5  # of the images have one
BLUR_SHARE = 0.4  # of the large shapes have a soft border
UNSURE_SHARE = 0.5  # of the soft borders are unlabelled
ODD_SHARE = 0.25  # of the shapes have a colour that says nothing about their class
BLANK_SHARE = 0.25  # of the images have an unlabelled rectangle
LEAST_CONTRAST = 25.0  # of a shape to what it covers, in grey levels
#: Typical colours of background, circle, square, line and star; what is drawn deviates a lot.
COLOURS = np.array([(110, 110, 110), (215, 110, 90), (60, 85, 190), (235, 220, 150), (40, 200, 70)])
GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601 luma

Distance = np.ndarray  # float32 (H, W): pixels to the outline, negative inside


@dataclass(frozen=True)
class Shape:
    """Something drawn: its class, its distance field and how wide its border fades (in pixels)."""

    class_id: int
    distance: Distance
    fade: float


@DATASETS.register("shapes")
class Shapes:
    """Generated circles, squares, thin lines and rare stars on a textured background; nothing to download.

    size         side in pixels, or [height, width]; shapes grow with it, lines stay 1 to 3 pixels wide
    train_size   number of training images
    val_size     number of validation images
    channels     3 for colour, 1 for greyscale
    label_noise  share of the training shapes that carry a wrong label; validation labels are always right
    seed         another seed is another data set of the same kind
    """

    class_names = ("background", "circle", "square", "line", "star")
    num_classes = len(class_names)
    ignore_index = IGNORE_INDEX

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        size: PositiveInt | Size = 128,
        train_size: PositiveInt = 800,
        val_size: PositiveInt = 100,
        channels: Literal[1, 3] = 3,
        label_noise: Share = 0.0,
        seed: NonNegativeInt = 0,
    ):
        self.split, self.channels, self.seed = split, channels, seed
        self.height, self.width = as_height_width(size)
        if min(self.height, self.width) < SMALLEST:
            raise ValueError(f"size must be at least {SMALLEST}, got {size}")
        self.length = train_size if split == "train" else val_size
        self.label_noise = label_noise if split == "train" else 0.0

    def __len__(self) -> int:
        return self.length

    def sample_names(self) -> list[str]:
        """What each sample is called."""
        return [self._name(index) for index in range(self.length)]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"image {index} of {self.length}")
        key = [self.seed, ("train", "val").index(self.split), index]
        random = np.random.default_rng(key)
        shapes = draw_shapes(random, self.height, self.width)
        image = paint_image(random, shapes, self.height, self.width)  # (H, W, 3) in 0..255
        labels = label_shapes(shapes, self.height, self.width, noise=self.label_noise, key=key)
        hide_labels(random, shapes, labels)
        if self.channels == 1:
            image = (image @ GREY)[..., None]  # (H, W, 1)
        pixels = np.ascontiguousarray(image.round().clip(0, 255).astype(np.uint8).transpose(2, 0, 1))
        return Sample(
            image=torch.from_numpy(pixels),
            target=torch.from_numpy(labels),
            name=self._name(index),
            index=index,
        )

    def _name(self, index: int) -> str:
        return f"{self.split}_{index:05d}"


def draw_shapes(random: np.random.Generator, height: int, width: int) -> list[Shape]:
    """The shapes of one image, in the order in which they cover each other."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + np.float32(0.5)  # pixel centres, each (H, W)
    unit = min(height, width) / REFERENCE

    def place(outline: Callable[..., Distance], low: float, high: float) -> Distance:
        """An outline of random radius, turned by a random angle around a random centre."""
        angle = random.uniform(0, 2 * math.pi)
        radius = random.uniform(low, high) * unit
        dy, dx = y - random.uniform(0, height), x - random.uniform(0, width)
        cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        return outline(random, cos * dx + sin * dy, cos * dy - sin * dx, radius)

    shapes = []
    for class_id, outline in ((CIRCLE, circle), (SQUARE, square)):
        for _ in range(random.integers(1, 4)):
            fade = random.uniform(3, 9) * unit if random.random() < BLUR_SHARE else 1.0
            shapes.append(Shape(class_id, place(outline, 8, 26), fade))
    for _ in range(random.integers(1, 4)):
        shapes.append(Shape(LINE, thin_line(random, x, y, width=random.uniform(1, 3)), 1.0))
    shapes = [shapes[i] for i in random.permutation(len(shapes))]
    if random.random() < STAR_SHARE:
        shapes.append(Shape(STAR, place(star, 8, 14), 1.0))
    return shapes


def circle(random: np.random.Generator, x: np.ndarray, y: np.ndarray, radius: float) -> Distance:
    """A slightly flattened disc around the origin."""
    squeeze = np.float32(random.uniform(0.8, 1.0))
    return np.hypot(x, y / squeeze) * squeeze - np.float32(radius * squeeze)


def square(random: np.random.Generator, x: np.ndarray, y: np.ndarray, radius: float) -> Distance:
    """A box around the origin, a little smaller than the circle of that radius."""
    half = np.float32(0.85 * radius)
    aspect = np.float32(random.uniform(0.7, 1.0))
    return np.maximum(np.abs(x) - half, np.abs(y) - half * aspect)


def star(random: np.random.Generator, x: np.ndarray, y: np.ndarray, radius: float) -> Distance:
    """A five-pointed star: the plane folded onto one half of a point, whose edge is a straight line."""
    tenth = math.pi / 5
    angle = np.abs(np.mod(np.arctan2(y, x), 2 * tenth) - tenth)  # 0 in a valley, `tenth` at a tip
    valley, tip = 0.45 * radius, radius
    edge = np.array([tip * math.cos(tenth) - valley, tip * math.sin(tenth)])
    normal = np.array([edge[1], -edge[0]]) / np.linalg.norm(edge)
    reach = np.hypot(x, y)
    along, across = reach * np.cos(angle), reach * np.sin(angle)
    return ((along - valley) * normal[0] + across * normal[1]).astype(np.float32)


def thin_line(random: np.random.Generator, x: np.ndarray, y: np.ndarray, *, width: float) -> Distance:
    """A bent stroke across the image: three straight pieces through four points."""
    height_px, width_px = x.shape
    angle = random.uniform(0, math.pi)
    direction = np.array([math.cos(angle), math.sin(angle)])
    sideways = np.array([-direction[1], direction[0]])
    side = min(height_px, width_px)
    centre = random.uniform(0.2, 0.8, size=2) * (width_px, height_px)
    length = random.uniform(0.4, 1.2) * side
    bends = random.uniform(-0.1, 0.1, size=4) * side
    places = np.linspace(-length / 2, length / 2, 4)
    points = centre + places[:, None] * direction + bends[:, None] * sideways  # (4, 2) as (x, y)
    pieces = [_distance_to_segment(x, y, a, b) for a, b in pairwise(points)]
    return np.minimum.reduce(pieces) - np.float32(width / 2)


def _distance_to_segment(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    ax, ay = np.float32(a[0]), np.float32(a[1])
    dx, dy = np.float32(b[0] - a[0]), np.float32(b[1] - a[1])
    share = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)).clip(0, 1)
    return np.hypot(x - ax - share * dx, y - ay - share * dy)


def paint_image(random: np.random.Generator, shapes: list[Shape], height: int, width: int) -> np.ndarray:
    """The picture of the shapes, float32 (H, W, 3) in about 0..255."""
    # A plane per colour: what is the same for all three is then added to whole planes, not to three values at a time.
    image = _background(random, height, width)  # (3, H, W)
    for shape in shapes:
        cover = (0.5 - shape.distance / np.float32(shape.fade)).clip(0, 1)  # (H, W)
        texture = _clouds(random, height, width, cells=10) * np.float32(random.uniform(4, 16))
        painted = _fill_colour(random, image, shape)[:, None, None] + texture
        painted -= image
        painted *= cover
        image += painted
    image *= 1 + np.float32(0.25) * _clouds(random, height, width, cells=2)  # the light
    grain = random.standard_normal((height, width, 3), dtype=np.float32) * np.float32(random.uniform(3, 12))
    return image.transpose(1, 2, 0) + grain


def _background(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Two colours mixed by clouds, with a few soft streaks that are not lines: float32 (3, H, W)."""
    first, second = (COLOURS[BACKGROUND] + random.normal(0, 25, size=(2, 3))).astype(np.float32)
    mix = (0.5 + 0.5 * _clouds(random, height, width, cells=4)).clip(0, 1)
    image = mix * (second - first)[:, None, None]
    image += first[:, None, None]
    image += _clouds(random, height, width, cells=max(height, width) // 4) * np.float32(random.uniform(5, 15))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for _ in range(random.integers(0, 3)):
        streak = thin_line(random, x, y, width=0)
        spread = np.float32(random.uniform(1.5, 3.0))
        strength = np.float32(random.choice((-1, 1)) * random.uniform(15, 40))
        image += strength * np.exp(-((streak / spread) ** 2))
    return image


def _fill_colour(random: np.random.Generator, image: np.ndarray, shape: Shape) -> np.ndarray:
    """The colour of the class with a large deviation, or any colour; never that of what the shape covers in `image`
    (3, H, W)."""
    typical = COLOURS[shape.class_id] + random.normal(0, 30, size=3)
    colour = random.uniform(20, 235, size=3) if random.random() < ODD_SHARE else typical
    inside = shape.distance < 0
    covered = image[:, inside] if inside.any() else image.reshape(3, -1)
    # Of colours in one piece of memory: the layout decides in which order numpy adds, and so the last digits.
    around = np.ascontiguousarray(covered.T).mean(axis=0)
    away = colour - around
    contrast = abs(float(away @ GREY))
    if contrast < LEAST_CONTRAST:  # in brightness, so that greyscale images show the shape too
        away = away + np.copysign(LEAST_CONTRAST - contrast, away @ GREY)
    return (around + away).astype(np.float32)


def _clouds(random: np.random.Generator, height: int, width: int, *, cells: int) -> np.ndarray:
    """Smooth noise with values mostly in -1..1 and about `cells` bumps along a side: float32 (H, W)."""
    coarse = torch.from_numpy(random.uniform(-1, 1, size=(1, 1, cells + 1, cells + 1)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    return smooth[0, 0].numpy()


def label_shapes(shapes: list[Shape], height: int, width: int, *, noise: float, key: list[int]) -> np.ndarray:
    """Class ids, uint8 (H, W). With probability `noise` a shape gets one of the other classes.

    The wrong labels come from a generator of their own, so that the images are the same at any `noise`.
    """
    random = np.random.default_rng([*key, 1])
    labels = np.full((height, width), BACKGROUND, dtype=np.uint8)
    for shape in shapes:
        wrong = (shape.class_id + random.integers(1, Shapes.num_classes)) % Shapes.num_classes
        labels[shape.distance < 0] = wrong if random.random() < noise else shape.class_id
    return labels


def hide_labels(random: np.random.Generator, shapes: list[Shape], labels: np.ndarray) -> None:
    """Set what an annotator would leave out to `IGNORE_INDEX`: some soft borders, and here and there a rectangle."""
    height, width = labels.shape
    covered = np.zeros_like(labels, dtype=bool)
    for shape in reversed(shapes):  # from the top, because what is hidden by another shape needs no label
        unsure = random.random() < UNSURE_SHARE and shape.fade > 1.0
        if unsure:
            labels[(np.abs(shape.distance) < shape.fade / 4) & ~covered] = IGNORE_INDEX
        covered |= shape.distance < 0
    if random.random() < BLANK_SHARE:
        h, w = (random.uniform(0.1, 0.3, size=2) * (height, width)).astype(int)
        top, left = random.integers(0, height - h + 1), random.integers(0, width - w + 1)
        labels[top : top + h, left : left + w] = IGNORE_INDEX
