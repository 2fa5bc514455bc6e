"""What an exported file says of itself: all that its images need and its answers mean."""

import json
from typing import Any

import torch
import yaml

from segkit import __version__
from segkit.config.carried.places import without_places
from segkit.runs.exported.onnx_network import IDS, IMAGE, LOGITS
from segkit.runs.fingerprints import weights_fingerprint
from segkit.runs.predictor import Predictor
from segkit.training.build_component import without_downloads
from segkit.training.build_dataset import normalisation


def describe(
    predictor: Predictor,
    *,
    with_preprocessing: bool,
    size: tuple[int, int] | None,
    opset: int | None,
    precision: str = "fp32",
) -> dict[str, Any]:
    """The entries of the metadata, as plain values.

    `mean` and `std` are per channel on the scale of images in [0, 1]; `value_range` is None for images of 8 bits;
    `resize` the (height, width) that images were brought to in training, `size` the only one that the network takes,
    None for any; `output` is logits or ids, `precision` fp32 or int8; `weights_fingerprint` tells these weights from
    others of the same iteration; `config` is YAML and names no place of this machine.
    """
    mean, std = normalisation(predictor.config, predictor.channels)
    model = predictor.config.model
    config = predictor.config.model_copy(update={"model": without_downloads(model)})
    lo_hi = predictor.value_range
    return {
        "segkit": __version__,
        "torch": torch.__version__ + "",  # TorchVersion is a str subclass
        "opset": opset,
        "iteration": predictor.iteration,
        "weights_fingerprint": weights_fingerprint(predictor.model),
        "input": IMAGE,
        "precision": precision,
        "output": IDS if with_preprocessing else LOGITS,
        "preprocessing_inside": with_preprocessing,
        "size": None if size is None else list(size),
        "class_names": list(predictor.labels.class_names),
        "palette": [list(color) for color in predictor.labels.palette],
        "ignore_index": predictor.labels.ignore_index,
        "channels": predictor.channels,
        "mean": list(mean),
        "std": list(std),
        "value_range": lo_hi if lo_hi is None or isinstance(lo_hi, str) else list(lo_hi),
        "resize": None if predictor.resize is None else list(predictor.resize),
        "temperature": predictor.temperature,
        "config": yaml.safe_dump(without_places(config), sort_keys=False),  # JSON has no numbers as keys
    }


def as_texts(about: dict[str, Any]) -> dict[str, str]:
    """Each entry as JSON, for files that keep texts by name."""
    return {name: json.dumps(value, ensure_ascii=False) for name, value in about.items()}
