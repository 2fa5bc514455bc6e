"""`labels.png`: how often each class occurs in the masks that the data check read."""

import io
from collections.abc import Sequence
from pathlib import Path

from segkit.data.check import CheckReport, Tally
from segkit.files import write_bytes

COLORS = {"train": "#0072B2", "val": "#E69F00"}


def pixel_shares(tally: Tally) -> list[float]:
    """Share of the labelled pixels that each class has, in %."""
    return [100 * pixels / max(1, tally.valid) for pixels in tally.pixels]


def image_shares(tally: Tally) -> list[float]:
    """Share of the images that contain each class, in %."""
    return [100 * images / max(1, tally.samples) for images in tally.images]


def plot_class_frequencies(path: Path, report: CheckReport, class_names: Sequence[str]) -> None:
    """Draw both shares of every class, for the training and the validation masks. Raises CannotWrite."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tallies = {"train": report.train} | ({"val": report.val} if report.val is not None else {})
    figure = Figure(figsize=(11, min(40.0, 1.8 + 0.34 * len(class_names))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, title, share in zip(
        axes, ("% of the labelled pixels", "% of the images that contain it"), (pixel_shares, image_shares),
        strict=True,
    ):  # fmt: skip
        _draw_bars(axis, {part: share(tally) for part, tally in tallies.items()})
        axis.set_xlabel(f"{title} (log scale)")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.grid(axis="x", alpha=0.25)
    axes[0].set_yticks(range(len(class_names)), class_names)
    axes[0].invert_yaxis()
    figure.suptitle(_title(tallies), fontsize=11)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside right upper")
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png")
    write_bytes(path, stream.getvalue())


def _title(tallies: dict[str, Tally]) -> str:
    looked = " and ".join(f"{tally.samples} of {tally.total:,} {part}" for part, tally in tallies.items())
    return f"How often each class occurs in the masks read before training: {looked}"


def _draw_bars(axis, shares: dict[str, list[float]]) -> None:
    """One bar per class and part on a logarithmic axis; a class that was not found says so."""
    height = 0.8 / len(shares)
    positive = [share for part in shares.values() for share in part if share > 0]
    left = min([*positive, 10.0]) / 3
    axis.set_xscale("log")
    axis.set_xlim(left, 150)
    for number, (part, values) in enumerate(shares.items()):
        places = [place + (number + 0.5) * height - 0.4 for place in range(len(values))]
        axis.barh(
            places,
            [max(0.0, value - left) for value in values],
            height=height,
            left=left,
            color=COLORS[part],
            label=part,
        )
        for place, value in zip(places, values, strict=True):
            if not value:
                axis.text(left * 1.05, place, "none", va="center", fontsize=7, color=COLORS[part])
