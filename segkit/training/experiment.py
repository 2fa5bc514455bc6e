"""Everything that one configuration becomes, before there is a run folder."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segkit.config.schema import Config
from segkit.data.label_counts import LabelCounts
from segkit.data.loading.loader import SMALL_SET, Batches, Note, ignore, train_batches, val_batches
from segkit.data.loading.sampler import EpochBatches
from segkit.data.loading.view import LabelMaps, Subset
from segkit.data.palette import Color, palette
from segkit.distributed.ranks import ALONE, Ranks
from segkit.distributed.shard import ShardedModel
from segkit.system.device import Normalize, Precision, name_of_amp
from segkit.training.build_optimizer import build_optimizer
from segkit.training.parallel import parallelise
from segkit.training.plan import Plan, RecorderLike
from segkit.training.trainer import Trainer


@dataclass(frozen=True)
class Data:
    """The two data sets, what is done to their samples, and how often each class is in the training labels.

    `memory` is the folder of their cache in memory, if they have one.
    """

    train: Any
    val: Any
    augment: Callable
    weight_map: Callable | None
    label_counts: LabelCounts
    memory: Path | None = None

    @property
    def palette(self) -> list[Color]:
        """Colours of the classes: the data set's own, or distinct ones."""
        return list(getattr(self.train, "palette", None) or palette(self.train.num_classes))


@dataclass(frozen=True)
class Experiment:
    """Everything a Trainer needs, built and checked, and nothing that belongs to a run folder.

    `batch_size` images are in a micro-batch, of which each of the `ranks` gets an equal part. `workers` load data in
    each, `workers_why` if that was chosen by measuring. `layer_places` says where in its part of the model a parameter
    computes, for learning rates that differ between layers.
    """

    config: Config
    device: torch.device
    data: Data
    model: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    learning_rate: Callable[[int], float]
    preprocess: Normalize
    plan: Plan
    batch_size: int
    workers: int
    image_size: tuple[int, int]
    ranks: Ranks = ALONE
    workers_why: str = ""
    layer_places: Mapping[str, float] = field(default_factory=dict)

    @property
    def precision(self) -> Precision:
        """What `train.amp` came to."""
        return Precision(self.device.type, name_of_amp(self.plan.amp_dtype))

    @property
    def overfit(self) -> bool:
        """Whether a few images are trained on, unaugmented, and scored on too (`--overfit`)."""
        return self.data.val is self.data.train

    @property
    def logits_channels(self) -> int:
        """Channels of the model's logits: one per class, unless the loss says otherwise (a binary loss: one)."""
        channels: Any = getattr(self.loss, "logits_channels", self.plan.num_classes)
        return channels

    @property
    def label_maps(self) -> LabelMaps:
        """What the loss wants made of the labels while they are loaded."""
        maps: Any = getattr(self.loss, "label_maps", {})
        return maps

    @property
    def pixels_per_batch(self) -> int:
        """Pixels that a call of the loss sees in training, in one process."""
        height, width = self.image_size
        return self.images_per_process * height * width

    @property
    def images_per_process(self) -> int:
        """Images of a micro-batch in one process."""
        return self.batch_size // self.ranks.world

    def train_batches(
        self,
        first: int,
        *,
        num_batches: int | None = None,
        workers: int | None = None,
        note: Note = ignore,
        whole: bool = False,
    ) -> Iterable[dict]:
        """The micro-batches of the run from number `first` on: all, or `num_batches` of them; this process's part of
        each, unless `whole`. `note` is told of the samples that could not be used."""
        left = self.plan.iterations * self.plan.accumulate - first
        return train_batches(
            self.data.train,
            weight_map=self.data.weight_map,
            label_maps=self.label_maps,
            augment=self.data.augment,
            batch_size=self.batch_size,
            seed=self.config.seed,
            start_batch=first,
            num_batches=left if num_batches is None else num_batches,
            workers=self.workers if workers is None else workers,
            pin_memory=self.device.type == "cuda",
            skip_bad=self.config.data.skip_bad,
            note=note,
            rank=0 if whole else self.ranks.rank,
            world=1 if whole else self.ranks.world,
        )

    def first_places(self) -> list[tuple[int, ...]]:
        """The images of this process's part of the first batch, as `EpochBatches` names them."""
        order = EpochBatches(
            len(self.data.train),
            batch_size=self.batch_size,
            seed=self.config.seed,
            num_batches=1,
            rank=self.ranks.rank,
            world=self.ranks.world,
            draw=getattr(self.data.train, "epoch_order", None),
        )
        return next(iter(order))

    def val_batches(self, *, note: Note = ignore) -> Batches:
        """Batches of the validation set, in order, without weight maps: this process's part of them."""
        return val_batches(
            self.data.val,
            batch_size=self.config.eval.batch_size or self.images_per_process,
            workers=self.workers,
            pin_memory=self.device.type == "cuda",
            skip_bad=self.config.data.skip_bad,
            note=note,
            rank=self.ranks.rank,
            world=self.ranks.world,
            keep_bytes=SMALL_SET,
        )

    def examples(self) -> list[dict]:
        """The same few validation images for every run on this data, spread over the set, with weight maps."""
        count = min(self.config.eval.images, len(self.data.val))
        if not count:
            return []
        places = [round(n * (len(self.data.val) - 1) / max(1, count - 1)) for n in range(count)]
        return list(self.val_images(sorted(set(places)), weight_map=self.data.weight_map))

    def val_images(self, places: Sequence[int], *, weight_map: Callable | None = None) -> Iterable[dict]:
        """The validation images at these places, in this order, each a batch of its own."""
        return val_batches(
            Subset(self.data.val, places),
            weight_map=weight_map,
            batch_size=1,
            workers=0,
            pin_memory=False,
            skip_bad=self.config.data.skip_bad,
            allow_empty=True,
        )

    def trainer(
        self,
        *,
        recorder: RecorderLike,
        save: Callable[[dict[str, Any], int, bool], None],
        stop: Callable[[], int] = lambda: 0,
        examples: Iterable[dict] = (),
        note: Note = ignore,
    ) -> Trainer:
        """The loop over these objects. `note` is told of the samples that could not be used."""
        parallel = parallelise(
            self.model,
            self.ranks,
            self.device,
            find_unused=self.plan.find_unused,
            shard=self.plan.shard,
        )
        return Trainer(
            plan=self.plan,
            model=self.model,
            loss=self.loss,
            optimizer=self._optimizer_of(parallel),
            learning_rate=self.learning_rate,
            preprocess=self.preprocess,
            train_batches=partial(self.train_batches, note=note),
            val_batches=self.val_batches(note=note),
            examples=examples,
            device=self.device,
            recorder=recorder,
            save=save,
            stop=stop,
            ranks=self.ranks,
            parallel=parallel,
        )

    def _optimizer_of(self, parallel: nn.Module | None) -> torch.optim.Optimizer:
        """The optimizer; for a model that was sharded since, which has other parameters, a new one."""
        if not isinstance(parallel, ShardedModel):
            return self.optimizer
        self.optimizer.param_groups.clear()  # else it would keep the whole parameters in memory
        self.optimizer.state.clear()
        return build_optimizer(
            self.config.optimizer, self.model, self.device, places=self.layer_places, sharded=True
        )

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)
