"""Scope: which pixels are selected and averaged together.

`batch`: those of all images of the batch, which lie on all processes of torch.distributed where there are several.
`image`: those of each image, then the mean over the images of all processes that have a valid pixel. `rank`: those of
this process's part of the batch; without other processes it is `batch`. `global` is another word for `batch`.

A scope sums over the pixels that belong together. Sums come as (G, 1, ..., 1), one per group of pixels, to be compared
with the pixels (N, *spatial); nothing here makes the host wait.

In scopes `batch` and `image` every process must call the loss, equally often. What a process gets is its own part of
the sum, times the number of processes: the mean of these over the processes is the loss, and so gradients that are
averaged over the processes, as DistributedDataParallel does, are those of one process that holds all pixels.
Denominators have no gradient, so a weight map that is learned gets only its part of it.
"""

from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

#: Names of scopes in a configuration.
ScopeName = Literal["batch", "image", "rank", "global"]
#: Those of losses that compare regions.
RegionScopeName = Literal["batch", "rank"]


class Scope:
    """The pixels of this process together, and no others."""

    name = "rank"
    #: What holds the pixels of one group, for messages.
    holder = "a batch"
    #: Whether the hardest pixels are found by Triton's kernels; None: where these run. Nothing else depends on it.
    triton: bool | None = None

    def with_triton(self, used: bool) -> "Scope":
        """The same scope, with Triton's kernels or without."""
        scope = type(self)()
        scope.triton = used
        return scope

    @property
    def alone(self) -> "Scope":
        """The same without the other processes, for what is done on one of them only."""
        return self

    def sum(self, pixels: Tensor) -> Tensor:
        """Sum (N, *spatial) over the pixels of each group -> (G, 1, ..., 1). Booleans are counted."""
        rows = self.rows(pixels)  # (G, P)
        sums = self.across(count_true(rows) if pixels.dtype == torch.bool else rows.sum(dim=1))  # (G,)
        return sums.view(-1, *[1] * (pixels.ndim - 1))

    def histogram(self, digit: Tensor, counted: Tensor, bins: int) -> Tensor:
        """How many `counted` (N, *spatial) pixels of each group have each digit 0 ... bins-1: int64 (G, bins)."""
        rows = self.rows(digit).long()  # (G, P)
        counts = torch.zeros(len(rows), bins, dtype=torch.int32, device=digit.device)
        return self.across(counts.scatter_add_(1, rows, self.rows(counted).int()).long())

    def mean(self, value: Tensor, denominator: Tensor, valid: Tensor) -> Tensor:
        """Sum of `value` (N, *spatial) / `denominator` (G, 1, ..., 1) of each group, averaged over the groups that have
        a valid pixel. A denominator of 0 gives 0, connected to `value`."""
        return self.mean_of_sums(self.rows(value).sum(dim=1), denominator, valid)  # (G, P) -> (G,)

    def mean_of_sums(self, sums: Tensor, denominator: Tensor, valid: Tensor) -> Tensor:
        """The same from the sums (G,) of this process."""
        # Few operations, since on a GPU each is a launch.
        total = sums if self.processes() == 1 else sums * self.processes()
        denominator = denominator.flatten()
        mean = total / (denominator + (denominator == 0))
        return self._average(mean, valid)

    def _average(self, mean: Tensor, valid: Tensor) -> Tensor:
        return mean.view(())  # of the one group; 0 if no pixel is valid

    def sum_groups(self, values: Tensor) -> Tensor:
        """The sum over all groups, on all processes, of `values` (G, 1, ..., 1): 0-d."""
        return values.reshape(())  # of the one group

    def rows(self, pixels: Tensor) -> Tensor:
        """The pixels (N, *spatial) as (G, P): one row for each group of pixels that belong together."""
        return pixels.reshape(1, -1)

    def across(self, sums: Tensor) -> Tensor:
        """Sums of this process -> of all that share a group."""
        return sums

    def across_with_gradient(self, sums: Tensor) -> Tensor:
        """The same of sums that a loss is computed from alike on all processes, whose gradients are then averaged."""
        return sums

    def total(self, sums: Tensor) -> Tensor:
        """Sums over the groups of this process -> over those of all whose groups are averaged with them."""
        return sums

    def smallest(self, value: Tensor) -> Tensor:
        """The smallest of this process -> of all. For what is shown only: a NaN may be lost on the way."""
        return value

    def processes(self) -> int:
        """How many processes the loss is averaged over."""
        return 1

    def pixels_per_group(self, pixels: int, images: int) -> int:
        """Pixels of a group, where a process's part of the batch has so many pixels and images."""
        return pixels


class Rank(Scope):
    """The pixels of this process's part of the batch."""


class _Shared(Scope):
    """What `batch` and `image` have in common: the other processes count."""

    @property
    def alone(self) -> Scope:
        scope = _ALONE[self.name]()
        scope.triton = self.triton
        return scope

    def total(self, sums: Tensor) -> Tensor:
        return add_up(sums)

    def smallest(self, value: Tensor) -> Tensor:
        if count_processes() == 1:
            return value
        value = value.clone()
        dist.all_reduce(value, op=dist.ReduceOp.MIN)
        return value

    def processes(self) -> int:
        return count_processes()


class Batch(_Shared):
    """The pixels of all images together, wherever they are."""

    name = "batch"

    def across(self, sums: Tensor) -> Tensor:
        return add_up(sums)

    def across_with_gradient(self, sums: Tensor) -> Tensor:
        return sums if count_processes() == 1 else _AddUp.apply(sums)

    def pixels_per_group(self, pixels: int, images: int) -> int:
        return pixels * self.processes()


class _OneImage(Scope):
    """The pixels of each image of this process on its own."""

    name = "image"
    holder = "an image"

    def rows(self, pixels: Tensor) -> Tensor:
        return pixels.reshape(len(pixels), -1)  # (N, *spatial) -> (N, P)

    def sum_groups(self, values: Tensor) -> Tensor:
        return values.sum()

    def count_images(self, valid: Tensor) -> Tensor:
        """How many images, on all processes, have a `valid` pixel (N, *spatial): 0-d."""
        return self.sum_groups(self.rows(valid).any(dim=1))

    def _average(self, mean: Tensor, valid: Tensor) -> Tensor:
        return mean.sum() / self.count_images(valid).clamp_min(1)

    def pixels_per_group(self, pixels: int, images: int) -> int:
        return pixels // images


class Image(_OneImage, _Shared):
    """The pixels of each image on its own."""

    def sum_groups(self, values: Tensor) -> Tensor:
        return add_up(values.sum())


class _AddUp(torch.autograd.Function):
    """The sum over all processes. Its gradient is that of the one loss, times their number: averaging divides by it."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor) -> Tensor:
        return add_up(sums)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * count_processes()


def count_processes() -> int:
    """The processes of torch.distributed; 1 without it."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def add_up(sums: Tensor) -> Tensor:
    """Sums of this process -> of all processes, without gradient."""
    if count_processes() == 1:
        return sums
    sums = sums.detach().clone()
    dist.all_reduce(sums)
    return sums


def gather_pixels(pixels: Tensor) -> tuple[Tensor, slice]:
    """Pixels (P,) of this process -> of all processes, one after the other, without gradient; and where its own are."""
    if count_processes() == 1:
        return pixels, slice(0, len(pixels))
    sizes = torch.zeros(count_processes(), dtype=torch.int64, device=pixels.device)
    sizes[dist.get_rank()] = len(pixels)
    counts = add_up(sizes).tolist()
    longest = max(counts)  # gloo and NCCL gather tensors of one size
    padded = torch.zeros(longest, dtype=pixels.dtype, device=pixels.device)
    padded[: len(pixels)] = pixels.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    start = sum(counts[: dist.get_rank()])
    whole = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return whole, slice(start, start + len(pixels))


def count_true(rows: Tensor) -> Tensor:
    """How many of each row (G, P) are True: (G,). On a CPU several times faster than their sum."""
    if rows.device.type != "cpu" or torch.compiler.is_compiling() or len(rows) > rows.shape[1]:
        return rows.sum(dim=1)
    return torch.stack([row.count_nonzero() for row in rows])


RANK, BATCH = Rank(), Batch()
_ALONE = {"batch": Rank, "image": _OneImage}
SCOPES: dict[str, Scope] = {scope.name: scope for scope in (BATCH, Image(), RANK)} | {"global": BATCH}


def choose_scope(name: str) -> Scope:
    """The scope of that name. Raises ValueError for any other word."""
    if name not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(SCOPES)}, got {name!r}")
    return SCOPES[name]
