"""An .onnx file that computes in 8 bits: calibrated on training images, and what that costs in mIoU."""

import importlib
import logging
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from segkit.commands.evaluate import open_data
from segkit.commands.export.sweep import Run
from segkit.evaluation.metrics import confusion_matrices
from segkit.evaluation.upsampled_scores import predict_pixels
from segkit.runs.exported.onnx_network import IMAGE
from segkit.runs.predictor import Predictor

#: Training images that the ranges of values are taken from, and validation images that both networks are scored on.
CALIBRATION, SCORED = 16, 64
#: Draws of the bootstrap.
DRAWS = 2000


class Cost(NamedTuple):
    """mIoU, in [0, 1], of the network in fp32 and in 8 bits on the same images, and the 95 % interval of what it gains:
    percentiles of the second minus the first, of images that are drawn anew."""

    before: float
    after: float
    low: float
    high: float
    images: int


def read_calibration(predictor: Predictor, overrides: Sequence[str]) -> list[Tensor]:
    """Training images (1, C, H, W) as the network sees them, spread over the set. Raises ConfigError or DataError where
    they cannot be read: without them there is nothing to take the ranges from."""
    _, dataset = open_data(predictor, overrides, split="train")
    chosen = _spread(len(dataset), CALIBRATION)
    return [predictor.preprocess(predictor.views.bring(dataset[index].image[None])) for index in chosen]


def _spread(count: int, wanted: int) -> list[int]:
    wanted = min(count, wanted)
    return [index * count // wanted for index in range(wanted)]


def quantise(content: bytes, images: Sequence[Tensor]) -> bytes:
    """The .onnx file with weights and values in 8 bits: weights by channel, values in the ranges met in the images."""
    onnx, quantization = (importlib.import_module(name) for name in ("onnx", "onnxruntime.quantization"))

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left: Iterator[Tensor] = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.left, None)
            return None if image is None else {IMAGE: image.contiguous().numpy()}

    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            onnx.load_model_from_string(content),
            str(path),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
        )
        return path.read_bytes()


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Within, nothing is logged: the quantiser recommends steps that the exporter has done."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def measure(predictor: Predictor, overrides: Sequence[str], before: Run, after: Run) -> Cost:
    """Score both on the validation images, or `SCORED` of them that are spread over the set."""
    _, dataset = open_data(predictor, overrides, split="val")
    known = {"num_classes": len(predictor.labels.class_names), "ignore_index": dataset.ignore_index}
    counts: tuple[list[Tensor], list[Tensor]] = ([], [])
    chosen = _spread(len(dataset), SCORED)
    for index in chosen:
        sample = dataset[index]
        image = predictor.preprocess(predictor.views.bring(sample.image[None]))
        target = sample.target[None]
        for run, kept in zip((before, after), counts, strict=True):
            kept.append(confusion_matrices(target, predict_pixels(run(image), target.shape[-2:]), **known)[0])
    one, other = (torch.stack(kept).double().numpy() for kept in counts)  # (N, C, C)
    low, high = interval_of_difference(one, other)
    first, second = (float(mean_ious(each.sum(0)[None])[0]) for each in (one, other))
    return Cost(first, second, low, high, len(chosen))


def interval_of_difference(before: np.ndarray, after: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of mIoU(after) - mIoU(before) over draws of images with replacement, the same for
    both, of the confusion matrices (N, C, C) of N images."""
    count = len(before)
    random = np.random.default_rng(seed)
    times = random.multinomial(count, [1 / count] * count, size=DRAWS).astype(float)  # (DRAWS, N)
    one, other = (mean_ious(np.tensordot(times, each, axes=1)) for each in (before, after))
    low, high = np.nanpercentile(other - one, [2.5, 97.5])
    return float(low), float(high)


def mean_ious(matrices: np.ndarray) -> np.ndarray:
    """The mIoU of each confusion matrix (B, C, C), over the classes whose TP + FP + FN > 0; NaN where there is none."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    union = matrices.sum(1) + matrices.sum(2) - right
    there = union > 0
    shares = np.where(there, right / np.where(there, union, 1), 0).sum(1)
    with np.errstate(invalid="ignore"):
        return shares / there.sum(1)
