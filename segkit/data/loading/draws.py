"""In which order images of several parts are drawn, some parts more often than others: a pure function of the seed."""

from collections.abc import Sequence

import numpy as np
import torch

from segkit.data.loading.sampler import derive_seed

#: Weights are rounded to this, so that how many images of a part were drawn is a matter of whole numbers.
UNIT = 2**20


class WeightedDraws:
    """An epoch of parts of `lengths` images, of which each image of part p is drawn `weights[p]` times as often as one
    of a part of weight 1.

    An epoch has as many draws as there are images. Each part is one permutation of its images after the other, and how
    many of them an epoch takes is rounded so that nothing adds up: after any number of epochs, the images of a part
    were seen equally often, to within one, and the parts as often as their weights say, to within one draw for each
    other part.
    """

    def __init__(self, lengths: Sequence[int], weights: Sequence[float]):
        self.lengths, self.total = list(lengths), sum(lengths)
        self.starts = np.cumsum([0, *lengths])[:-1].tolist()
        self.shares = [
            max(1, round(weight * UNIT)) * length for weight, length in zip(weights, lengths, strict=True)
        ]

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """The images of that epoch, int64 (total,), in the numbering of all parts one after the other."""
        firsts, lasts = self._drawn(epoch), self._drawn(epoch + 1)
        drawn = [
            self.starts[part] + self._stream(seed, part, first, last)
            for part, (first, last) in enumerate(zip(firsts, lasts, strict=True))
        ]
        together = np.concatenate(drawn)
        return together[_permutation(len(together), seed, "order", epoch)][: self.total]

    def _drawn(self, epochs: int) -> list[int]:
        """How many images of each part so many epochs draw. What is left goes to the part with the largest share."""
        whole = sum(self.shares)
        counts = [epochs * self.total * share // whole for share in self.shares]
        largest = self.shares.index(max(self.shares))
        counts[largest] += epochs * self.total - sum(counts)
        return counts

    def _stream(self, seed: int, part: int, first: int, last: int) -> np.ndarray:
        """The places `first` ... `last - 1` of the endless stream of a part."""
        length = self.lengths[part]
        rounds = range(first // length, -(-last // length))
        orders = [_permutation(length, seed, "part", part, number) for number in rounds]
        begin = rounds.start * length
        return np.concatenate([np.empty(0, dtype=np.int64), *orders])[
            first - begin : max(last, first) - begin
        ]


def _permutation(length: int, *parts: int | str) -> np.ndarray:
    generator = torch.Generator().manual_seed(derive_seed(*parts))
    return torch.randperm(length, generator=generator).numpy()
