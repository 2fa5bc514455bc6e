"""A data set that keeps the samples it has read, for those who look at the same ones one after the other."""

from typing import Any

import torch

#: Bytes of samples that are kept: those of some dozens of photographs.
MOST_BYTES = 64 * 2**20


class Remembered:
    """The samples of `dataset`, read once as long as they are no more than `most_bytes` in all; those beyond are read
    again each time. Nobody may change one. Everything else is that of `dataset`."""

    def __init__(self, dataset: Any, *, most_bytes: int = MOST_BYTES):
        self._dataset, self._left = dataset, most_bytes
        self._samples: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_dataset":  # unpickling asks before there is a data set
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        if index in self._samples:
            return self._samples[index]
        sample = self._dataset[index]
        tensors = (
            part for part in (sample.image, sample.target, sample.weight) if isinstance(part, torch.Tensor)
        )
        size = sum(tensor.nbytes for tensor in tensors)
        if size <= self._left:
            self._left -= size
            self._samples[index] = sample
        return sample
