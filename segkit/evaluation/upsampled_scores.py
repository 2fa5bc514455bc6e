"""Prediction and cross-entropy of every pixel from logits at the model's stride, without upsampled logits in memory.

Bilinear interpolation is linear along the rows, then along the columns. The first is done once per image, at the
height of the model; the second for a few rows of the label at a time, and what is wanted of them is taken at once.
So what is in memory is a band of rows, small enough for the processor's cache, not all logits at the label's size.
"""

import math
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from segkit.evaluation.calibration import Calibration, CalibrationMeter

#: Bytes of a band: on a CPU so that it stays in the cache, elsewhere so that few kernels are launched.
CPU_BAND, DEVICE_BAND = 2**22, 2**27
#: exp of less than this adds nothing to 1. Its square is not a denormal number yet, which processors compute many times
#: more slowly.
LEAST_EXPONENT = -40.0


class PixelScores(NamedTuple):
    """What is said of each pixel, (N, H, W) on the device of the logits, and what is counted of an image.

    `prediction`: class ids, uint8 for at most 256 classes, else int64. `ce`: -log softmax of the true class, fp32, 0 at
    ignored pixels. `calibration`: what was counted of the confidences, if that was asked for.
    """

    prediction: Tensor
    ce: Tensor
    calibration: CalibrationMeter | None = None


@torch.no_grad()
def score_pixels(
    logits: Tensor, target: Tensor, *, ignore_index: int, calibration: Calibration = False
) -> PixelScores:
    """Predictions and cross-entropy at the size of `target`, of floating-point logits (N, C, h, w).

    `target` (N, H, W): integer ids. Both equal, up to rounding, the argmax and the cross-entropy of
    `F.interpolate(logits.float(), (H, W), mode="bilinear", align_corners=False)`; of equal logits the class of lower
    id is predicted. A single channel z is taken as the two logits [0, z] of a binary loss. A label that is neither a
    class nor `ignore_index` is a RuntimeError on the CPU, a device-side assertion on CUDA. With `calibration`, the
    softmax of the same logits is compared with what is right, and never stored; "classwise": of every class.
    """
    bands = _Bands(logits, target.shape[-2:])
    prediction = _empty_prediction(logits, target.shape[-2:])
    ce = torch.empty(prediction.shape, device=logits.device)
    of_each = bands.classes if calibration == "classwise" else None
    meter = CalibrationMeter(len(target), device=logits.device, classes=of_each) if calibration else None
    for image, rows, band in bands:
        label = target[image, rows].long()  # (R, W); in int64, whatever ignore_index is
        ignored = label == ignore_index
        best, prediction[image, rows] = bands.find_largest(band)  # (R, C, W) -> (R, W)
        less = bands.subtract(band, best).clamp_min_(LEAST_EXPONENT).exp_()  # p_c / p of the predicted class
        total = less.sum(dim=1)
        below = best - band.gather(1, label.masked_fill(ignored, 0)[:, None])[:, 0]
        if meter is not None:
            confidence = total.reciprocal()
            if of_each is not None:
                meter.add_classes(image, less * confidence[:, None], label, ignored)
            # sum_c (p_c - y_c)^2 = sum_c p_c^2 - 2 p_true + 1
            brier = (
                less.mul_(less).sum(dim=1).mul_(confidence).sub_(below.neg().exp_(), alpha=2).mul_(confidence)
            )
            brier.add_(1).masked_fill_(ignored, 0.0)
            meter.add(image, confidence, brier, label == prediction[image, rows], ignored)
        ce[image, rows] = total.log_().add_(below).masked_fill_(ignored, 0.0)
    return PixelScores(prediction, ce, meter)


@torch.no_grad()
def predict_pixels(logits: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """The prediction of `score_pixels` at the size (H, W), without labels."""
    bands = _Bands(logits, size)
    prediction = _empty_prediction(logits, size)
    for image, rows, band in bands:
        _, prediction[image, rows] = bands.find_largest(band)
    return prediction


@torch.no_grad()
def confidence_pixels(logits: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """The probability of the class that `predict_pixels` gives, uint8 (N, H, W) in steps of 1 / 255; 0 where it is
    NaN."""
    bands = _Bands(logits, size)
    confidence = torch.empty(len(logits), *size, dtype=torch.uint8, device=logits.device)
    for image, rows, band in bands:
        best, _ = bands.find_largest(band)
        total = bands.subtract(band, best).clamp_min_(LEAST_EXPONENT).exp_().sum(dim=1)
        confidence[image, rows] = _as_bytes(total.reciprocal_())
    return confidence


@torch.no_grad()
def probability_pixels(logits: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """The probabilities of all classes, uint8 (N, C, H, W) in steps of 1 / 255; 0 where they are NaN."""
    bands = _Bands(logits, size)
    probabilities = torch.empty(len(logits), bands.classes, *size, dtype=torch.uint8, device=logits.device)
    for image, rows, band in bands:
        best, _ = bands.find_largest(band)
        shares = bands.subtract(band, best).clamp_min_(LEAST_EXPONENT).exp_()
        shares /= shares.sum(dim=1, keepdim=True)
        probabilities[image, :, rows] = _as_bytes(shares).transpose(0, 1)  # (R, C, W) -> (C, R, W)
    return probabilities


def _as_bytes(shares: Tensor) -> Tensor:
    """Numbers in [0, 1], to be changed, in steps of 1 / 255."""
    return shares.mul_(255).nan_to_num_(nan=0.0).round_().to(torch.uint8)


class _Bands:
    """Iterates over logits (N, C, h, w) at the size (H, W), a band of rows at a time: the image, its rows and their
    logits (R, C, W) in fp32, one channel made two. A band is not to be changed, and holds until the next one comes.

    All bands share their memory: on a CPU, fresh memory for each takes several times as long as the arithmetic in it.
    The classes come after the rows, since a row of all classes is what is read and written at once.
    """

    def __init__(self, logits: Tensor, size: tuple[int, int] | torch.Size):
        self.logits, self.size, self.device = logits, size, logits.device
        self.channels, self.classes = logits.shape[1], max(2, logits.shape[1])
        self.rows = min(size[0], _rows_per_band(self.classes, size[1], self.device))
        self.ids = torch.arange(self.classes, dtype=torch.float32, device=self.device)[:, None]  # (C, 1)
        self.few_kernels = self.device.type != "cpu"
        self.sources = _source_rows(logits.shape[-2], size[0], self.device)
        self.runs: dict[int, list[tuple[slice, int, int]]] = {}  # of each band, by its first row
        self.memory: dict[str, Tensor] = {}

    def __iter__(self) -> Iterator[tuple[int, slice, Tensor]]:
        height, width = self.size
        resized = tuple(self.logits.shape[-2:]) != (height, width)
        bands = [slice(start, min(start + self.rows, height)) for start in range(0, height, self.rows)]
        for image, small in enumerate(self.logits.transpose(1, 2)):  # (h, C, w)
            wide = self._widen(small) if resized else small  # (h, C, W)
            for rows in bands:
                band = self._mix(wide, rows) if resized else wide[rows].float()
                if self.channels == 1:
                    band = torch.cat([torch.zeros_like(band), band], dim=1)
                yield image, rows, band

    def find_largest(self, band: Tensor) -> tuple[Tensor, Tensor]:
        """The largest logit of each pixel of a band (R, C, W), and its class, both floats (R, W).

        `band.max(dim=1)` says the same, but goes through the classes of one pixel after the other, which takes
        several times as long on a CPU. Where a logit is NaN, the class is 0.
        """
        best = band.amax(dim=1)
        beaten = torch.lt(band, best[:, None], out=self._work("work", band.shape))  # 1 or 0
        return best, torch.add(self.ids, beaten, alpha=self.classes, out=beaten).amin(dim=1)

    def subtract(self, band: Tensor, best: Tensor) -> Tensor:
        """`best` (R, W) subtracted from a band (R, C, W), to be changed at will."""
        return torch.sub(band, best[:, None], out=self._work("work", band.shape))

    def _widen(self, small: Tensor) -> Tensor:
        """(h, C, w) -> (h, C, W) in fp32, each row as F.interpolate(mode="linear") has it, which knows no `out`."""
        shape = (*small.shape[:2], self.size[1])
        out = self._work("wide", shape)
        rows = small.float().reshape(1, -1, small.shape[2])
        torch.ops.aten.upsample_linear1d.out(rows, [shape[2]], False, out=out.view(1, -1, shape[2]))
        return out

    def _mix(self, wide: Tensor, rows: slice) -> Tensor:
        """These rows (R, C, W) of the label's size, from those of `wide` (h, C, W) that they lie between."""
        above, below, rest, share = (each[rows] for each in self.sources)
        shape = (len(above), *wide.shape[1:])
        band = self._work("band", shape)
        if self.few_kernels:
            lower = torch.index_select(wide, 0, below, out=self._work("work", shape))
            return torch.index_select(wide, 0, above, out=band).mul_(rest).addcmul_(lower, share)
        if rows.start not in self.runs:
            self.runs[rows.start] = _find_runs(above, below)
        for run, high, low in self.runs[rows.start]:  # each row is read where it lies
            torch.mul(wide[high], rest[run], out=band[run]).addcmul_(wide[low], share[run])
        return band

    def _work(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Memory of this name in this shape."""
        count = math.prod(shape)
        if name not in self.memory or len(self.memory[name]) < count:
            self.memory[name] = torch.empty(count, device=self.device)
        return self.memory[name][:count].view(shape)


def _source_rows(height: int, new_height: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For each of the new rows the two it lies between, (new_height,), and the shares of the upper and the lower one,
    (new_height, 1, 1): as in F.interpolate, with pixel centres at + 0.5 and the border repeated."""
    centres = torch.arange(new_height, dtype=torch.float32, device=device) + 0.5
    place = (centres * (height / new_height) - 0.5).clamp_min(0)
    above = place.long().clamp_max(height - 1)
    share = (place - above)[:, None, None]
    return above, (above + 1).clamp_max(height - 1), 1 - share, share


def _find_runs(above: Tensor, below: Tensor) -> list[tuple[slice, int, int]]:
    """The new rows that lie between the same two old ones, and those two, from top to bottom."""
    runs, first = [], 0
    for (high, low), rows in groupby(zip(above.tolist(), below.tolist(), strict=True)):
        count = len(list(rows))
        runs.append((slice(first, first + count), high, low))
        first += count
    return runs


def _rows_per_band(classes: int, width: int, device: torch.device) -> int:
    band = CPU_BAND if device.type == "cpu" else DEVICE_BAND
    return max(1, band // (4 * classes * width))


def _empty_prediction(logits: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    dtype = torch.uint8 if logits.shape[1] <= 256 else torch.int64
    return torch.empty(len(logits), *size, dtype=dtype, device=logits.device)
