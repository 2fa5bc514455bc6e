"""One weight map from a sample to the content of its file, and what is known of it; done in worker processes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from segkit.data.loading.view import read_sample
from segkit.data.sample import Sample
from segkit.data.weight_maps.weight_files import digest_labels, encode_weights
from segkit.errors import DataError


@dataclass(frozen=True)
class WeightFacts:
    """Lowest and highest weight of the labelled pixels, and per class the pixels and the sum of their weights."""

    lowest: float
    highest: float
    pixels: list[int]
    weights: list[float]


@dataclass(frozen=True)
class MadeMap:
    """The content of a weight file and what is known of it."""

    content: bytes
    facts: WeightFacts


class WeightMaker:
    """`maker(index)` makes the map of a sample. Raises DataError for a sample that cannot be used."""

    def __init__(self, dataset: Any, weight_map: Callable[[Sample], Tensor], *, suffix: str):
        self.dataset, self.weight_map, self.suffix = dataset, weight_map, suffix

    def __call__(self, index: int) -> MadeMap:
        sample = read_sample(self.dataset, index, self.weight_map)
        assert sample.weight is not None  # read_sample has just made it
        if sample.file_size is not None:
            height, width = sample.file_size
            raise DataError(
                f"{sample.mask_path} has {width}x{height} pixels, and data.resize changes that; a weight file has "
                "the size of the mask\n   -> data.resize=null here; in training, maps are resized with the masks"
            )
        weight = sample.weight.as_subclass(Tensor).numpy()  # (H, W)
        labels = digest_labels(sample.target.as_subclass(Tensor).numpy())
        return MadeMap(encode_weights(weight, self.suffix, labels=labels), self._describe(sample, weight))

    def _describe(self, sample: Sample, weight: np.ndarray) -> WeightFacts:
        target = sample.target.as_subclass(Tensor).numpy()
        valid = target != self.dataset.ignore_index
        ids, weights = target[valid].astype(np.int64), weight[valid]
        count = self.dataset.num_classes
        return WeightFacts(
            lowest=float(weights.min()) if weights.size else 0.0,
            highest=float(weights.max(initial=0)),
            pixels=np.bincount(ids, minlength=count).tolist(),
            weights=np.bincount(ids, weights=weights, minlength=count).tolist(),
        )


def join_facts(facts: list[WeightFacts]) -> WeightFacts:
    """What is known of several maps of the same classes together."""
    labelled = [each for each in facts if sum(each.pixels)]
    return WeightFacts(
        lowest=min((each.lowest for each in labelled), default=0.0),
        highest=max((each.highest for each in labelled), default=0.0),
        pixels=[sum(numbers) for numbers in zip(*(each.pixels for each in facts), strict=True)],
        weights=[sum(numbers) for numbers in zip(*(each.weights for each in facts), strict=True)],
    )
