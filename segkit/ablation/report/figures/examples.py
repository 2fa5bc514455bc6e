"""The same validation images under all variants: predictions, their errors, and the pixels that the loss keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segkit.ablation.report.figures.style import SOFT, WIDTH, draw, shorten, shorten_to_fit
from segkit.ablation.study.read import read_examples
from segkit.ablation.study.study import Run
from segkit.evaluation import canvas
from segkit.evaluation.fonts import drawable

MOST_IMAGES = 4
MOST_SIDE = 1000  # pixels, far more than is printed: matplotlib reduces the rest, and smoothly
PER_BAND = 5  # variants side by side, after image and label
MOST_LEGEND = 24
TITLE, GAP = 0.21, 0.05  # inches
TITLE_SIZE = 8  # points


@dataclass(frozen=True)
class Answer:
    """What one variant makes of an image: `prediction` (H, W) ids, and `kept` (H, W) in [0, 1] or None."""

    variant: str
    prediction: np.ndarray
    kept: np.ndarray | None


@dataclass(frozen=True)
class Example:
    """One validation image (H, W, 3) uint8 with its label (H, W) and the answers of the variants."""

    name: str
    image: np.ndarray
    target: np.ndarray
    answers: tuple[Answer, ...]

    def disagreement(self, ignore_index: int) -> float:
        """Share of the labelled pixels in which not all variants predict the same class."""
        first = self.answers[0].prediction
        differs = np.zeros(first.shape, dtype=bool)
        for answer in self.answers[1:]:
            differs |= answer.prediction != first
        valid = self.target != ignore_index
        return float(differs[valid].mean()) if valid.any() else 0.0


@dataclass(frozen=True)
class Examples:
    """The chosen images, how to colour classes, and the variants that left no pictures."""

    examples: tuple[Example, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_index: int
    iterations: tuple[int, ...]
    without: tuple[str, ...]


def choose_examples(runs: Sequence[Run], *, most: int = MOST_IMAGES) -> Examples:
    """Of the images that all of `runs` (one per variant) show, the `most` on which their predictions disagree most.

    Runs without pictures are listed in `without`; an image that has another size elsewhere is left out.
    """
    shown = {run.variant: {found["name"]: found for found in read_examples(run)} for run in runs}
    without = tuple(variant for variant, found in shown.items() if not found)
    shown = {variant: found for variant, found in shown.items() if found}
    if not shown:
        return Examples((), (), -1, (), without)
    reference = next(iter(shown.values()))
    names = [name for name in reference if all(name in found for found in shown.values())]
    gathered = [_gather(name, shown) for name in names]
    examples = [example for example in gathered if example is not None]
    first = next(iter(reference.values()))
    ignore_index = first["ignore_index"]
    order = sorted(
        range(len(examples)), key=lambda place: (-examples[place].disagreement(ignore_index), place)
    )
    return Examples(
        tuple(examples[place] for place in order[:most]),
        tuple((int(red), int(green), int(blue)) for red, green, blue in first["palette"]),
        ignore_index,
        tuple(sorted({found[name]["iteration"] for found in shown.values() for name in found})),
        without,
    )


def _gather(name: str, shown: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Example | None:
    """One image of all variants; None if a prediction does not fit the label."""
    found = {variant: examples[name] for variant, examples in shown.items()}
    first = next(iter(found.values()))
    if any(one["prediction"].shape != first["target"].shape for one in found.values()):
        return None
    answers = []
    for variant, one in found.items():
        kept = None if one["kept"] is None else one["kept"].astype(np.float32) / 255
        answers.append(Answer(variant, one["prediction"], kept))
    return Example(name, first["image"], first["target"], tuple(answers))


@dataclass(frozen=True)
class Grid:
    """Where the pictures of a figure are, in inches from its top left corner."""

    columns: int
    rows: int  # of pictures per band: predictions, errors and, if a loss tells, kept pixels
    bands: int
    panel: tuple[float, float]
    legend: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the figure."""
        width, height = self.panel
        band = TITLE + self.rows * (height + GAP)
        return self.columns * (width + GAP) - GAP, self.bands * (band + 2 * GAP) - 2 * GAP + self.legend

    def box(self, band: int, row: int, column: int) -> tuple[float, float, float, float]:
        """Left, bottom, width, height of a picture as shares of the figure."""
        (width, height), (total_width, total_height) = self.panel, self.size
        top = band * (TITLE + self.rows * (height + GAP) + 2 * GAP) + TITLE + row * (height + GAP)
        left = column * (width + GAP)
        return (
            left / total_width,
            1 - (top + height) / total_height,
            width / total_width,
            height / total_height,
        )


def plan_grid(example: Example, legend: float) -> Grid:
    """A grid as wide as a page: image and label, then a column per variant, in bands of `PER_BAND` variants."""
    bands = _bands(example.answers)
    columns = 2 + len(bands[0])
    height, width = example.target.shape
    side = min(1.7, (WIDTH + GAP) / columns - GAP)
    rows = 3 if any(answer.kept is not None for answer in example.answers) else 2
    return Grid(columns, rows, len(bands), (side, side * min(height / width, 2.0)), legend)


def draw_example(
    example: Example, examples: Examples, class_names: Sequence[str], stem: Path, *, pdf: bool = False
) -> None:
    """Write the image, its label and, below the name of each variant, what it predicts. Raises CannotWrite."""
    classes = _classes_shown(example, examples)
    known = drawable(class_names)
    names = [shorten(known[index], 18) for index in classes]
    ignored = bool((example.target == examples.ignore_index).any())
    grid = plan_grid(example, 0.0)
    per_row = max(1, int(grid.size[0] / (0.42 + 0.07 * max(map(len, [*names, "ignored"])))))
    grid = replace(grid, legend=0.06 + 0.18 * -(-(len(names) + ignored) // per_row))

    def paint(figure: Any) -> None:
        _paint(figure, example, examples, grid)
        _add_legend(figure, [examples.palette[index] for index in classes], names, ignored, per_row)

    draw(stem, grid.size, paint, layout=None, pdf=pdf)


def _bands(answers: Sequence[Answer]) -> list[Sequence[Answer]]:
    """The answers in rows of about equal length."""
    count = -(-len(answers) // PER_BAND)
    length = -(-len(answers) // count)
    return [answers[start : start + length] for start in range(0, len(answers), length)]


def _paint(figure: Any, example: Example, examples: Examples, grid: Grid) -> None:
    pictures = Pictures(example, examples)
    names = [answer.variant for answer in example.answers]
    titles = shorten_to_fit(figure, names, grid.panel[0], size=TITLE_SIZE)
    axis = figure.add_axes(
        (0, 0, 1, 1), xlim=(0, 1), ylim=(0, 1), autoscale_on=False
    )  # one, for each takes long
    axis.set_axis_off()
    _show(axis, grid.box(0, 0, 0), pictures.image(), "image")
    _show(axis, grid.box(0, 0, 1), pictures.label(), "label")
    for number, answer in enumerate(example.answers):
        band, column = divmod(number, grid.columns - 2)
        _show(axis, grid.box(band, 0, 2 + column), pictures.prediction(answer), titles[number])
        _show(axis, grid.box(band, 1, 2 + column), pictures.errors(answer))
        if answer.kept is not None:
            _show(axis, grid.box(band, 2, 2 + column), pictures.kept(answer))
        elif grid.rows == 3:
            _write(figure, grid.box(band, 2, 2 + column), "not told by\nits loss", "center")
    for band in range(grid.bands):
        for row, words in enumerate(("prediction", "errors", "kept by the loss")[: grid.rows]):
            if row or band:
                _write(figure, grid.box(band, row, 1), words, "right")


class Pictures:
    """The parts of the grid as (H, W, 3) arrays, reduced to what is printed."""

    def __init__(self, example: Example, examples: Examples):
        self.example, self.examples = example, examples
        self.step = -(-max(example.target.shape) // MOST_SIDE)  # every pixel is shown, or each n-th

    def image(self) -> np.ndarray:
        return _channels_last(canvas.as_rgb(self._image()))

    def label(self) -> np.ndarray:
        return self._ids(self.example.target)

    def prediction(self, answer: Answer) -> np.ndarray:
        return self._ids(answer.prediction)

    def errors(self, answer: Answer) -> np.ndarray:
        ids = self._reduce(self.example.target), self._reduce(answer.prediction)
        return _channels_last(canvas.errors_over(self._image(), *ids, self.examples.ignore_index))

    def kept(self, answer: Answer) -> np.ndarray:
        assert answer.kept is not None  # or there is nothing to draw
        return _channels_last(canvas.kept_over(self._image(), self._reduce(answer.kept)))

    def _ids(self, ids: np.ndarray) -> np.ndarray:
        picture = canvas.color_ids(self._reduce(ids), self.examples.palette, self.examples.ignore_index)
        return _channels_last(picture)

    def _image(self) -> np.ndarray:
        return self._reduce(self.example.image).transpose(2, 0, 1)

    def _reduce(self, values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values[:: self.step, :: self.step])


def _channels_last(picture: np.ndarray) -> np.ndarray:
    """(3, H, W) -> (H, W, 3)."""
    return picture.transpose(1, 2, 0)


def _show(axis: Any, box: tuple[float, float, float, float], picture: np.ndarray, title: str = "") -> None:
    left, bottom, width, height = box
    axis.imshow(
        picture,
        interpolation="nearest" if max(picture.shape) <= 200 else "antialiased",
        aspect="auto",
        extent=(left, left + width, bottom, bottom + height),
    )
    if title:
        x, top = left + width / 2, bottom + height + 3 / 72 / axis.figure.get_figheight()
        axis.text(x, top, title, ha="center", va="baseline", size=TITLE_SIZE)


def _write(figure: Any, box: tuple[float, float, float, float], words: str, side: str) -> None:
    left, bottom, width, height = box
    x = left + width * (0.5 if side == "center" else 0.96)
    figure.text(x, bottom + height / 2, words, ha=side, va="center", size=8.5, color=SOFT)


def _classes_shown(example: Example, examples: Examples) -> list[int]:
    """The classes that occur in the label or in a prediction, by frequency in the label, at most MOST_LEGEND."""
    parts = [example.target, *(answer.prediction for answer in example.answers)]
    known = range(len(examples.palette))
    present = [c for c in known if c != examples.ignore_index and any((part == c).any() for part in parts)]
    counts = {c: int((example.target == c).sum()) for c in present}
    return sorted(sorted(present, key=lambda c: -counts[c])[:MOST_LEGEND])


def _add_legend(
    figure: Any, colors: Sequence[tuple[int, int, int]], names: Sequence[str], ignored: bool, per_row: int
) -> None:
    from matplotlib.patches import Patch

    edge = {"edgecolor": "#9a9aa0", "linewidth": 0.5}
    handles = [Patch(facecolor=(r / 255, g / 255, b / 255), **edge) for r, g, b in colors]
    if ignored:
        handles.append(Patch(facecolor="#dcdcdc", hatch="////", **edge))
    figure.legend(
        handles, [*names, "ignored"][: len(handles)], loc="lower left", bbox_to_anchor=(0, 0), ncols=per_row,
        handlelength=1.0, handleheight=0.9, handletextpad=0.5, columnspacing=1.2, borderpad=0, borderaxespad=0.2,
        labelspacing=0.3,
    )  # fmt: skip
