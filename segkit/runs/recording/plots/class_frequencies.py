"""`labels.png`: how often each class occurs in the masks that the data check read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segkit.data.check import CheckReport, Tally
from segkit.evaluation.fonts import plot_labels
from segkit.runs.recording.plots.figure import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Classes up to which a row of labels.png is of a comfortable height.
FEW = 60
#: Classes beyond which only those at both ends are shown: the picture would be higher than anybody scrolls.
MOST = 80
COLORS = {"train": "#0072B2", "val": "#E69F00"}


def pixel_shares(tally: Tally) -> list[float]:
    """Share of the labelled pixels that each class has, in %."""
    return [100 * pixels / max(1, tally.valid) for pixels in tally.pixels]


def image_shares(tally: Tally) -> list[float]:
    """Share of the images that contain each class, in %."""
    return [100 * images / max(1, tally.samples) for images in tally.images]


def plot_class_frequencies(path: Path, report: CheckReport, class_names: Sequence[str]) -> None:
    """Draw both shares of every class, for the training and the validation masks. Raises CannotWrite."""
    tallies = {"train": report.train} | ({"val": report.val} if report.val is not None else {})
    plot_shares(
        path, tallies, class_names, title="How often each class occurs in the masks read before training"
    )


def plot_shares(path: Path, tallies: Mapping[str, Tally], class_names: Sequence[str], *, title: str) -> None:
    """Draw both shares of every class by the tallies of the parts, `train` and `val`. Raises CannotWrite."""
    chosen = choose_classes(tallies, len(class_names))
    labels = plot_labels(class_names)
    if len(chosen) < len(labels):
        title = f"The {MOST // 2} most and {MOST // 2} least frequent of {len(labels)} classes\n{title}"

    def paint(figure: "Figure") -> None:
        _paint(figure, tallies, chosen, [labels[n] for n in chosen])
        figure.suptitle(_title(title, tallies), fontsize=11)

    row = 0.34 if len(chosen) <= FEW else 0.24
    save_figure(path, (11, 1.8 + row * len(chosen)), paint)


def choose_classes(tallies: Mapping[str, Tally], count: int) -> list[int]:
    """All classes; of more than `MOST` those that are most and least frequent in all parts together, in their order."""
    if count <= MOST:
        return list(range(count))
    pixels = [sum(tally.pixels[n] for tally in tallies.values()) for n in range(count)]
    ranked = sorted(range(count), key=lambda n: -pixels[n])
    return sorted([*ranked[: MOST // 2], *ranked[-(MOST // 2) :]])


def _paint(
    figure: "Figure", tallies: Mapping[str, Tally], chosen: Sequence[int], labels: Sequence[str]
) -> None:
    """The bars of the chosen classes, the pixels' on the left and the images' on the right."""
    count = len(chosen)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, of_what, share in zip(
        axes, ("% of the labelled pixels", "% of the images that contain it"), (pixel_shares, image_shares),
        strict=True,
    ):  # fmt: skip
        shares = {part: share(tally) for part, tally in tallies.items()}
        _draw_bars(
            axis,
            {part: [values[n] for n in chosen] for part, values in shares.items()},
            size=7 if count <= FEW else 5,
        )
        axis.set_xlabel(f"{of_what} (log scale)")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.grid(axis="x", alpha=0.25)
    axes[0].set_yticks(range(count), labels, fontsize=10 if count <= FEW else 8)
    axes[0].set_ylim(count - 0.4, -0.6)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside right upper")


def _title(title: str, tallies: Mapping[str, Tally]) -> str:
    looked = " and ".join(f"{tally.samples} of {tally.total:,} {part}" for part, tally in tallies.items())
    return f"{title}: {looked}"


def _draw_bars(axis: "Axes", shares: dict[str, list[float]], *, size: int) -> None:
    """One bar per class and part on a logarithmic axis, with its share in writing of `size` points; a class that was
    not found says so."""
    height = 0.8 / len(shares)
    positive = [share for part in shares.values() for share in part if share > 0]
    left = min([*positive, 10.0]) / 3
    axis.set_xscale("log")
    axis.set_xlim(left, 300)
    for number, (part, values) in enumerate(shares.items()):
        places = [place + (number + 0.5) * height - 0.4 for place in range(len(values))]
        bars = axis.barh(
            places,
            [max(0.0, value - left) for value in values],
            height=height,
            left=left,
            color=COLORS[part],
            label=part,
        )
        axis.bar_label(bars, [f"{value:.3g}" if value else "" for value in values], padding=2, fontsize=size)
        for place, value in zip(places, values, strict=True):
            if not value:
                axis.text(left * 1.05, place, "none", va="center", fontsize=size, color=COLORS[part])
