"""Scoring trained weights outside of training."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from segkit.commands.error_report.options import ReportOptions
from segkit.commands.error_report.places import PlaceMeter, join_places
from segkit.config.carried.places import refuse_unsaid_places
from segkit.config.load import config_from_mapping
from segkit.config.schema import Config
from segkit.data.loading.loader import Batches, val_batches
from segkit.data.scored_size import describe_sizes
from segkit.distributed.ranks import ALONE, Ranks
from segkit.errors import ConfigError
from segkit.evaluation.calibration import Calibration
from segkit.evaluation.evaluate import Evaluation, evaluate
from segkit.evaluation.metrics import accuracy
from segkit.evaluation.objects.meter import ObjectMeter
from segkit.evaluation.objects.report import object_table_text, objects_as_json
from segkit.evaluation.objects.request import ObjectRequest
from segkit.evaluation.scores import (
    boundary_as_json,
    boundary_table,
    calibration_table,
    class_table,
    part_line,
    part_scores,
    scores_as_json,
)
from segkit.runs.predictor import Predictor, load_predictor
from segkit.runs.recording.bad_sample_log import BadSampleLog
from segkit.system.console import percent
from segkit.system.device import choose_device, default_workers
from segkit.system.files import write_json
from segkit.system.memory import lack_of_memory_explained
from segkit.training.build import build_views
from segkit.training.build_dataset import build_dataset


def evaluate_weights(
    weights: str | Path,
    overrides: Sequence[str],
    *,
    split: str,
    device: str,
    output: Path | None,
    boundary: float | None = None,
    calibration: Calibration = False,
    objects: ObjectRequest | None = None,
    report: ReportOptions | None = None,
    ranks: Ranks = ALONE,
) -> int:
    """Score the weights of a run on its data, as changed by `overrides`; returns the exit status. In several processes
    each scores its part of the images, and the main one prints and writes.

    With `boundary`, also the borders between classes, with that tolerance in pixels; with `calibration`, also how far
    confidence and accuracy are apart; with `objects`, also those. With `report`, which includes `calibration`, the page
    of errors is written.
    """
    require_tolerance(boundary)
    if report is not None:
        report.check()
    place = choose_device(device, local=ranks.local, local_world=ranks.local_world)
    predictor = load_predictor(weights, place)
    score(
        predictor,
        overrides,
        split=split,
        output=output,
        boundary=boundary,
        calibration=calibration,
        objects=objects,
        report=report,
        ranks=ranks,
    )
    return 0


def require_tolerance(boundary: float | None) -> None:
    """Raises ConfigError for a distance in pixels that no border can be scored with."""
    if boundary is not None and not 1 <= boundary < math.inf:
        raise ConfigError(f"--boundary is a distance of at least 1 pixel, got {boundary:g} -> --boundary 3")


@lack_of_memory_explained("eval.batch_size=1, fewer train.workers (0: none), or --device cpu")
def score(
    predictor: Predictor,
    overrides: Sequence[str],
    *,
    split: str,
    output: Path | None,
    boundary: float | None = None,
    calibration: Calibration = False,
    objects: ObjectRequest | None = None,
    report: ReportOptions | None = None,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Score a loaded model on its data, as changed by `overrides`, and print how well it does."""
    config, dataset = open_data(predictor, overrides, split=split)
    labels = predictor.labels
    meter = None
    if objects is not None:
        ids = objects.find_ids(labels.class_names)
        meter = ObjectMeter(ids, ignore_index=dataset.ignore_index, min_size=objects.min_size)
    bad = BadSampleLog(None, tell=tqdm.write)
    met: list[Any] = []
    batches = make_batches(
        predictor, config, dataset, note=bad.note if ranks.main else met.extend, ranks=ranks
    )
    views = build_views(config, predictor.resize)
    known = {"num_classes": len(labels.class_names), "ignore_index": dataset.ignore_index}
    place_meter = None if report is None else PlaceMeter(**known)
    result = evaluate(
        predictor.forward,
        predictor.model,
        tqdm(batches, unit="batch", disable=None if ranks.main else True, leave=False),
        **known,
        device=predictor.device,
        boundary=boundary,
        calibration=calibration or report is not None,
        objects=meter,
        watch=place_meter,
        views=views,
        ranks=ranks,
    )
    assert result is not None  # there is nothing that would stop it
    others = ranks.gather(met)[1:]
    places = None if place_meter is None else join_places(ranks.gather(place_meter.counts()))
    if not ranks.main:
        return result
    for each in others:
        bad.note(each)
    print(class_table(result, labels.class_names))
    if parts := part_scores(result):
        print(f"by part: {part_line(parts)}")
    extra: dict[str, Any] = {}
    if result.borders is not None:
        borders = result.borders.scores()
        print(f"\nborders, within {boundary:g} pixels\n{boundary_table(borders, labels.class_names)}")
        extra["boundary"] = boundary_as_json(borders, labels.class_names)
    if result.calibration is not None:
        confidence = calibration_table(result.calibration.scores(), labels.class_names)
        print(f"\nconfidence against accuracy\n{confidence}")
    if result.objects is not None:
        size = f" of {result.objects.min_size:,} pixels or more" if result.objects.min_size > 1 else ""
        print(f"\nobjects{size}, VI in bits\n{object_table_text(result.objects, labels.class_names)}")
        extra["objects"] = objects_as_json(result.objects, labels.class_names)
    size = describe_sizes(getattr(dataset, "resize", None), predictor.resize)
    print(
        f"\n{result.images} images of {config.data.name} {split}{size and f', {size}'}: "
        f"mIoU {percent(result.mean_iou)}  acc {percent(accuracy(result.matrix))}  ce {result.ce:.4f}   "
        f"weights {predictor.path} ({predictor.why})"
    )
    if bad.entries:
        print(bad.total())
    if output is not None:
        scores = scores_as_json(result, labels.class_names)
        weights = {"weights": str(predictor.path), "iteration": predictor.iteration}
        write_json(output, {**weights, "split": split, **scores, **extra})
    if report is not None and places is not None:
        from segkit.commands.error_report.report import write_report  # loads torchvision, for its pictures

        write_report(
            report, predictor, config, dataset, result, places, views=views, split=split, overrides=overrides
        )
    return result


def open_data(predictor: Predictor, overrides: Sequence[str], *, split: str) -> tuple[Config, Any]:
    """The run's configuration as changed by `overrides`, and its data. Raises ConfigError for what does not fit the
    model."""
    config = config_from_mapping(
        predictor.config.to_mapping(), origin=str(predictor.path), overrides=overrides
    )
    refuse_other_model(predictor.config, config)
    refuse_unsaid_places(config, predictor.path)
    dataset = build_dataset(config, split, scored=True)
    refuse_other_classes(predictor, dataset)
    return config, dataset


def make_batches(
    predictor: Predictor, config: Config, dataset: Any, *, note: Callable[..., Any], ranks: Ranks = ALONE
) -> Batches:
    """The images of `dataset` in batches; `note` is told of those that cannot be used."""
    workers = config.train.workers
    return val_batches(
        dataset,
        batch_size=config.eval.batch_size or config.train.batch_size,
        workers=default_workers(predictor.device, share=ranks.local_world)
        if workers in (None, "auto")
        else workers,
        pin_memory=predictor.device.type == "cuda",
        skip_bad=config.data.skip_bad,
        note=note,
        rank=ranks.rank,
        world=ranks.world,
    )


def refuse_other_classes(predictor: Predictor, dataset: Any) -> None:
    """Raises ConfigError for data that the model cannot answer for."""
    known = predictor.labels.class_names
    if list(dataset.class_names) != list(known):
        raise ConfigError(
            f"the weights know {len(known)} classes ({', '.join(known)}) but the data has "
            f"{len(dataset.class_names)} ({', '.join(dataset.class_names)})"
        )
    if dataset.channels != predictor.channels:
        raise ConfigError(
            f"the weights are for images of {predictor.channels} channels but the data has {dataset.channels} "
            f"-> data.channels={predictor.channels}"
        )
    ends = getattr(dataset, "value_range", None)
    if ends != predictor.value_range:
        before, after = (
            "images of 8 bits" if one is None else f"data.value_range {one if one == 'dtype' else list(one)}"
            for one in (predictor.value_range, ends)
        )
        raise ConfigError(
            f"the weights were trained with {before}, and the data here is read with {after} "
            "-> leave out data.value_range, or bring the images to what the weights know"
        )


def refuse_other_model(trained: Config, asked: Config) -> None:
    """Raises ConfigError for overrides of what the weights were trained with, which would have no effect."""
    for name, before, after in (
        ("model", trained.model, asked.model),
        ("data.mean", trained.data.mean, asked.data.mean),
        ("data.std", trained.data.std, asked.data.std),
        ("train.amp", trained.train.amp, asked.train.amp),
    ):
        if before != after:
            raise ConfigError(f"{name} belongs to the weights and cannot be changed here -> leave it out")
