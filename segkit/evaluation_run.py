"""Scoring trained weights outside of training."""

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from segkit.build import build_dataset
from segkit.config import Config, config_from_mapping
from segkit.console import percent
from segkit.data.loader import val_batches
from segkit.device import choose_device, default_workers
from segkit.errors import ConfigError
from segkit.evaluate import evaluate
from segkit.files import write_json
from segkit.inference import load_predictor
from segkit.metrics import accuracy
from segkit.scores import class_table, scores_as_json


def evaluate_weights(
    weights: str, overrides: Sequence[str], *, split: str, device: str, output: Path | None
) -> int:
    """Score the weights of a run on its data, as changed by `overrides`; returns the exit status."""
    predictor = load_predictor(weights, choose_device(device))
    config = config_from_mapping(
        predictor.config.to_mapping(), origin=str(predictor.path), overrides=overrides
    )
    refuse_other_model(predictor.config, config)
    dataset = build_dataset(config, split)
    labels = predictor.labels
    if list(dataset.class_names) != list(labels.class_names):
        raise ConfigError(
            f"the weights know {len(labels.class_names)} classes ({', '.join(labels.class_names)}) but the data has "
            f"{len(dataset.class_names)} ({', '.join(dataset.class_names)})"
        )
    if dataset.channels != predictor.channels:
        raise ConfigError(
            f"the weights are for images of {predictor.channels} channels but the data has {dataset.channels} "
            f"-> data.channels={predictor.channels}"
        )
    workers = config.train.workers
    batches = val_batches(
        dataset,
        batch_size=config.eval.batch_size or config.train.batch_size,
        workers=default_workers(predictor.device) if workers is None else workers,
        pin_memory=predictor.device.type == "cuda",
    )
    result = evaluate(
        predictor.forward,
        predictor.model,
        tqdm(batches, unit="batch", disable=None, leave=False),
        num_classes=len(labels.class_names),
        ignore_index=dataset.ignore_index,
        device=predictor.device,
    )
    print(class_table(result, labels.class_names))
    print(
        f"\n{result.images} images of {config.data.name} {split}: mIoU {percent(result.mean_iou)}  "
        f"acc {percent(accuracy(result.matrix))}  ce {result.ce:.4f}   weights {predictor.path}"
    )
    if output is not None:
        scores = scores_as_json(result, labels.class_names)
        write_json(output, {"weights": str(predictor.path), "split": split, **scores})
    return 0


def refuse_other_model(trained: Config, asked: Config) -> None:
    """Raises ConfigError for overrides of what the weights were trained with, which would have no effect."""
    for name, before, after in (
        ("model", trained.model, asked.model),
        ("data.mean", trained.data.mean, asked.data.mean),
        ("data.std", trained.data.std, asked.data.std),
    ):
        if before != after:
            raise ConfigError(f"{name} belongs to the weights and cannot be changed here -> leave it out")
