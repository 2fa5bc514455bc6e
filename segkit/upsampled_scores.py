"""Prediction and cross-entropy of every pixel from logits at the model's stride, without upsampled logits in memory.

Bilinear interpolation is linear along the rows, then along the columns. The first is done once per image, at the
height of the model; the second for a few rows of the label at a time, and what is wanted of them is taken at once.
So what is in memory is a band of rows, small enough for the processor's cache, not all logits at the label's size.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

#: Bytes of a band: on a CPU so that it stays in the cache, elsewhere so that few kernels are launched.
CPU_BAND, DEVICE_BAND = 2**19, 2**27
#: exp of less than this is a denormal number, which processors compute many times more slowly, and adds nothing to 1.
LEAST_EXPONENT = -80.0


class PixelScores(NamedTuple):
    """What is said of each pixel; both (N, H, W) on the device of the logits.

    `prediction`: class ids, uint8 for at most 256 classes, else int64. `ce`: -log softmax of the true class, fp32, 0 at
    ignored pixels.
    """

    prediction: Tensor
    ce: Tensor


def score_pixels(logits: Tensor, target: Tensor, *, ignore_index: int) -> PixelScores:
    """Predictions and cross-entropy at the size of `target`, of floating-point logits (N, C, h, w).

    `target` (N, H, W): integer ids. Both equal, up to rounding, the argmax and the cross-entropy of
    `F.interpolate(logits.float(), (H, W), mode="bilinear", align_corners=False)`; of equal logits the class of lower
    id is predicted. A single channel z is taken as the two logits [0, z] of a binary loss. A label that is neither a
    class nor `ignore_index` is a RuntimeError on the CPU, a device-side assertion on CUDA.
    """
    prediction = _empty_prediction(logits, target.shape[-2:])
    ce = torch.empty(prediction.shape, device=logits.device)
    for image, rows, band in upsampled_bands(logits, target.shape[-2:]):
        label = target[image, rows].long()  # (R, W); in int64, whatever ignore_index is
        ignored = label == ignore_index
        best, prediction[image, rows] = band.max(dim=0)  # (C, R, W) -> (R, W)
        true = band.gather(0, label.masked_fill(ignored, 0)[None])[0]
        log_sum = (band - best).clamp_min_(LEAST_EXPONENT).exp_().sum(dim=0).log_()
        ce[image, rows] = log_sum.add_(best - true).masked_fill_(ignored, 0.0)
    return PixelScores(prediction, ce)


def predict_pixels(logits: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """The prediction of `score_pixels` at the size (H, W), without labels."""
    prediction = _empty_prediction(logits, size)
    for image, rows, band in upsampled_bands(logits, size):
        prediction[image, rows] = band.max(dim=0).indices  # several times faster than argmax on the CPU
    return prediction


def upsampled_bands(
    logits: Tensor, size: tuple[int, int] | torch.Size
) -> Iterator[tuple[int, slice, Tensor]]:
    """Logits (N, C, h, w) at the size (H, W), a band of rows at a time: the image, its rows and their logits (C, R, W)
    in fp32, one channel made two. A band is not to be changed.
    """
    height, width = size
    resized = tuple(logits.shape[-2:]) != (height, width)
    count = _rows_per_band(max(2, logits.shape[1]), width, logits.device)
    above, below, share = _source_rows(logits.shape[-2], height, logits.device)
    for image, small in enumerate(logits):
        wide = _widen(small, width) if resized else small  # (C, h, W)
        for start in range(0, height, count):
            rows = slice(start, start + count)
            if resized:
                part = share[rows, None]  # (R, 1)
                band = wide[:, above[rows]].mul_(1 - part).addcmul_(wide[:, below[rows]], part)
            else:
                band = wide[:, rows].float()
            yield image, rows, torch.cat([torch.zeros_like(band), band]) if len(band) == 1 else band


def _widen(small: Tensor, width: int) -> Tensor:
    """(C, h, w) -> (C, h, W) in fp32, each row interpolated linearly."""
    channels, height, _ = small.shape
    rows = small.float().reshape(1, channels * height, -1)
    return F.interpolate(rows, width, mode="linear", align_corners=False).reshape(channels, height, width)


def _source_rows(height: int, new_height: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each of the new rows the two it lies between, and the share in [0, 1) of the lower one: as in F.interpolate,
    with pixel centres at + 0.5 and the border repeated. Each (new_height,)."""
    centres = torch.arange(new_height, dtype=torch.float32, device=device) + 0.5
    place = (centres * (height / new_height) - 0.5).clamp_min(0)
    above = place.long().clamp_max(height - 1)
    return above, (above + 1).clamp_max(height - 1), place - above


def _rows_per_band(classes: int, width: int, device: torch.device) -> int:
    band = CPU_BAND if device.type == "cpu" else DEVICE_BAND
    return max(1, band // (4 * classes * width))


def _empty_prediction(logits: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    dtype = torch.uint8 if logits.shape[1] <= 256 else torch.int64
    return torch.empty(len(logits), *size, dtype=dtype, device=logits.device)
