"""Which images make up which batch: a pure function of the seed."""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.utils.data import Sampler

#: Which images an epoch is, by (seed, epoch).
Draw = Callable[[int, int], np.ndarray]
#: So many other images are tried in place of one that cannot be used.
REPLACEMENTS = 16


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2^63) that is unrelated for any two different sequences of parts, and the same everywhere."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def replacements(seed: int, epoch: int, index: int, *, length: int) -> Iterator[int]:
    """The images tried in place of image `index` of `length` in that epoch: others, none twice, at most REPLACEMENTS.

    A pure function of its arguments, so that it is the same in any process and after a resume.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "replace", epoch, index))
    order = torch.randperm(length, generator=generator)[: REPLACEMENTS + 1].tolist()
    yield from [other for other in order if other != index][:REPLACEMENTS]


class EpochBatches(Sampler[list[tuple[int, ...]]]):
    """Batches of (epoch, index), without state that would have to be saved.

    The stream of samples is one permutation of all `length` images after the other, each drawn from (seed, epoch).
    Batch b holds the places b * batch_size ... (b + 1) * batch_size - 1 of the stream. So every image is seen
    equally often, a batch may span two epochs, and a data set may be smaller than a batch. With `draw`, a data set says
    itself which images an epoch is, by (seed, epoch): int64 (length,). One that it draws again in an epoch is a sample
    of its own, (epoch, index, times before), so that it is not augmented alike. Batches
    `start_batch` ... `start_batch + num_batches - 1` are given out, at no cost for the ones before: of each the equal
    share of process `rank` of `world`, so that all processes together see the batches of one.
    """

    def __init__(
        self,
        length: int,
        *,
        batch_size: int,
        seed: int,
        start_batch: int = 0,
        num_batches: int,
        rank: int = 0,
        world: int = 1,
        draw: Draw | None = None,
    ):
        if length < 1:
            raise ValueError("there are no images to draw from")
        if batch_size % world:
            raise ValueError(f"a batch of {batch_size} images cannot be shared equally by {world} processes")
        share = batch_size // world
        self.own = slice(rank * share, (rank + 1) * share)
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.start_batch, self.num_batches, self.draw = start_batch, num_batches, draw

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[list[tuple[int, ...]]]:
        places = self._places(self.start_batch * self.batch_size)
        for _ in range(self.num_batches):
            yield [next(places) for _ in range(self.batch_size)][self.own]

    def _places(self, first: int) -> Iterator[tuple[int, ...]]:
        """The endless stream from place `first` on."""
        epoch, start = divmod(first, self.length)
        while True:
            order = self.order(epoch)
            again = np.zeros_like(order) if self.draw is None else _count_before(order)
            for index, times in zip(order[start:], again[start:], strict=True):
                yield (epoch, int(index), int(times)) if times else (epoch, int(index))
            epoch, start = epoch + 1, 0

    def order(self, epoch: int) -> np.ndarray:
        """The images of that epoch, int64 (length,): a list of a million numbers would take five times as much."""
        if self.draw is not None:
            return self.draw(self.seed, epoch)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        return torch.randperm(self.length, generator=generator).numpy()


def _count_before(order: np.ndarray) -> np.ndarray:
    """For each item of (N,) how often it stands before its place."""
    by_item = np.argsort(order, kind="stable")
    ranked = order[by_item]
    is_first = np.concatenate([[True], ranked[1:] != ranked[:-1]])
    places = np.arange(len(order))
    counts = np.empty_like(order)
    counts[by_item] = places - np.maximum.accumulate(np.where(is_first, places, 0))
    return counts
