"""Whether a network is as sure as it is right: of the pixels it is 80 % sure of, 80 % should be right.

The confidence of a pixel is the probability of the class that is predicted. Pixels are counted in bins of it, image by
image and in integers, so that the counts of any images, in any order and of any process, add up to the same numbers.
Ignored pixels are not counted.

The same can be asked of each class: of the pixels that are given 80 % for it, 80 % should have its label. This sees the
probabilities that are not predicted, and takes longer, since all of them are counted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from segkit.evaluation.confidence_bins import BINS, UNIT, WIDTH

#: Numbers below UNIT whose sum an int32 holds.
COLUMNS = 2**11

#: Whether the confidences are counted, or the probabilities of every class as well.
Calibration = bool | Literal["classwise"]


@dataclass(frozen=True)
class CalibrationScores:
    """How far confidence and accuracy of a set of pixels are apart; NaN without a pixel.

    `ece` is the expected calibration error (Naeini et al. 2015, AAAI; Guo et al. 2017, arXiv:1706.04599) over the bins:
    the mean over the pixels of | accuracy - mean confidence | of their bin, in [0, 1]. `brier` is the mean over the
    pixels of sum_c (p_c - y_c)^2, in [0, 2] (Brier 1950, Monthly Weather Review 78). `confidence` and `accuracy` are
    means over all pixels. `bins` are lists of the pixels, the accuracies and the mean confidences of the BINS bins.

    `class_ece` is, of each class, the mean over the pixels of | share with its label - mean probability of it | of
    their bin of that probability, and `classwise_ece` the mean over the classes (Kull et al. 2019, NeurIPS,
    arXiv:1910.12656); None where the classes were not counted.
    """

    ece: float
    brier: float
    confidence: float
    accuracy: float
    bins: tuple[list[int], list[float], list[float]]
    class_ece: list[float] | None = None

    @property
    def classwise_ece(self) -> float | None:
        """The mean of `class_ece`."""
        if self.class_ece is None:
            return None
        return math.fsum(self.class_ece) / len(self.class_ece)


@dataclass(frozen=True)
class CalibrationCounts:
    """What is counted of N images: `bins` int64 (N, BINS, 3) and `brier_sums` float64 (N,).

    Of each image and bin, in this order, the number of pixels, how many of them are predicted rightly, and the sum of
    their confidences in multiples of 1 / UNIT. `brier_sums` are sums over the valid pixels of an image. `class_bins`
    int64 (N, C, BINS, 3) are the same of the probability of each class, where the pixels that are right are those with
    its label; None if that was not asked for.
    """

    bins: Tensor
    brier_sums: Tensor
    class_bins: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """All that there is, in this order."""
        return [each for each in (self.bins, self.brier_sums, self.class_bins) if each is not None]

    @staticmethod
    def join(parts: Sequence["CalibrationCounts"]) -> "CalibrationCounts":
        """Those of the images of all `parts`, one at least, in which the same was counted."""
        columns = zip(*(part.tensors() for part in parts), strict=True)
        return CalibrationCounts(
            *(torch.cat([each.to(column[0].dtype) for each in column]) for column in columns)
        )

    def reorder(self, order: Sequence[int]) -> "CalibrationCounts":
        """The images `order`, in this order."""
        return CalibrationCounts(*(each[list(order)] for each in self.tensors()))

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
            class_ece=None if self.class_bins is None else _errors_of_classes(self.class_bins.sum(dim=0)),
        )


class CalibrationMeter:
    """Adds up what CalibrationCounts holds of `images` images, on `device`, a few rows at a time. With `classes`, their
    number, the probabilities of each are counted as well."""

    def __init__(self, images: int, *, device: torch.device, classes: int | None = None):
        # In float64, so that a large image does not lose its last digits; MPS has none.
        double = torch.float32 if device.type == "mps" else torch.float64
        self.bins = torch.zeros(images, BINS, 3, dtype=torch.int64, device=device)
        self.brier_sums = torch.zeros(images, dtype=double, device=device)
        self.class_bins = (
            None
            if classes is None
            else torch.zeros(images, classes, BINS, 3, dtype=torch.int64, device=device)
        )

    def tensors(self) -> list[Tensor]:
        """What was added up, as CalibrationCounts lists it."""
        return self.counts().tensors()

    def counts(self) -> CalibrationCounts:
        """What was added up, still on the device."""
        return CalibrationCounts(self.bins, self.brier_sums, self.class_bins)

    def add(self, image: int, confidence: Tensor, brier: Tensor, right: Tensor, ignored: Tensor) -> None:
        """Take in rows of one image: four tensors (R, W) on the device, the last two bool. Nothing waits for it.

        `confidence` is in [0, 1], and one that is NaN counts as 0; `brier` is 0 where `ignored`.
        """
        self.bins[image] += count_bins(confidence, right, ignored)
        self.brier_sums[image] += brier.sum(dtype=self.brier_sums.dtype)

    def add_classes(self, image: int, shares: Tensor, label: Tensor, ignored: Tensor) -> None:
        """The same of the probabilities (R, C, W) of all classes, which are changed; `label` (R, W) are ids."""
        assert self.class_bins is not None
        self.class_bins[image] += count_class_bins(shares, label, ignored)

    def take(self, other: "CalibrationMeter") -> None:
        """Take in what another has added up of the same images."""
        self.bins += other.bins
        self.brier_sums += other.brier_sums
        if self.class_bins is not None and other.class_bins is not None:
            self.class_bins += other.class_bins


def count_bins(confidence: Tensor, right: Tensor, ignored: Tensor) -> Tensor:
    """The bins (BINS, 3) of CalibrationCounts, of pixels (R, W) of one image as CalibrationMeter takes them in."""
    units = (confidence * UNIT).nan_to_num_(nan=0.0).round_()
    # Bins count from 1 here, and bin 0 collects what is ignored. WIDTH is a power of two, so that nothing is rounded.
    bins = (units / WIDTH).ceil_().clamp_min_(1).masked_fill_(ignored, 0)
    cell = bins.mul_(2).add_(right.float()).long()
    add_up = _add_up if cell.device.type == "cpu" else _add_up_without_waiting
    sums = torch.stack([add_up(cell, what, 2 * (BINS + 1)) for what in (None, units)])
    counts, sure = sums.view(2, BINS + 1, 2)[:, 1:]  # of each bin: wrong, right
    return torch.stack([counts.sum(dim=-1), counts[:, 1], sure.sum(dim=-1)], dim=-1)


def count_class_bins(shares: Tensor, label: Tensor, ignored: Tensor) -> Tensor:
    """The bins (C, BINS, 3) of each class, of probabilities (R, C, W) of one image, which are changed, and its labels
    (R, W). `ignored` pixels are not counted, whatever their label."""
    count = _count_classes_on_host if shares.device.type == "cpu" else _count_classes_without_waiting
    return count(shares.mul_(UNIT).nan_to_num_(nan=0.0).round_(), label, ignored)


def _count_classes_without_waiting(units: Tensor, label: Tensor, ignored: Tensor) -> Tensor:
    """The bins (C, BINS, 3) of probabilities in units (R, C, W); on any device, and there nothing waits for it."""
    classes = units.shape[1]
    first = torch.arange(classes, dtype=torch.float32, device=units.device)[:, None] * (BINS + 1)  # (C, 1)
    bins = (units / WIDTH).ceil_().clamp_min_(1).masked_fill_(ignored[:, None], 0)  # as in count_bins
    cell = bins.add_(first).long()
    own = cell.gather(1, label.masked_fill(ignored, 0)[:, None])
    what = (cell, None), (own, None), (cell, units)
    sums = [_add_up_without_waiting(*each, classes * (BINS + 1)) for each in what]
    return torch.stack(sums, dim=-1).view(classes, BINS + 1, 3)[:, 1:]


def _count_classes_on_host(units: Tensor, label: Tensor, ignored: Tensor) -> Tensor:
    """The same on a CPU, from `units` that are changed.

    Most classes are improbable in most pixels, so that most numbers lie in the lowest bin. Only the others are looked
    at one by one; the lowest has what is left of all pixels and of the sum of all numbers, which are whole.
    """
    rows, classes, width = units.shape
    units.mul_((~ignored).float()[:, None])  # masked_fill_ of all classes takes seven times as long
    own = units.gather(1, label.masked_fill(ignored, 0)[:, None])[:, 0]  # (R, W)
    hits = (label * (BINS + 1)).add_((own / WIDTH).ceil_().clamp_min_(1).long()).masked_fill_(ignored, 0)
    whole = units.int()
    columns = range(0, width, COLUMNS)
    total = sum(whole[:, :, x : x + COLUMNS].sum(dim=2, dtype=torch.int32).sum(dim=0) for x in columns)
    flat = whole.numpy().reshape(-1)
    above = np.flatnonzero(flat > WIDTH)  # NumPy is several times as fast as torch in this
    value = flat[above]
    first = np.arange(classes, dtype=np.int32) * (BINS + 1)
    cell = np.tile(np.repeat(first, width), rows)[above] + (value + (WIDTH - 1) >> WIDTH.bit_length() - 1)
    found = np.zeros((3, classes, BINS + 1), dtype=np.int64)
    counted = [(cell, None), (hits.numpy().reshape(-1), None), (cell, value)]  # exact up to 2^53
    for one, (where, weights) in zip(found, counted, strict=True):
        one[:] = np.bincount(where, weights, minlength=one.size).reshape(one.shape)
    found[0, :, 1] = int((~ignored).sum()) - found[0].sum(axis=1)
    found[2, :, 1] = np.asarray(total) - found[2].sum(axis=1)
    return torch.from_numpy(found[:, :, 1:]).permute(1, 2, 0)


def _add_up(cell: Tensor, units: Tensor | None, cells: int) -> Tensor:
    """How many elements of `cell`, or how many units there, belong to each of the cells, int64 (cells,)."""
    weights = (
        None if units is None else units.double().reshape(-1)
    )  # whole numbers, whose sums are exact up to 2^53
    return torch.bincount(cell.reshape(-1), weights, minlength=cells).long()


def _add_up_without_waiting(cell: Tensor, units: Tensor | None, cells: int) -> Tensor:
    """The same on a device, where torch.bincount would wait for the largest value. A table for each row: on a GPU
    millions of pixels would queue for the few cells of a single one."""
    cell = cell.flatten(1)
    one = torch.ones((), dtype=torch.int64, device=cell.device)
    what = one.expand_as(cell) if units is None else units.flatten(1).long()
    sums = torch.zeros(len(cell), cells, dtype=torch.int64, device=cell.device)
    return sums.scatter_add_(1, cell, what).sum(dim=0)


def _errors_of_classes(bins: Tensor) -> list[float]:
    """`class_ece` from counts (C, BINS, 3) of all images."""
    return [
        _ratio(
            sum(abs(hits * UNIT - sure) for _, hits, sure in rows), sum(count for count, _, _ in rows) * UNIT
        )
        for rows in bins.tolist()
    ]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
