"""Short digests that show whether two runs had the same data, the same start and the same order of images.

Each is the hexadecimal SHA-256 of what it is named after, cut to 16 digits: enough to see a difference, short enough
to print.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segkit.data.loading.bad_samples import usable_samples
from segkit.data.loading.sampler import Draw, EpochBatches
from segkit.data.loading.spread import FEW, spread
from segkit.data.loading.view import WeightMaker, read_sample
from segkit.training.experiment import Experiment


def fingerprints(
    experiment: Experiment, *, train: Any | None = None, val: Any | None = None
) -> dict[str, str]:
    """The digests of an experiment that was built and not trained yet; `train` and `val` are its data sets, if somebody
    has read their samples already and still has them.

    data             classes, number of images, the pixels of some of them, and names and sizes of all files
    initial_weights  parameters and buffers of the model
    training_order   which images make up which update of the run
    first_batch      images and labels of the first batch as the network sees them, augmentation included
    weights          weights of some training images, only where files or the data set give them
    """
    first = next(iter(experiment.train_batches(0, num_batches=1, workers=0, whole=True)))
    data = experiment.data
    known = data.train if train is None else train
    weights = given_weights(known, data.weight_map, skip_bad=experiment.config.data.skip_bad)
    return {
        "data": data_fingerprint(
            known,
            data.val if val is None else val,
            skip_bad=experiment.config.data.skip_bad,
        ),
        "initial_weights": weights_fingerprint(experiment.model),
        "training_order": order_fingerprint(
            len(experiment.data.train),
            batch_size=experiment.batch_size,
            seed=experiment.config.seed,
            num_batches=experiment.plan.iterations * experiment.plan.accumulate,
            draw=getattr(experiment.data.train, "epoch_order", None),
        ),
        "first_batch": batch_fingerprint(first),
        **({"weights": digest(weights)} if weights else {}),
    }


def given_weights(train: Any, weight_map: WeightMaker | None, *, skip_bad: bool) -> list[Any]:
    """Weights (H, W) of FEW training samples that come from files or from the data set; none where they are computed
    from the labels, or there are none. Raises DataError for a sample that cannot be used, which `skip_bad` leaves
    out."""
    if weight_map is not None and not getattr(weight_map, "reads_files", False):
        return []
    places = spread(len(train), FEW)
    samples = usable_samples(lambda index: read_sample(train, index, weight_map), places, skip_bad=skip_bad)
    return [sample.weight for sample in samples if sample.weight is not None]


def data_fingerprint(train: Any, val: Any, *, skip_bad: bool = False) -> str:
    """Digest of a training and a validation set: the pixels of FEW samples of each and, of a set that knows more than
    its samples, its `fingerprint() -> str`.

    Raises DataError for a sample that cannot be used, which `skip_bad` leaves out.
    """
    parts: list[Any] = []
    for dataset in (train, val):
        parts += [list(dataset.class_names), dataset.ignore_index, dataset.channels, len(dataset)]
        if hasattr(dataset, "fingerprint"):
            parts.append(dataset.fingerprint())
        for sample in usable_samples(dataset.__getitem__, spread(len(dataset), FEW), skip_bad=skip_bad):
            parts += [sample.name, sample.image, sample.target]
    return digest(parts)


def weights_fingerprint(model: nn.Module) -> str:
    """Digest of the parameters and buffers, in their order; names do not count (torch.compile changes them)."""
    return digest(model.state_dict().values())


def order_fingerprint(
    length: int, *, batch_size: int, seed: int, num_batches: int, draw: Draw | None = None
) -> str:
    """Digest of the places of all samples that a run of `num_batches` batches trains on, in order."""
    order = EpochBatches(length, batch_size=batch_size, seed=seed, num_batches=num_batches, draw=draw)
    epochs = -(-num_batches * batch_size // length)
    return digest([batch_size, num_batches, *(order.order(epoch) for epoch in range(epochs))])


def batch_fingerprint(batch: Mapping[str, Any]) -> str:
    """Digest of the images and labels of a batch, without its weight map, which belongs to a loss."""
    return digest([batch["image"], batch["target"]])


def digest(parts: Iterable[Any]) -> str:
    """Digest of tensors and arrays (shape, type and content) and of plain values (their text)."""
    found = hashlib.sha256()
    for part in parts:
        array = part.detach().cpu().as_subclass(Tensor) if isinstance(part, Tensor) else part
        if isinstance(array, Tensor):
            found.update(f"{tuple(array.shape)}{array.dtype}".encode())
            # bfloat16 has no NumPy counterpart, so the bytes are taken as they are.
            found.update(array.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        elif isinstance(array, np.ndarray):
            found.update(f"{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
        else:
            found.update(repr(array).encode())
        found.update(b"\0")
    return found.hexdigest()[:16]
