"""A data set as training or validation sees it: with weight map and augmentation, checked, ready to be batched."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from segkit.data.sample import Sample, WeightMap
from segkit.data.sampler import derive_seed
from segkit.data.validate import check_ids, check_weight

WeightMaker = Callable[[Sample], Tensor]
Augment = Callable[[Sample], Sample]


class TrainView:
    """Augmented samples by (epoch, index): a pure function of both and of `seed`.

    Whatever draws from torch's generator meanwhile starts from a seed of its own, and the generator is put back
    afterwards. So the same sample comes out in any process, at any time.
    """

    def __init__(self, dataset: Any, *, weight_map: WeightMaker | None, augment: Augment, seed: int):
        self.dataset, self.weight_map, self.augment, self.seed = dataset, weight_map, augment, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Any]:
        epoch, index = place
        with seeded(derive_seed(self.seed, "augment", epoch, index)):
            return as_tensors(self.augment(read_sample(self.dataset, index, self.weight_map)))


class ValView:
    """Samples by index, unchanged, with a weight map if one is asked for."""

    def __init__(self, dataset: Any, *, weight_map: WeightMaker | None = None):
        self.dataset, self.weight_map = dataset, weight_map

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return as_tensors(read_sample(self.dataset, index, self.weight_map))


def read_sample(dataset: Any, index: int, weight_map: WeightMaker | None) -> Sample:
    """The sample with its weight map. Raises DataError for wrong labels and weights, naming the file."""
    sample = dataset[index]
    source = str(sample.mask_path or sample.name)
    check_ids(
        sample.target, num_classes=dataset.num_classes, ignore_index=dataset.ignore_index, source=source
    )
    if weight_map is None:
        return sample
    weight = weight_map(sample)
    check_weight(weight, size=tuple(sample.target.shape), source=f"the weight map of {source}")
    return replace(sample, weight=WeightMap(weight))


def as_tensors(sample: Sample) -> dict[str, Any]:
    """A sample as plain tensors: image (C, H, W), target (H, W), weight (H, W) if there is one, name, index."""
    tensors = {"image": sample.image.as_subclass(Tensor), "target": sample.target.as_subclass(Tensor)}
    if sample.weight is not None:
        tensors["weight"] = sample.weight.as_subclass(Tensor)
    return {**tensors, "name": sample.name, "index": sample.index}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Give torch's global CPU generator this seed for a while.

    `torch.manual_seed` would do for the CPU, but would also reseed every GPU of the process, for good.
    """
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)
