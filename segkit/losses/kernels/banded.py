"""Backend `banded`: cross-entropy of bilinearly resized logits in plain PyTorch, a band of rows at a time.

The resized logits exist only for one band of some megabytes, which stays in the cache; backward computes them
again. Kept for it are what is there anyway: the logits as given, the target, and the cross-entropy itself.
"""

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.losses.kernels.geometry import Band, Taps, cut_bands, find_runs, find_taps
from segkit.losses.kernels.labels import valid_pixels

#: Bytes of the resized logits of one band.
BAND_BYTES = 4 * 2**20

#: Below this, log-probabilities count as this: exp of less is a denormal number (or is once it is multiplied with a
#: gradient), with which arithmetic is many times slower, and is far below the rounding of every sum it is in.
LOWEST_LOG_P = -64.0


def banded_cross_entropy(logits: Tensor, target: Tensor, *, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Cross-entropy (N, H, W) and wrongly classified pixels (N, H, W) of logits (N, C, h, w) of any size.

    `target` class ids (N, H, W); see `upsampled_cross_entropy`. Differentiable once.
    """
    return _Banded.apply(logits, target, ignore_index)


class _Banded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
        bands = _Bands(logits, target.shape[1:])
        ce = torch.empty(target.shape, dtype=bands.dtype, device=logits.device)
        wrong = torch.empty(target.shape, dtype=torch.bool, device=logits.device)
        with torch.autocast(logits.device.type, enabled=False):
            for band in bands:
                label, valid = _read_labels(target, band, ignore_index)
                x = bands.resize(logits[band.images, :, band.sources], band)  # (n, C, rows, W)
                largest, true = x.amax(dim=1, keepdim=True), x.gather(1, label)  # (n, 1, rows, W)
                p = torch.sub(x, largest, out=bands.work(x.shape)).clamp_min_(LOWEST_LOG_P).exp_()
                # In this order the small ce of a confident pixel is not lost in the rounding of large logits.
                band_ce = p.sum(dim=1, keepdim=True).log_().add_(largest - true)
                ce[band.images, band.rows] = band_ce.masked_fill_(~valid, 0.0).squeeze(1)
                wrong[band.images, band.rows] = ((largest > true) & valid).squeeze(1)
        ctx.save_for_backward(logits, target, ce)
        ctx.mark_non_differentiable(wrong)
        ctx.ignore_index = ignore_index
        return ce, wrong

    @staticmethod
    def backward(ctx, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("the banded cross-entropy has no second derivative -> backend: reference")
        logits, target, ce = ctx.saved_tensors
        bands = _Bands(logits, target.shape[1:])
        result = bands.start_gradient(logits)
        with torch.autocast(logits.device.type, enabled=False):
            for band in bands:
                label, valid = _read_labels(target, band, ctx.ignore_index)
                here = (band.images, slice(None), band.rows)
                band_ce = ce.unsqueeze(1)[here]  # (n, 1, rows, W)
                slope = torch.where(valid, gradient.unsqueeze(1)[here], 0.0)
                # Finite, because zero times what an ignored pixel has must be zero; a valid pixel without a finite ce
                # brings it in again with the ce.
                source = bands.make_finite(logits[band.images, :, band.sources])
                x = bands.resize(source, band)  # (n, C, rows, W)
                true = x.gather(1, label)  # (n, 1, rows, W)
                lse = true + band_ce
                lost = (true - lse) + band_ce  # in rounding lse; of large logits that is much
                x = torch.sub(x, lse, out=bands.work(x.shape))
                p = x.clamp_(LOWEST_LOG_P, 0.0).exp_()  # to be multiplied with 1 - lost
                p.scatter_(1, label, torch.expm1(-band_ce) * (1 + lost))  # p - 1, without the cancellation
                bands.pull_back(p.mul_(slope * (1 - lost)), band, result)
        return result.to(logits.dtype), None, None


class _Bands:
    """The bands of one call, and how logits and gradients pass between the two sizes in them."""

    def __init__(self, logits: Tensor, size: tuple[int, int]):
        self.dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        self.device = logits.device
        self.images, self.classes, *self.old_size = logits.shape
        self.new_size = list(size)
        # What there is per pixel besides the logits counts too, or it would be most of a band of two classes.
        row_bytes = (self.classes + 8) * self.new_size[1] * self.dtype.itemsize
        self.rows_per_band = max(1, BAND_BYTES // row_bytes)

    def __iter__(self):
        runs = find_runs(self.old_size[0], self.new_size[0], self.dtype)
        return cut_bands(self.images, runs, rows_per_band=self.rows_per_band)

    @cached_property
    def rows(self) -> Taps:
        return self._find_taps(0)

    @cached_property
    def row_shares(self) -> tuple[Tensor, Tensor]:
        """What each new row takes of its two old ones (H, 1)."""
        share = self.rows.share.unsqueeze(1)
        return 1 - share, share

    @cached_property
    def columns(self) -> Tensor:
        """What each new column takes of the old ones (W, w)."""
        return self._find_taps(1).matrix(slice(0, self.old_size[1]))

    @cached_property
    def buffer(self) -> Tensor:
        """Memory for the largest band. Bands share it: fresh memory for each costs more than the arithmetic in it."""
        images = -(-self.rows_per_band // self.new_size[0])
        rows = min(self.rows_per_band, self.new_size[0])
        return torch.empty(
            min(images, self.images) * self.classes * rows * self.new_size[1],
            dtype=self.dtype,
            device=self.device,
        )

    def _find_taps(self, dimension: int) -> Taps:
        sizes = self.old_size[dimension], self.new_size[dimension]
        return find_taps(*sizes, dtype=self.dtype, device=self.device)

    def work(self, shape: torch.Size) -> Tensor:
        """The shared memory in this shape."""
        return self.buffer[: shape.numel()].view(shape)

    def make_finite(self, source: Tensor) -> Tensor:
        """Rows of the logits without NaN and infinity; in shared memory if they have their new size already."""
        source = source.to(self.dtype)
        out = self.work(source.shape) if self.old_size == self.new_size else None
        return torch.nan_to_num(source, out=out)

    def resize(self, source: Tensor, band: Band) -> Tensor:
        """Old rows (n, C, k, w) -> new rows of the band (n, C, rows, W): in shared memory, or `source` itself."""
        x = source.to(self.dtype)
        if self.old_size[1] != self.new_size[1]:
            rows = F.interpolate(x.flatten(0, 1), self.new_size[1], mode="linear", align_corners=False)
            x = rows.view(*x.shape[:3], -1)  # (n C, k, W) -> (n, C, k, W)
        if self.old_size[0] == self.new_size[0]:
            return x
        n_rows = band.rows.stop - band.rows.start
        result = self.work(torch.Size((*x.shape[:2], n_rows, x.shape[3])))
        share_low, share_high = self.row_shares
        for run in band.runs:
            part = result[:, :, run.rows.start - band.rows.start : run.rows.stop - band.rows.start]
            low, high = run.low - band.sources.start, run.high - band.sources.start
            torch.mul(x[:, :, low : low + 1], share_low[run.rows], out=part)
            part.addcmul_(x[:, :, high : high + 1], share_high[run.rows])
        return result

    def start_gradient(self, logits: Tensor) -> Tensor:
        if self.old_size[0] == self.new_size[0]:
            return torch.empty_like(logits)  # each row is written once
        return torch.zeros_like(logits, dtype=self.dtype)  # rows are added up

    def pull_back(self, gradient: Tensor, band: Band, result: Tensor) -> None:
        """Add the gradient of the band's new rows (n, C, rows, W) to that of the old ones, (N, C, h, w)."""
        if self.old_size[0] != self.new_size[0]:
            rows = self.rows.cut(band.rows).matrix(band.sources)  # (rows, k)
            gradient = torch.matmul(rows.T, gradient)  # (n, C, k, W)
        if self.old_size[1] != self.new_size[1]:
            gradient = torch.matmul(gradient, self.columns)  # (n, C, k, w)
        part = result[band.images, :, band.sources]
        if self.old_size[0] == self.new_size[0]:
            part.copy_(gradient)
        else:
            part.add_(gradient)


def _read_labels(target: Tensor, band: Band, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Class ids, 0 at ignored pixels, and valid pixels of the band, (n, 1, rows, W) each."""
    target = target[band.images, band.rows].unsqueeze(1)
    valid = valid_pixels(target, ignore_index)
    return torch.where(valid, target.long(), 0), valid
