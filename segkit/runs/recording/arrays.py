"""The arrays a run leaves for later statistics and pictures: per_image.npz and examples.npz.

Plain NumPy archives without pickled objects: `np.load(path, allow_pickle=False)` opens them anywhere.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segkit.data.palette import Color
from segkit.evaluation.confidence_bins import UNIT
from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.panels import Panel
from segkit.evaluation.pictures import as_rgb
from segkit.system.files import write_bytes

#: What mIoU means here; runs are comparable only if this text is the same.
DEFINITION = (
    "From one int64 confusion matrix over all valid pixels of the validation set, IoU per class = TP / (TP + FP + FN), "
    "averaged over the classes whose TP + FP + FN > 0; logits upsampled bilinearly to the label's size."
)

#: Pixels of the longer side above which examples are stored reduced.
LARGEST_EXAMPLE = 512


def save_per_image(
    path: Path,
    result: Evaluation,
    class_names: Sequence[str],
    *,
    iteration: int,
    precision: str,
    at: str | None = None,
) -> None:
    """Write what was counted of every validation image. Raises CannotWrite.

    The arrays, of N images and C classes:

    - `names` (N,) of the images, in the order of the data set, and `class_names` (C,);
    - `iteration` at which the model was scored; `definition`, the text of DEFINITION; `precision` that it was computed
      in: off, bf16 or fp16, as `train.amp` says it;
    - `eval_at`, only where `at` is given, since it is not that of the run's configuration: network or original, the
      size that was scored (`eval.at`);
    - `image`, `label`, `prediction` int32 (M,) and `pixels` int64 (M,): the confusion matrices without their zeros.
      Entry m says that so many `pixels` of that `image` (0 ... N-1) have that label and that prediction (0 ... C-1).
      Sorted by image, label and prediction, no three of which occur twice. Ignored pixels are not counted;
    - `ce_sums` float64 (N,): the cross-entropy in nats, summed over the valid pixels of each image;
    - `borders` int64 (N, C, 6), only where they were counted: the six numbers of pixels near the borders of each class
      that `BorderCounts` lists, and `boundary_tolerance`, one float: what was near, in pixels;
    - `calibration` int64 (N, 15, 3), only where it was counted: of each of 15 equal bins of confidence (an upper edge
      belongs to the bin below it) the numbers of pixels and of right ones and the sum of the confidences, in multiples
      of 1 / `confidence_unit`; with it `brier_sums` float64 (N,), the Brier score summed over the valid pixels;
    - `class_calibration` int64 (N, C, 15, 3), only where it was counted: the same bins of the probability of each
      class, whose right pixels are those with its label;
    - `objects` int64 (N, K, 15) and `object_entropies` float64 (N, K, 2), only where objects were counted: what
      `ObjectCounts` lists of the K classes with the ids `object_classes` (K,), and `object_min_size`, one whole number:
      of how many pixels an object was at least.
    """
    matrices = result.matrices
    assert matrices is not None and result.ce_sums is not None  # only one read from a checkpoint has none
    arrays = {
        "image": matrices.image,
        "label": matrices.label,
        "prediction": matrices.prediction,
        "pixels": matrices.pixels,
        "ce_sums": result.ce_sums.numpy(),
    }
    if at is not None:
        arrays["eval_at"] = np.asarray(at)
    if result.borders is not None:
        arrays["borders"] = result.borders.counts.numpy()
        arrays["boundary_tolerance"] = np.asarray(float(result.borders.tolerance))
    if result.calibration is not None:
        arrays["calibration"] = result.calibration.bins.numpy()
        arrays["confidence_unit"] = np.asarray(UNIT)
        arrays["brier_sums"] = result.calibration.brier_sums.numpy()
        if result.calibration.class_bins is not None:
            arrays["class_calibration"] = result.calibration.class_bins.numpy()
    if result.objects is not None:
        arrays["objects"] = result.objects.counts
        arrays["object_entropies"] = result.objects.entropies
        arrays["object_classes"] = np.asarray(result.objects.classes, dtype=np.int64)
        arrays["object_min_size"] = np.asarray(result.objects.min_size)
    _save(
        path,
        names=np.asarray(result.names, dtype=str),
        class_names=np.asarray(class_names, dtype=str),
        iteration=np.asarray(iteration),
        definition=np.asarray(DEFINITION),
        precision=np.asarray(precision),
        **arrays,
    )


def save_examples(
    path: Path, panels: Sequence[Panel], palette: Sequence[Color], ignore_index: int, *, iteration: int
) -> None:
    """Write what the network and the loss made of the example images, for pictures across runs.

    The arrays: `names` (K,), `palette` uint8 (C, 3), `ignore_index`, `iteration`, and for each k below K `image_k`
    uint8 (H, W, 3), `target_k` and `prediction_k` (H, W) class ids, `kept_k` uint8 (H, W), 255 for a pixel that
    the loss keeps entirely (absent for a loss that cannot tell). Every n-th pixel of large images. Raises CannotWrite.
    """
    arrays: dict[str, Any] = {}
    for k, panel in enumerate(panels):
        step = -(-max(panel["image"].shape[-2:]) // LARGEST_EXAMPLE)
        parts = {
            "image": as_rgb(panel["image"]).permute(1, 2, 0),
            "target": panel["target"],
            "prediction": panel["prediction"],
            "kept": None
            if panel["kept"] is None
            else (panel["kept"].float().clamp(0, 1) * 255).round().byte(),
        }
        for name, part in parts.items():
            if part is not None:
                values = part[::step, ::step].cpu().numpy()
                fits = values.size == 0 or (values.min() >= 0 and values.max() <= 255)
                arrays[f"{name}_{k}"] = values.astype(np.uint8) if fits else values
    _save(
        path,
        names=np.asarray([panel["name"] for panel in panels], dtype=str),
        palette=np.asarray(palette, dtype=np.uint8),
        ignore_index=np.asarray(ignore_index),
        iteration=np.asarray(iteration),
        **arrays,
    )


def _save(path: Path, **arrays: np.ndarray) -> None:
    stream = io.BytesIO()
    named: dict[str, Any] = arrays  # newer versions of NumPy have an option beside the arrays
    np.savez_compressed(stream, **named)
    write_bytes(path, stream.getvalue())
