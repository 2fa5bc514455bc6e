"""Whether a network is as sure as it is right: of the pixels it is 80 % sure of, 80 % should be right.

The confidence of a pixel is the probability of the class that is predicted. Pixels are counted in bins of it, image by
image and in integers, so that the counts of any images, in any order and of any process, add up to the same numbers.
Ignored pixels are not counted.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from segkit.evaluation.confidence_bins import BINS, UNIT, WIDTH


@dataclass(frozen=True)
class CalibrationScores:
    """How far confidence and accuracy of a set of pixels are apart; NaN without a pixel.

    `ece` is the expected calibration error (Naeini et al. 2015, AAAI; Guo et al. 2017, arXiv:1706.04599) over the bins:
    the mean over the pixels of | accuracy - mean confidence | of their bin, in [0, 1]. `brier` is the mean over the
    pixels of sum_c (p_c - y_c)^2, in [0, 2] (Brier 1950, Monthly Weather Review 78). `confidence` and `accuracy` are
    means over all pixels. `bins` are lists of the pixels, the accuracies and the mean confidences of the BINS bins.
    """

    ece: float
    brier: float
    confidence: float
    accuracy: float
    bins: tuple[list[int], list[float], list[float]]


@dataclass(frozen=True)
class CalibrationCounts:
    """What is counted of N images: `bins` int64 (N, BINS, 3) and `brier_sums` float64 (N,).

    Of each image and bin, in this order, the number of pixels, how many of them are predicted rightly, and the sum of
    their confidences in multiples of 1 / UNIT. `brier_sums` are sums over the valid pixels of an image.
    """

    bins: Tensor
    brier_sums: Tensor

    def scores(self) -> CalibrationScores:
        """The scores of all images: of the sums, so that no image counts more than its pixels."""
        counts, right, units = self.bins.sum(dim=0).T.tolist()  # BINS integers each
        pixels = sum(counts)
        # Of integers, so that it is exact up to the division.
        gaps = sum(abs(hits * UNIT - sure) for hits, sure in zip(right, units, strict=True))
        return CalibrationScores(
            ece=_ratio(gaps, pixels * UNIT),
            brier=_ratio(float(self.brier_sums.sum()), pixels),
            confidence=_ratio(sum(units), pixels * UNIT),
            accuracy=_ratio(sum(right), pixels),
            bins=(
                counts,
                [_ratio(hits, count) for hits, count in zip(right, counts, strict=True)],
                [_ratio(sure, count * UNIT) for sure, count in zip(units, counts, strict=True)],
            ),
        )


class CalibrationMeter:
    """Adds up what CalibrationCounts holds of `images` images, on `device`, a few rows at a time."""

    def __init__(self, images: int, *, device: torch.device):
        # In float64, so that a large image does not lose its last digits; MPS has none.
        double = torch.float32 if device.type == "mps" else torch.float64
        self.bins = torch.zeros(images, BINS, 3, dtype=torch.int64, device=device)
        self.brier_sums = torch.zeros(images, dtype=double, device=device)

    def add(self, image: int, confidence: Tensor, brier: Tensor, right: Tensor, ignored: Tensor) -> None:
        """Take in rows of one image: four tensors (R, W) on the device, the last two bool. Nothing waits for it.

        `confidence` is in [0, 1], and one that is NaN counts as 0; `brier` is 0 where `ignored`.
        """
        self.bins[image] += count_bins(confidence, right, ignored)
        self.brier_sums[image] += brier.sum(dtype=self.brier_sums.dtype)

    def take(self, other: "CalibrationMeter") -> None:
        """Take in what another has added up of the same images."""
        self.bins += other.bins
        self.brier_sums += other.brier_sums


def count_bins(confidence: Tensor, right: Tensor, ignored: Tensor) -> Tensor:
    """The bins (BINS, 3) of CalibrationCounts, of pixels (R, W) of one image as CalibrationMeter takes them in."""
    units = (confidence * UNIT).nan_to_num_(nan=0.0).round_()
    # Bins count from 1 here, and bin 0 collects what is ignored. WIDTH is a power of two, so that nothing is rounded.
    bins = (units / WIDTH).ceil_().clamp_min_(1).masked_fill_(ignored, 0)
    cell = bins.mul_(2).add_(right.float()).long()
    # A table for each row: on a GPU millions of pixels would queue for the few cells of a single one.
    sums = torch.zeros(2, len(cell), 2 * (BINS + 1), dtype=torch.int64, device=cell.device)
    sums[0].scatter_add_(1, cell, torch.ones((), dtype=torch.int64, device=cell.device).expand_as(cell))
    sums[1].scatter_add_(1, cell, units.long())
    counts, sure = sums.sum(dim=1).view(2, BINS + 1, 2)[:, 1:]  # of each bin: wrong, right
    return torch.stack([counts.sum(dim=-1), counts[:, 1], sure.sum(dim=-1)], dim=-1)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
