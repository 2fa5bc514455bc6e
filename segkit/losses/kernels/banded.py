"""Backend `banded`: cross-entropy of bilinearly resized logits in plain PyTorch, a band of rows at a time.

The resized logits exist only for one band of some megabytes, which stays in the cache; backward computes them
again. Kept for it are what is there anyway: the logits as given, the target, and the cross-entropy itself.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.losses.kernels.geometry import Band, Taps, cut_bands, find_runs, find_taps
from segkit.losses.kernels.labels import read_labels, valid_pixels
from segkit.losses.kernels.reference import reference_cross_entropy

#: Bytes of the resized logits of one band; with their softmax twice as much is there.
BAND_BYTES = 8 * 2**20

#: The smallest probability in a gradient. Less is far below the rounding of every sum it is in, and once multiplied
#: with a gradient it may be a denormal number, with which arithmetic is many times slower.
SMALLEST_P = 2.0**-92


def banded_cross_entropy(logits: Tensor, target: Tensor, *, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Cross-entropy (N, H, W) and wrongly classified pixels (N, H, W) of logits (N, C, h, w) of any size.

    `target` class ids (N, H, W); see `upsampled_cross_entropy`. Differentiable once. NaN and infinity that valid pixels
    read are left to the reference; to see whether there are any, the host waits for a GPU.
    """
    # Rows are resized by matrix products, where 0 x NaN would carry it into other pixels. NaN is its own extreme.
    extremes = torch.stack([logits.detach().amin(), logits.detach().amax()])
    if not bool(extremes.isfinite().all()):
        broken = _find_readers(~logits.detach().isfinite().all(dim=1), target.shape[1:])  # (N, H, W)
        if bool((broken & valid_pixels(target, ignore_index)).any()):
            return reference_cross_entropy(logits, target, ignore_index=ignore_index)
        logits = logits.nan_to_num(posinf=0.0, neginf=0.0)  # nobody's loss depends on them
    return _Banded.apply(logits, target, ignore_index)


def _find_readers(pixels: Tensor, size: torch.Size) -> Tensor:
    """The pixels (N, H, W) that are made of some of these (N, h, w), even if they take nothing of them."""
    for dim, new_size in enumerate(size, start=1):
        taps = find_taps(pixels.shape[dim], new_size, dtype=torch.float32, device=pixels.device)
        pixels = pixels.index_select(dim, taps.low) | pixels.index_select(dim, taps.high)
    return pixels


class _Banded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
        bands = _Bands(logits, target.shape[1:])
        ce = torch.empty(target.shape, dtype=bands.dtype, device=logits.device)
        wrong = torch.empty(target.shape, dtype=torch.bool, device=logits.device)
        with torch.autocast(logits.device.type, enabled=False):
            for band in bands:
                valid, label = read_labels(target[band.images, band.rows].unsqueeze(1), ignore_index)
                x = bands.resize(logits[band.images, :, band.sources], band)  # (n, C, rows, W)
                log_p = torch.log_softmax(x, dim=1, out=bands.work(x.shape))
                true, largest = log_p.gather(1, label), log_p.amax(dim=1, keepdim=True)  # (n, 1, rows, W)
                wrong[band.images, band.rows] = ((largest > true) & valid).squeeze(1)
                ce[band.images, band.rows] = true.neg_().masked_fill_(~valid, 0.0).squeeze(1)
        ctx.save_for_backward(logits, target, ce)
        ctx.mark_non_differentiable(wrong)
        ctx.ignore_index = ignore_index
        return ce, wrong

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradients[0]  # that of `wrong` is none
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("the banded cross-entropy has no second derivative -> backend: reference")
        logits, target, ce = ctx.saved_tensors
        bands = _Bands(logits, target.shape[1:])
        result = bands.start_gradient(logits)
        with torch.autocast(logits.device.type, enabled=False):
            for band in bands:
                valid, label = read_labels(target[band.images, band.rows].unsqueeze(1), ctx.ignore_index)
                here = (band.images, slice(None), band.rows)
                slope = gradient.unsqueeze(1)[here].masked_fill(~valid, 0.0)  # (n, 1, rows, W)
                x = bands.resize(logits[band.images, :, band.sources], band)  # (n, C, rows, W)
                p = torch.softmax(x, dim=1, out=bands.work(x.shape)).clamp_min_(SMALLEST_P)
                p.scatter_(1, label, torch.expm1(-ce.unsqueeze(1)[here]))  # p - 1, without the cancellation
                bands.pull_back(p, slope, band, result)
        return result.to(logits.dtype), None, None


class _Bands:
    """The bands of one call, and how logits and gradients pass between the two sizes in them."""

    def __init__(self, logits: Tensor, size: torch.Size):
        self.dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        self.device = logits.device
        self.images, self.classes, *self.old_size = logits.shape
        self.new_size = list(size)
        # What there is per pixel besides the logits counts too, or it would be most of a band of two classes.
        row_bytes = (self.classes + 8) * self.new_size[1] * self.dtype.itemsize
        self.rows_per_band = max(1, BAND_BYTES // row_bytes)

    def __iter__(self) -> Iterator[Band]:
        runs = find_runs(self.old_size[0], self.new_size[0], self.dtype)
        return cut_bands(self.images, runs, rows_per_band=self.rows_per_band)

    @cached_property
    def rows(self) -> Taps:
        return self._find_taps(0)

    @cached_property
    def columns(self) -> Tensor:
        """What each new column takes of the old ones (W, w)."""
        return self._find_taps(1).matrix(slice(0, self.old_size[1]))

    @cached_property
    def buffers(self) -> Tensor:
        """Memory for the largest band, twice. Bands share it: fresh memory costs more than the arithmetic in it."""
        images = -(-self.rows_per_band // self.new_size[0])
        rows = min(self.rows_per_band, self.new_size[0])
        size = min(images, self.images) * self.classes * rows * self.new_size[1]
        return torch.empty(2, size, dtype=self.dtype, device=self.device)

    def _find_taps(self, dimension: int) -> Taps:
        sizes = self.old_size[dimension], self.new_size[dimension]
        return find_taps(*sizes, dtype=self.dtype, device=self.device)

    def work(self, shape: torch.Size, *, which: int = 0) -> Tensor:
        """The shared memory in this shape."""
        return self.buffers[which, : shape.numel()].view(shape)

    def resize(self, source: Tensor, band: Band) -> Tensor:
        """Old rows (n, C, k, w) -> new rows of the band (n, C, rows, W): in shared memory, or `source` itself."""
        x = source.to(self.dtype)
        if self.old_size[1] != self.new_size[1]:
            rows = F.interpolate(x.flatten(0, 1), self.new_size[1], mode="linear", align_corners=False)
            x = rows.view(*x.shape[:3], -1)  # (n C, k, W) -> (n, C, k, W)
        if self.old_size[0] == self.new_size[0]:
            return x
        rows = self.rows.cut(band.rows).matrix(band.sources)  # (rows, k)
        out = self.work(torch.Size((*x.shape[:2], len(rows), x.shape[3])), which=1)
        torch.bmm(rows.expand(out.shape[0] * out.shape[1], -1, -1), x.flatten(0, 1), out=out.flatten(0, 1))
        return out

    def start_gradient(self, logits: Tensor) -> Tensor:
        if self.old_size[0] == self.new_size[0]:
            return torch.empty_like(logits)  # each row is written once
        return torch.zeros_like(logits, dtype=self.dtype)  # rows are added up

    def pull_back(self, p: Tensor, slope: Tensor, band: Band, result: Tensor) -> None:
        """Add the gradient p x slope of the band's new rows (n, C, rows, W) to that of the old ones, (N, C, h, w)."""
        part = result[band.images, :, band.sources]
        if self.old_size == self.new_size:
            torch.mul(p, slope, out=part)
            return
        gradient = p.mul_(slope)
        if self.old_size[0] != self.new_size[0]:
            rows = self.rows.cut(band.rows).matrix(band.sources)  # (rows, k)
            gradient = torch.matmul(rows.T, gradient)  # (n, C, k, W)
        if self.old_size[1] != self.new_size[1]:
            gradient = torch.matmul(gradient, self.columns)  # (n, C, k, w)
        if self.old_size[0] == self.new_size[0]:
            part.copy_(gradient)
        else:
            part.add_(gradient)
