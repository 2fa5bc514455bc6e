"""Scope: which pixels are selected and averaged together.

`batch`: those of all images of this process's batch. `image`: those of each image, then the mean over the images
that have a valid pixel. `global`: those of the batches of all processes of torch.distributed; without it, `batch`.

A scope sums over the pixels that belong together. Sums come as (G, 1, ..., 1), one per group of pixels, to be compared
with the pixels (N, *spatial); nothing here makes the host wait.
"""

from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

#: Names of scopes in a configuration.
ScopeName = Literal["batch", "image", "global"]


class Batch:
    """The pixels of all images together."""

    name = "batch"
    #: What holds the pixels of one group, for messages.
    holder = "a batch"
    #: Whether the hardest pixels are found by Triton's kernels; None: where these run. Nothing else depends on it.
    triton: bool | None = None

    def with_triton(self, used: bool) -> "Batch":
        """The same scope, with Triton's kernels or without."""
        scope = type(self)()
        scope.triton = used
        return scope

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
        total = self.rows(value).sum(dim=1) * self.processes()  # (G, P) -> (G,)
        denominator = denominator.flatten()
        mean = total / torch.where(denominator == 0, 1, denominator)
        if len(mean) == 1:
            return mean.sum()  # 0 if no pixel is valid
        return mean.sum() / self.rows(valid).any(dim=1).sum().clamp_min(1)

    def rows(self, pixels: Tensor) -> Tensor:
        """The pixels (N, *spatial) as (G, P): one row for each group of pixels that belong together."""
        return pixels.reshape(1, -1)

    def across(self, sums: Tensor) -> Tensor:
        """Sums of this process -> of all that share the group."""
        return sums

    def smallest(self, value: Tensor) -> Tensor:
        """The smallest of this process -> of all that share the group."""
        return value

    def processes(self) -> int:
        """How many processes share the group."""
        return 1

    def pixels_per_group(self, pixels: int, images: int) -> int:
        """Pixels of a group, where a batch has so many pixels and images."""
        return pixels


class Image(Batch):
    """The pixels of each image on its own."""

    name = "image"
    holder = "an image"

    def rows(self, pixels: Tensor) -> Tensor:
        return pixels.reshape(len(pixels), -1)  # (N, *spatial) -> (N, P)

    def pixels_per_group(self, pixels: int, images: int) -> int:
        return pixels // images


class Global(Batch):
    """The pixels of all processes together.

    Every process must call the loss, equally often. What `mean` gives a process is its own part of the sum, times the
    number of processes: the mean of these over the processes is the loss, and so gradients that are averaged over
    the processes, as DistributedDataParallel does, are those of one process that holds all pixels. Denominators
    have no gradient, so a weight map that is learned gets only its part of it.
    """

    name = "global"
    holder = "a batch of all processes"

    def across(self, sums: Tensor) -> Tensor:
        if self.processes() == 1:
            return sums
        sums = sums.detach().clone()
        dist.all_reduce(sums)
        return sums

    def smallest(self, value: Tensor) -> Tensor:
        if self.processes() == 1:
            return value
        value = value.clone()
        dist.all_reduce(value, op=dist.ReduceOp.MIN)
        return value

    def processes(self) -> int:
        return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1

    def pixels_per_group(self, pixels: int, images: int) -> int:
        return pixels * self.processes()


def count_true(rows: Tensor) -> Tensor:
    """How many of each row (G, P) are True: (G,). On a CPU several times faster than their sum."""
    if rows.device.type != "cpu" or torch.compiler.is_compiling() or len(rows) > rows.shape[1]:
        return rows.sum(dim=1)
    return torch.stack([row.count_nonzero() for row in rows])


BATCH = Batch()
SCOPES = {scope.name: scope for scope in (BATCH, Image(), Global())}


def choose_scope(name: str) -> Batch:
    """The scope of that name. Raises ValueError for any other word."""
    if name not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(SCOPES)}, got {name!r}")
    return SCOPES[name]
