"""A data set as training or validation sees it: with weight map and augmentation, checked, ready to be batched."""

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from segkit.data.files.validate import check_ids, check_weight
from segkit.data.loading.bad_samples import (
    BadSample,
    DamagedCache,
    describe_bad_sample,
    require_bad,
    with_advice,
)
from segkit.data.loading.form import require_augmented, require_sample, require_weight
from segkit.data.loading.sampler import derive_seed, replacements
from segkit.data.sample import Sample, band_by_band
from segkit.errors import DataError
from segkit.system.printable import show_path

WeightMaker = Callable[[Sample], Tensor]
Augment = Callable[[Sample], Sample]
#: Functions of the labels (H, W) of an image, by the name that their result has in a batch.
LabelMaps = Mapping[str, Callable[[Tensor], Tensor]]


class Loaded(NamedTuple):
    """A sample as plain tensors, None for one that is left out, and what was met on the way to it: bad samples, and
    the damaged files of a cache."""

    sample: dict[str, Any] | None
    bad: list[BadSample]
    damaged: Sequence[DamagedCache] = ()


class TrainView:
    """Augmented samples by (epoch, index), or (epoch, index, times before): a pure function of these and of `seed`.

    Whatever draws from the generators of torch, NumPy and Python meanwhile starts from a seed of its own, and they are
    put back afterwards. So the same sample comes out in any process, at any time. With `skip_bad`, another image takes
    the place of one that cannot be used; which one is such a function too. Each of `label_maps` is made of the labels
    as they are in the end.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        weight_map: WeightMaker | None,
        augment: Augment,
        seed: int,
        skip_bad: bool = False,
        label_maps: LabelMaps | None = None,
    ):
        self.dataset, self.weight_map, self.augment, self.seed = dataset, weight_map, augment, seed
        self.skip_bad, self.label_maps = skip_bad, label_maps or {}
        # Those of segkit's say that they draw from torch alone: the others' states take a tenth of a millisecond.
        self.seeded = seeded if _says(augment, "draws_from_torch") else all_seeded

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: tuple[int, ...]) -> dict[str, Any]:
        sample = self.load(place).sample
        assert sample is not None  # in training none is left out: another takes its place
        return sample

    def load(self, place: tuple[int, ...]) -> Loaded:
        """The sample of a place. Raises DataError if it, and whatever was tried instead, cannot be used."""
        epoch, index, *_ = place
        try:
            return Loaded(self._augmented(place, index), [])
        except DataError as error:
            require_bad(error)
            if not self.skip_bad:
                raise DataError(with_advice(str(error))) from error
            first, bad = error, [describe_bad_sample(self.dataset, index, error)]
        for other in replacements(self.seed, epoch, index, length=len(self)):
            try:
                sample = self._augmented(place, other)
            except DataError as error:
                require_bad(error)
                bad.append(describe_bad_sample(self.dataset, other, error))
            else:
                return Loaded(
                    sample, [each._replace(epoch=epoch, replaced_by=sample["name"]) for each in bad]
                )
        raise DataError(f"{first}\n   data.on_bad_sample=skip: {_describe_failures(len(bad))}") from first

    def _augmented(self, place: tuple[int, ...], index: int) -> dict[str, Any]:
        """Image `index` with the random numbers of `place`."""
        with self.seeded(derive_seed(self.seed, "augment", *place)):
            sample = read_sample(self.dataset, index, self.weight_map)
            if not _says(self.augment, "takes_any_layout"):
                sample = _with_bands(sample)
            tensors = as_tensors(require_augmented(self.augment(sample), sample))
        return tensors | {name: make(tensors["target"]) for name, make in self.label_maps.items()}


class ValView:
    """Samples by index, unchanged, with a weight map if one is asked for, and the part of the data that they are of if
    there are parts; without the bad ones if `skip_bad`."""

    def __init__(self, dataset: Any, *, weight_map: WeightMaker | None = None, skip_bad: bool = False):
        self.dataset, self.weight_map, self.skip_bad = dataset, weight_map, skip_bad

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        tensors = as_tensors(read_sample(self.dataset, index, self.weight_map))
        part_of = getattr(self.dataset, "part_of", None)
        return tensors if part_of is None else {**tensors, "part": part_of(index)}

    def load(self, index: int) -> Loaded:
        """The sample of a place. Raises DataError if it cannot be used, unless bad samples are left out."""
        try:
            return Loaded(self[index], [])
        except DataError as error:
            require_bad(error)
            if not self.skip_bad:
                raise DataError(with_advice(str(error))) from error
            return Loaded(None, [describe_bad_sample(self.dataset, index, error)])


def take_damaged(view: TrainView | ValView) -> list[DamagedCache]:
    """The files of its caches that this process found damaged since it was last asked."""
    takes = [getattr(part, "take_damaged", None) for part in (view.dataset, view.weight_map)]
    return [DamagedCache(path) for take in takes if take is not None for path in take()]


def _describe_failures(count: int) -> str:
    if count == 1:
        return "there is no other image to take instead"
    return f"{count - 1} other images were tried instead, and none can be used"


def read_sample(dataset: Any, index: int, weight_map: WeightMaker | None) -> Sample:
    """The sample with its weight map. Raises DataError for wrong labels and weights, naming the file."""
    sample = require_sample(dataset[index], index=index, channels=getattr(dataset, "channels", None))
    source = show_path(sample.mask_path or sample.name)
    check_ids(
        sample.target.numpy(),
        num_classes=dataset.num_classes,
        ignore_index=dataset.ignore_index,
        source=source,
    )
    weight = sample.weight if weight_map is None else weight_map(_with_bands(sample))
    if weight is None and weight_map is None:
        return sample
    height, width = sample.target.shape
    weight = require_weight(weight, f"the weight map of {source}")
    check_weight(weight, size=(height, width), source=f"the weight map of {source}")
    return replace(sample, weight=weight.as_subclass(Tensor).to(torch.float32))


def _says(augment: Augment, what: str) -> bool:
    """Whether the class of an augmentation says this of itself: what somebody derives from it may do otherwise."""
    return what in vars(type(augment)) and bool(getattr(augment, what))


def _with_bands(sample: Sample) -> Sample:
    """The sample with its image band by band, for what may make other last digits of another order: data sets give it
    as files have it, and a cache in the order that it keeps."""
    return sample if sample.image.is_contiguous() else replace(sample, image=band_by_band(sample.image))


def as_tensors(sample: Sample) -> dict[str, Any]:
    """A sample as plain tensors: image (C, H, W), band by band in memory, target (H, W), weight (H, W) if there is one,
    name, index."""
    image = band_by_band(sample.image.as_subclass(Tensor))
    tensors = {"image": image, "target": sample.target.as_subclass(Tensor)}
    if sample.weight is not None:
        tensors["weight"] = sample.weight.as_subclass(Tensor)
    return {**tensors, "name": sample.name, "index": sample.index}


@contextmanager
def seeded(seed: int) -> Generator[None, None, None]:
    """Give torch's global CPU generator this seed for a while.

    `torch.manual_seed` would do for the CPU, but would also reseed every GPU of the process, for good.
    """
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


@contextmanager
def all_seeded(seed: int) -> Generator[None, None, None]:
    """The same for the global generators of NumPy and Python too, from which augmentations of others draw."""
    with others_seeded(seed), seeded(seed):
        yield


@contextmanager
def others_seeded(seed: int) -> Generator[None, None, None]:
    """The same for those of NumPy and Python alone."""
    before = random.getstate(), np.random.get_state(legacy=False)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


class Subset:
    """The samples of `dataset` at `places`, in that order; every other attribute is the data set's own."""

    def __init__(self, dataset: Any, places: Sequence[int]):
        self.dataset, self.places = dataset, list(places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.places[index]]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":  # unpickling asks before there is a data set
            raise AttributeError(name)
        if name == "epoch_order":  # of all samples
            raise AttributeError(name)
        value = getattr(self.dataset, name)
        # These are asked by the place of a sample in this part.
        by_place = ("files", "sources", "part_of", "parts_of")
        return (lambda index: value(self.places[index])) if name in by_place else value
