"""Writes the page of an evaluation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from segkit.commands.error_report.options import ReportOptions
from segkit.commands.error_report.page import Facts, render_page
from segkit.commands.error_report.pictures import look_again
from segkit.commands.error_report.places import PlaceCounts
from segkit.commands.error_report.rows import choose_examples, list_images, list_pairs
from segkit.config.schema import Config
from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.views import Views
from segkit.runs.predictor import Predictor
from segkit.system.files import cannot_write, write_text
from segkit.system.typed import typed


def write_report(
    options: ReportOptions,
    predictor: Predictor,
    config: Config,
    dataset: Any,
    result: Evaluation,
    places: PlaceCounts,
    *,
    views: Views,
    split: str,
    overrides: Sequence[str],
) -> None:
    """Write the page of `result`, which has been scored on `dataset` as `config` and `views` say, with its calibration.

    The images that it shows are read and predicted once more. Raises DataError and CannotWrite.
    """
    images = list_images(result)
    assert result.matrices is not None
    pairs = list_pairs(result.matrices)
    chosen = choose_examples(images, pairs, worst=options.worst, rank=options.rank)
    command = typed(
        "evaluate", "--weights", predictor.path, *overrides, "--split", split,
        "--report", options.path, "--worst", options.worst, "--worst-by", options.rank,
    )  # fmt: skip
    facts = Facts(config.name, _describe(predictor, config, dataset, places, views, split), command)
    # What is ignored belongs to the data that was scored, which may be others than those of the training.
    labels = replace(predictor.labels, ignore_index=dataset.ignore_index)
    examples = look_again(predictor, views, dataset, chosen, labels)
    page = render_page(facts, result, places, images, pairs, examples, labels, rank=options.rank)
    try:
        options.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(options.path.parent, error) from error
    write_text(options.path, page)
    shown = f"{len(chosen)} of {result.images} images shown"
    print(f"wrote {options.path}: {shown}, {options.path.stat().st_size / 1e6:.1f} MB")


def _describe(
    predictor: Predictor, config: Config, dataset: Any, places: PlaceCounts, views: Views, split: str
) -> list[tuple[str, str]]:
    return [
        ("weights", f"{predictor.path} ({predictor.why})"),
        ("model", config.model.name),
        ("loss", config.loss.name),
        ("data", f"{config.data.name} {split}"),
        ("scored at", _describe_sizes(places.shapes, resized=getattr(dataset, "resize", None) is not None)),
        ("seen", _describe_views(views)),
    ]


def _describe_sizes(shapes: Counter[tuple[int, int]], *, resized: bool) -> str:
    """The sizes of the labels, on whose pixels all numbers are."""
    sizes = sorted(shapes)
    kind = "resized by data.resize" if resized else "the size of the labels"
    if len(sizes) == 1:
        return f"{sizes[0][1]}x{sizes[0][0]} pixels, {kind}"
    ends = [max(sizes, key=lambda size: sign * size[0] * size[1]) for sign in (-1, 1)]
    small, large = (f"{width}x{height}" for height, width in ends)
    return f"{len(sizes)} sizes from {small} to {large} pixels, {kind}"


def _describe_views(views: Views) -> str:
    if views.plain:
        return "each image as a whole, once"
    tile = "as a whole" if views.tile is None else f"in tiles of {views.tile[1]}x{views.tile[0]}"
    flip = ", mirrored too" if views.flip else ""
    scales = (
        ""
        if views.scales == (1.0,)
        else f", in the sizes {', '.join(f'{scale:g}' for scale in views.scales)}"
    )
    return f"each image {tile}{flip}{scales}"
