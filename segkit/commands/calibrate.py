"""Fitting a temperature, by which all logits are divided: a network becomes less sure, or more, and predicts the same.

Guo et al. 2017 (arXiv:1706.04599). The temperature is fitted on one half of the images and scored on the other.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from segkit.commands.evaluate import make_batches, open_data
from segkit.errors import ConfigError, DataError
from segkit.evaluation.calibration import CalibrationCounts, CalibrationScores
from segkit.evaluation.evaluate import Evaluation, evaluate
from segkit.runs.folder import RunFolder
from segkit.runs.predictor import Predictor, load_predictor
from segkit.runs.recording.bad_sample_log import BadSampleLog
from segkit.runs.resume import run_folder_of
from segkit.system.device import choose_device
from segkit.system.files import finite_or_none, write_json
from segkit.system.memory import lack_of_memory_explained
from segkit.system.packed.members import is_packed
from segkit.training.build import build_views

#: Pixels that are drawn of an image, and numbers that are kept of all images, at most.
MOST_PIXELS, MOST_NUMBERS = 4096, 2**25
#: Temperatures beyond which none is looked for, and halvings of what lies between: to the last digits of a float64.
LOWEST, HIGHEST, HALVINGS = 0.01, 100.0, 60
#: Pixels whose logits are in memory in float64 at once.
CHUNK = 2**14


class LogitSample:
    """Logits of pixels of each image: of all that are valid, or where they are more than `pixels` of so many that are
    drawn, with replacement and by its place in the data set alone.

    By place, `logits` float32 (M, C) and `labels` int64 (M,), and `valid`, how many pixels the image has to draw from.
    """

    def __init__(self, *, pixels: int, ignore_index: int):
        self.pixels, self.ignore_index = pixels, ignore_index
        self.logits: dict[int, Tensor] = {}
        self.labels: dict[int, Tensor] = {}
        self.valid: dict[int, int] = {}

    def add(self, logits: Tensor, target: Tensor, places: Sequence[int]) -> None:
        """Draw from images with logits (N, C, h, w) and labels (N, H, W) on the host."""
        for small, label, place in zip(logits, target, places, strict=True):
            flat = label.flatten().long()
            valid = (flat != self.ignore_index).nonzero()[:, 0]
            if not len(valid):
                continue
            drawn = valid
            if len(valid) > self.pixels:
                generator = torch.Generator().manual_seed(place)
                drawn = valid[torch.randint(len(valid), (self.pixels,), generator=generator)]
            self.logits[place] = upsampled_at(small, drawn, label.shape).cpu()
            self.labels[place] = flat[drawn]
            self.valid[place] = len(valid)


def upsampled_at(logits: Tensor, pixels: Tensor, size: Sequence[int]) -> Tensor:
    """The logits (M, C) in fp32 of `pixels` (M,), numbers in an image of `size` (H, W), of bilinearly upsampled logits
    (C, h, w), as in `score_pixels`; one channel z is made the two [0, z]."""
    pixels = pixels.to(logits.device)
    (y, below, down), (x, right, across) = (
        _source(place, old, new)
        for place, old, new in zip((pixels // size[1], pixels % size[1]), logits.shape[1:], size, strict=True)
    )
    logits = logits.float()
    upper = logits[:, y, x] * (1 - across) + logits[:, y, right] * across
    lower = logits[:, below, x] * (1 - across) + logits[:, below, right] * across
    found = (upper * (1 - down) + lower * down).T  # (M, C)
    return torch.cat([torch.zeros_like(found), found], dim=1) if found.shape[1] == 1 else found


def _source(place: Tensor, old: int, new: int) -> tuple[Tensor, Tensor, Tensor]:
    centre = ((place.float() + 0.5) * (old / new) - 0.5).clamp_min(0)
    first = centre.long().clamp_max(old - 1)
    return first, (first + 1).clamp_max(old - 1), centre - first


def fit_temperature(logits: Sequence[Tensor], labels: Sequence[Tensor], valid: Sequence[int]) -> float:
    """The temperature with the smallest mean cross-entropy over the pixels of images, from `logits` (M, C) and `labels`
    (M,) drawn of each and the numbers of pixels that they stand for.

    The cross-entropy is convex in 1 / T, so that its slope there is 0 at one place only, which halving finds. Raises
    DataError if that is not between LOWEST and HIGHEST.
    """
    if not logits:
        raise DataError("--calibrate: the images to fit on have no valid pixel -> use more images")

    def slope(inverse: float) -> float:
        """d(cross-entropy) / d(1 / T): expected minus true logit, summed over the pixels."""
        total = 0.0
        for z_all, y_all, pixels in zip(logits, labels, valid, strict=True):
            for z, y in zip(z_all.split(CHUNK), y_all.split(CHUNK), strict=True):
                z = z.double()
                expected = ((z * inverse).softmax(dim=1) * z).sum(dim=1)
                total += float((expected - z.gather(1, y[:, None])[:, 0]).sum()) * pixels / len(z_all)
        return total

    low, high = 1 / HIGHEST, 1 / LOWEST
    if not slope(low) < 0 < slope(high):
        raise DataError(
            f"--calibrate: no temperature between {LOWEST:g} and {HIGHEST:g} has the smallest cross-entropy: the "
            "images to fit on are predicted (nearly) all right, or no better than by chance "
            "-> use more images, or train on"
        )
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / (low * high) ** 0.5


@lack_of_memory_explained("eval.batch_size=1, fewer train.workers (0: none), or --device cpu")
def calibrate(
    weights: str | Path,
    overrides: Sequence[str],
    *,
    split: str,
    device: str,
    group: Callable[[Sequence[str]], np.ndarray],
) -> int:
    """Fit a temperature to the weights of a run, print what it does, and write it into the run folder; returns the exit
    status. `group` numbers the groups of images, by their names: every second group, from the first on, is fitted on.

    Raises ConfigError for weights that lie in no run folder, RunFolderInUse while the run goes on.
    """
    predictor = load_predictor(weights, choose_device(device))
    if predictor.path.suffix == ".onnx":
        raise ConfigError(
            f"--calibrate is of the weights of a run, and {predictor.path} is exported -> the run, then export it again"
        )
    if is_packed(predictor.path):
        raise ConfigError(
            f"--calibrate is of the weights of a run, and {predictor.path} is packed -> the run, then pack it again"
        )
    run = run_folder_of(predictor.path)
    if run is None:
        raise ConfigError(
            f"--calibrate writes into a run folder, and {predictor.path} lies in none -> give one"
        )
    with RunFolder.reopen(run) as folder:
        found = find_temperature(predictor, overrides, split=split, group=group)
        print("\n".join(say_temperature(found, split=split, file=folder.temperature)))
        about = {"weights": predictor.path.name, "iteration": predictor.iteration, "split": split}
        write_json(folder.temperature, {**about, **found})
        print(f"wrote {folder.temperature}; weights {predictor.path} ({predictor.why})")
    return 0


def say_temperature(found: Mapping[str, Any], *, split: str, file: Path) -> list[str]:
    """What was found, in lines, and a word of warning where it does not carry over to the other half."""
    before, after = found["before"], found["after"]
    lines = [
        f"temperature {found['temperature']:.4f}, fitted on {found['fitted_on']} images of {split}; on the other "
        f"{found['scored_on']}:"
    ]
    for name, one in (("before", before), ("after", after)):
        lines.append(f"  {name:<6}  ECE {100 * one['ece']:.2f}  Brier {one['brier']:.4f}  ce {one['ce']:.4f}")
    if after["ce"] > before["ce"]:
        lines.append(
            "caution: on those, the cross-entropy is larger with it: what it was fitted to is not what they are like "
            f"-> fit it on more images, or remove {file}, else predictions divide by it"
        )
    return lines


def find_temperature(
    predictor: Predictor,
    overrides: Sequence[str],
    *,
    split: str,
    group: Callable[[Sequence[str]], np.ndarray],
) -> dict[str, Any]:
    """The temperature, and the scores without and with it on the images that it was not fitted on, in plain types."""
    config, dataset = open_data(predictor, overrides, split=split)
    views = build_views(
        config, predictor.resize
    )  # here and not in `evaluate`, so that each image is drawn from once
    classes = len(predictor.labels.class_names)
    pixels = max(1, min(MOST_PIXELS, MOST_NUMBERS // (classes * max(1, len(dataset)))))
    sample = LogitSample(pixels=pixels, ignore_index=dataset.ignore_index)
    bad = BadSampleLog(None, tell=tqdm.write)
    batches = make_batches(predictor, config, dataset, note=bad.note)
    present: dict[str, Any] = {}

    def run(forward: Callable[[Tensor], Tensor], source: Iterable[Mapping[str, Any]]) -> Evaluation:
        result = evaluate(
            forward, predictor.model, source, num_classes=classes, ignore_index=dataset.ignore_index,
            device=predictor.device, calibration=True,
        )  # fmt: skip
        assert result is not None  # there is nothing that would stop it
        return result

    def remembered() -> Iterator[Mapping[str, Any]]:
        for batch in tqdm(batches, unit="batch", disable=None, leave=False):
            present.update(batch)
            yield batch

    def draw(image: Tensor) -> Tensor:
        logits = views.logits(predictor.forward, image)
        sample.add(logits, present["target"], present["index"].tolist())
        return logits

    before = run(draw, remembered())
    fitted = group(before.names) % 2 == 0  # (N,)
    chosen = [place for place, is_fitted in zip(before.places, fitted, strict=True) if is_fitted]
    chosen = [place for place in chosen if place in sample.valid]
    temperature = fit_temperature(
        [sample.logits[place] for place in chosen],
        [sample.labels[place] for place in chosen],
        [sample.valid[place] for place in chosen],
    )
    after = run(
        lambda image: views.logits(predictor.forward, image).float() / temperature,  # as predictions divide
        tqdm(batches, unit="batch", disable=None, leave=False),
    )
    others = torch.from_numpy(~fitted).nonzero()[:, 0]
    return {
        "temperature": temperature,
        "predict": config.predict.model_dump(),
        "fitted_on": int(fitted.sum()),
        "scored_on": len(others),
        "before": _scores_of(before, others),
        "after": _scores_of(after, others),
    }


def _scores_of(result: Evaluation, images: Tensor) -> dict[str, float | None]:
    assert result.calibration is not None and result.ce_sums is not None  # both were counted
    bins = result.calibration.bins[images]
    scores: CalibrationScores = CalibrationCounts(bins, result.calibration.brier_sums[images]).scores()
    pixels = int(bins[:, :, 0].sum())
    if not pixels:
        raise DataError("--calibrate: the images to score have no valid pixel -> use more images")
    ce = float(result.ce_sums[images].sum()) / pixels
    if not math.isfinite(ce):
        raise DataError(
            "--calibrate: the cross-entropy of the images to score is infinite, or no number: the training, or its "
            "precision, has failed -> look at its logits, or train it again"
        )
    return {
        "ece": finite_or_none(scores.ece),
        "brier": finite_or_none(scores.brier),
        "confidence": finite_or_none(scores.confidence),
        "accuracy": finite_or_none(scores.accuracy),
        "ce": ce,
    }
