"""Class weights from the labels of a training set."""

import math
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from segkit.data.loading.parallel import in_workers
from segkit.data.loading.view import read_sample
from segkit.errors import ConfigError, DataError
from segkit.losses.criteria.values import read_class_weights
from segkit.system.environment import usable_cpus

#: Seconds of counting after which somebody who sees no progress bar is told about it.
PATIENCE = 10.0
#: Images from which on counting is shared among processes, and how many at most.
WORTH_WORKERS, MOST_WORKERS = 500, 8


@dataclass(frozen=True)
class ClassCounts:
    """Valid pixels of each class, and valid pixels of the images that have it, over a whole data set."""

    pixels: list[int]
    pixels_where_present: list[int]


def count_classes(dataset: Any, *, skip_bad: bool = False) -> ClassCounts:
    """Count the labels of every sample, with a progress bar on a terminal and, elsewhere, a line if it takes long.

    Raises DataError as reading does, and for labels that are no class, unless `skip_bad` leaves such samples out.
    """
    pixels = np.zeros(dataset.num_classes, dtype=np.int64)
    where_present = np.zeros_like(pixels)
    workers = min(MOST_WORKERS, usable_cpus()) if len(dataset) >= WORTH_WORKERS else 0
    results = in_workers(_Count(dataset), range(len(dataset)), workers=workers, skip_bad=skip_bad)
    for counts in _with_progress(results, total=len(dataset)):
        if not isinstance(counts, DataError):
            pixels += counts
            where_present += (counts > 0) * counts.sum()
    return ClassCounts(pixels.tolist(), where_present.tolist())


class _Count:
    """`count(index)`: the valid pixels of each class in one sample, int64 (C,)."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __call__(self, index: int) -> np.ndarray:
        target = read_sample(self.dataset, index, None).target.numpy()  # (H, W)
        valid = target[target != self.dataset.ignore_index]  # (V,)
        return np.bincount(valid, minlength=self.dataset.num_classes)


def _with_progress(results: Iterable[Any], *, total: int) -> Iterator[Any]:
    """The results, and news of how far they are."""
    bar = tqdm(results, total=total, desc="class weights", unit="image", leave=False, disable=None)
    started, told = time.monotonic(), False
    for index, result in enumerate(bar, 1):
        seconds = time.monotonic() - started
        if bar.disable and not told and seconds > PATIENCE:
            told, left = True, seconds / index * (total - index)
            print(
                f"counting the labels of {total:,} images for class weights: {index:,} done, "
                f"about {math.ceil(left / 60)} min to go",
                file=sys.stderr,
                flush=True,
            )
        yield result


def weigh_classes(counts: ClassCounts, kind: str | Mapping[str, float]) -> list[float]:
    """A weight per class that is larger for rarer ones; 1 for a class without a pixel.

    `balanced`: all pixels / (classes present x pixels of the class), so that every class counts alike.
    `median_frequency`: median f / f_c, with f_c the share of the class in the images that have it (Eigen and
    Fergus 2015, arXiv:1411.4734). `frequency`, of a loss that is given the classes' priors: the share of the class,
    and for one without a pixel the smallest. `{effective_number: beta}`: see
    `weigh_by_effective_number`. Raises ValueError for another word.
    """
    if isinstance(kind, Mapping):
        (beta,) = kind.values()
        return weigh_by_effective_number(counts, beta)
    if kind == "frequency":
        return class_shares(counts)
    present = [n for n, count in enumerate(counts.pixels) if count]
    if kind == "balanced":
        total = sum(counts.pixels)
        weights = {n: total / (len(present) * counts.pixels[n]) for n in present}
    elif kind == "median_frequency":
        frequency = {n: counts.pixels[n] / counts.pixels_where_present[n] for n in present}
        middle = statistics.median(frequency.values()) if frequency else 1.0
        weights = {n: middle / frequency[n] for n in present}
    else:
        raise ValueError(f"class weights must be balanced or median_frequency, got {kind!r}")
    return [weights.get(n, 1.0) for n in range(len(counts.pixels))]


def weigh_by_effective_number(counts: ClassCounts, beta: float) -> list[float]:
    """(1 - beta) / (1 - beta^n) of a class with n pixels, scaled to a mean of 1 over the classes that have pixels; a
    class without weighs 1.

    After Cui et al. 2019 (Class-balanced loss based on effective number of samples). 1 / (1 - beta) is the number of
    pixels from which on more of them count no more: classes that have far more all weigh the same. Raises ConfigError
    if that holds for all, to three digits, though some have a tenth more pixels than others, since the loss would
    silently have no class weights.
    """
    present = {n: count for n, count in enumerate(counts.pixels) if count}
    # By expm1, because of a beta near 1, which pixels need, 1 - beta^n keeps few digits.
    inverse = {n: -1 / math.expm1(count * math.log(beta)) for n, count in present.items()}
    scale = len(inverse) / sum(inverse.values()) if inverse else 1.0
    weights = [scale * inverse[n] if n in inverse else 1.0 for n in range(len(counts.pixels))]
    rarest, commonest = min(present.values(), default=1), max(present.values(), default=1)
    if commonest > 1.1 * rarest and len({f"{weights[n]:.3g}" for n in inverse}) == 1:
        raise ConfigError(
            f"class_weights: {{effective_number: {beta:g}}} gives every class the same weight: pixels beyond the first "
            f"1 / (1 - beta) = {1 / (1 - beta):,.0f} of a class hardly count, and the rarest has {rarest:,} "
            f"-> effective_number: {_nearer_to_1(present.values())}"
        )
    return weights


def _nearer_to_1(pixels: Iterable[int]) -> str:
    """A beta whose 1 / (1 - beta) is about the median of the numbers of pixels: 0.99999 for 100,000."""
    return f"0.{'9' * max(1, round(math.log10(statistics.median(pixels))))}"


def class_shares(counts: ClassCounts) -> list[float]:
    """The share of each class in all pixels. A class without a pixel has that of the rarest with one: its logarithm is
    taken, and a share of nearly 0 would leave the class out of a softmax, which could then never unlearn it."""
    present = [count for count in counts.pixels if count]
    if not present:
        return [1.0] * len(counts.pixels)
    return [max(count, min(present)) / sum(present) for count in counts.pixels]


class ClassTable:
    """One weight per class, to be looked up per pixel; ignored pixels weigh 0, and None stands for 1 everywhere.

    Raises ValueError unless there is a finite weight >= 0 for every class.
    """

    def __init__(
        self,
        class_weights: Sequence[float] | Mapping[Any, float] | str | None,
        *,
        num_classes: int,
        ignore_index: int,
    ):
        weights = read_class_weights(class_weights, num_classes)
        self.weights = torch.ones(num_classes) if weights is None else weights  # (C,)
        self.ignore_index = ignore_index

    def look_up(self, target: torch.Tensor) -> torch.Tensor:
        """The weights (H, W), float32, of the class ids `target` (H, W)."""
        valid = target != self.ignore_index
        return self.weights[target.long() * valid] * valid
