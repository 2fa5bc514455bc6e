"""The samples of a preview: as they are on disk, as training sees them, and after each transform alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from segkit.data.augments.compose import ComposeAugment
from segkit.data.loading.sampler import derive_seed
from segkit.data.loading.view import TrainView, all_seeded, as_tensors, read_sample
from segkit.data.sample import Sample
from segkit.training.experiment import Data

#: Draws of a transform that are tried to find some in which it does something.
TRIES = 30


@dataclass(frozen=True)
class View:
    """One image (C, H, W) uint8 with target (H, W) and, if there is one, weight (H, W)."""

    image: Tensor
    target: Tensor
    weight: Tensor | None

    @property
    def size(self) -> str:
        return f"{self.image.shape[-1]}x{self.image.shape[-2]}"


@dataclass(frozen=True)
class Shown:
    """An image of the data set, and what training makes of it, by epoch."""

    name: str
    index: int
    original: View
    augmented: dict[int, View]


@dataclass(frozen=True)
class Step:
    """A transform on its own: some draws in which it changes something (none, if it never does)."""

    title: str
    options: str
    draws: Sequence[View]
    moves: bool  # whether it changes labels, and not the image alone


def look(
    data: Data, *, split: str, places: Sequence[int], seed: int, epochs: Sequence[int]
) -> tuple[list[Shown], list[Sample]]:
    """The images at these places, and their samples: those of training as each of `epochs` gives them to the network.

    Validation images are not augmented. Raises DataError.
    """
    dataset = data.train if split == "train" else data.val
    view = TrainView(dataset, weight_map=data.weight_map, augment=data.augment, seed=seed)
    shown, samples = [], []
    for index in places:
        sample = read_sample(dataset, index, data.weight_map)
        augmented = {epoch: _as_view(view[(epoch, index)]) for epoch in epochs} if split == "train" else {}
        shown.append(Shown(sample.name, index, _as_view(as_tensors(sample)), augmented))
        samples.append(sample)
    return shown, samples


def try_alone(transform: Callable, sample: Sample, *, title: str, options: str, seed: int, most: int) -> Step:
    """At most `most` different draws of one transform on a sample. Raises DataError."""
    before, augment = _as_view(as_tensors(sample)), ComposeAugment(transforms=[transform])
    draws: list[View] = []
    for number in range(TRIES):
        with all_seeded(derive_seed(seed, "alone", title, number)):
            after = _as_view(as_tensors(augment(sample)))
        if not any(_same(after, other) for other in (before, *draws)):
            draws.append(after)
        if len(draws) == most:
            break
    moves = any(not torch.equal(draw.target, before.target) for draw in draws)
    return Step(title, options, draws, moves)


def _same(first: View, second: View) -> bool:
    return torch.equal(first.image, second.image) and torch.equal(first.target, second.target)


def _as_view(tensors: dict[str, Any]) -> View:
    image: Tensor = tensors["image"]
    if image.dtype != torch.uint8:  # an augmentation of somebody's own may compute in other numbers
        image = image.float().round().clamp(0, 255).to(torch.uint8)
    return View(image, tensors["target"], tensors.get("weight"))
