"""Configuration to live objects: with the other files named build_*.py, the only ones that look names up."""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segkit import schedule
from segkit.config.keys import flatten, is_backend
from segkit.config.schema import Config
from segkit.data.cache.cached_data import keep_in_memory
from segkit.data.cache.cached_weights import keep_weights
from segkit.data.cache.place import default_folder, on_disk
from segkit.data.cache.ram_folder import sweep
from segkit.data.check import check_data
from segkit.data.label_counts import LabelCounts
from segkit.data.loading.loader import train_batches
from segkit.data.loading.view import Subset, others_seeded
from segkit.distributed.ranks import ALONE, Ranks
from segkit.errors import ConfigError, DataError
from segkit.evaluation.views import Views
from segkit.losses.calls import call_accepted, describe_unfit_call, find_method
from segkit.losses.kernels import check_device
from segkit.models.layer_order import find_places
from segkit.models.parts import freeze
from segkit.models.unsaved import refuse_lost_tensors
from segkit.registry import (
    AUGMENTS,
    LOSSES,
    MODELS,
)
from segkit.system.device import (
    Normalize,
    Precision,
    choose_amp,
    choose_device,
    default_workers,
    place,
    settled_amp,
)
from segkit.training.build_component import build_component, build_shape, without_downloads
from segkit.training.build_dataset import (
    build_dataset,
    build_weight_map,
    data_settings,
    normalisation,
    with_found,
)
from segkit.training.build_optimizer import build_optimizer, layered
from segkit.training.experiment import Data, Experiment
from segkit.training.parallel import (
    refuse_learning_loss,
    refuse_shard_with,
    refuse_unequal_parts,
    synchronise_batchnorm,
)
from segkit.training.plan import Plan


def build(
    config: Config,
    *,
    overfit: int | None = None,
    ranks: Ranks = ALONE,
    memory: Path | None = None,
    precision: Precision | None = None,
) -> Experiment:
    """Build every object of a configuration; with `overfit`, train and validate on that many images, unaugmented.

    In several processes each of `ranks` builds its own; `memory` is where another on this machine keeps its cache.
    `precision` is what `train.amp: auto` came to if that is known: in a run that goes on, or in the main process.
    Raises ConfigError for what only shows once the pieces meet, DataError for data that cannot be read.
    """
    device = choose_device(config.device, local=ranks.local, local_world=ranks.local_world)
    amp_dtype = choose_amp(settled_amp(config.train.amp, device, precision), device)
    refuse_shard_with(config, amp_dtype)
    data = build_data(config, overfit=overfit, memory=memory)
    config = with_found_options(config, data.train)
    batch_size = config.train.batch_size if overfit is None else min(config.train.batch_size, overfit)
    refuse_unequal_parts(batch_size, ranks.world, "train.batch_size" if overfit is None else "--overfit")
    own = batch_size // ranks.world
    total = total_iterations(config, images=len(data.train), batch_size=batch_size)
    known = {
        "num_classes": data.train.num_classes,
        "ignore_index": data.train.ignore_index,
        "in_channels": data.train.channels,
    }
    known_to_loss = {**known, "weigh_classes": data.label_counts.weigh}
    loss = build_component(LOSSES, config.loss, "loss", total=total, **known_to_loss)
    refuse_learning_loss(loss, ranks.world)
    for key, backend in flatten({"loss": config.to_mapping()["loss"]}).items():
        if is_backend(key):
            check_device(backend, device, key=key)
    height, width = first_targets(data, config.seed, own, skip_bad=config.data.skip_bad).shape[-2:]
    refuse_unsuited_loss(loss, config, data, total=total, batch_size=own, pixels=own * height * width)
    known["num_classes"] = getattr(loss, "logits_channels", data.train.num_classes)
    torch.manual_seed(config.seed)  # so that every loss starts from the same weights
    with others_seeded(config.seed):  # those of a model that draws them from NumPy or Python too
        model = build_component(MODELS, config.model, "model", total=total, **known)
    plain = without_downloads(config.model)
    refuse_lost_tensors(
        model, lambda: build_component(MODELS, plain, "model", total=total, **known), seed=config.seed + 1
    )
    if hasattr(model, "check_run"):
        model.check_run(batch_size=own, height=height, width=width)
    model = synchronise_batchnorm(model, device, wanted=config.train.sync_batchnorm)
    freeze(model, config.model.freeze)
    places = find_places(model, layered(config.optimizer.groups), (known["in_channels"], height, width))
    model = place(
        model,
        device,
        channels_last=config.train.channels_last,
        compiled=config.train.compile,
        determinism=config.train.determinism,
    )
    loss = loss.to(device)
    if config.train.compile and device.type == "cuda":  # on a CPU the loss is slower compiled than as it is
        loss.compile()
    preprocess = build_normalize(config, data.train.channels).to(device)
    return Experiment(
        config=config,
        device=device,
        data=data,
        model=model,
        loss=loss,
        optimizer=build_optimizer(config.optimizer, model, device, loss=loss, places=places),
        learning_rate=build_learning_rate(config, total),
        preprocess=preprocess,
        plan=build_plan(config, data, amp_dtype, total),
        batch_size=batch_size,
        workers=default_workers(device, share=ranks.local_world)
        if config.train.workers in (None, "auto")
        else config.train.workers,
        image_size=(height, width),
        ranks=ranks,
        layer_places=places,
    )


def build_normalize(config: Config, channels: int) -> Normalize:
    """Normalisation with the `normalisation` of a configuration."""
    mean, std = normalisation(config, channels)
    return Normalize(mean, std, channels_last=config.train.channels_last)


def build_data(config: Config, *, overfit: int | None = None, memory: Path | None = None) -> Data:
    """Training and validation set, augmentation and weight map of a configuration. `memory` is the folder of another
    process's cache in memory, to be shared."""
    train, val = build_dataset(config, "train"), build_dataset(config, "val", scored=overfit is None)
    for name, values in (("mean", config.data.mean), ("std", config.data.std)):
        if values is not None and len(values) != train.channels:
            raise ConfigError(
                f"data.{name} has {len(values)} values but the images have {train.channels} channels"
            )
    known = {"num_classes": train.num_classes, "ignore_index": train.ignore_index}
    augment = build_component(AUGMENTS, config.augment, "augment", total=1, **known)
    if not getattr(augment, "takes_plain_tensors", False):
        from segkit.data.transforms.typed import Typed  # needs torchvision

        augment = Typed(augment)
    if overfit is not None:
        if not 1 <= overfit <= len(train):
            raise ConfigError(f"--overfit {overfit}: the training set has {len(train)} images")
        train = val = Subset(train, list(range(overfit)))
        augment = AUGMENTS.get("none")()
    sweep()
    place = None
    if config.data.cache == "ram":
        train, val, place = keep_in_memory(
            train, val, weights=config.data.weight_map is not None, shared=memory
        )
    elif config.data.cache == "disk":
        place = on_disk()
    folder = default_folder() / "class_counts" if overfit is None else None
    settings = data_settings(config, "train")
    counts = LabelCounts(train, folder, settings=settings, skip_bad=config.data.skip_bad)
    weight_map = build_weight_map(config, train, counts.weigh)
    weight_map = weight_map if place is None else keep_weights(weight_map, place)
    in_memory = place.folder if place is not None and config.data.cache == "ram" else None
    return Data(train, val, augment, weight_map, counts, in_memory)


def with_found_options(config: Config, dataset: Any) -> Config:
    """The configuration with what the data set found out for options that are `auto`: a checkpoint has to say it, so
    that validation, predictions and another machine do the same."""
    found = getattr(dataset, "found_options", {})
    if not found:
        return config
    data = config.data.model_copy(update={"params": with_found(config.data.params, found)})
    return config.model_copy(update={"data": data})


def first_targets(data: Data, seed: int, batch_size: int, *, skip_bad: bool = False) -> Tensor:
    """The labels of the first batch (N, H, W) as the network will see them. Raises DataError if the samples cannot
    be read or do not fit together, before anything else is built or written."""
    batches = train_batches(
        data.train,
        weight_map=data.weight_map,
        augment=data.augment,
        batch_size=batch_size,
        seed=seed,
        start_batch=0,
        num_batches=1,
        workers=0,
        pin_memory=False,
        skip_bad=skip_bad,
    )
    try:
        return next(iter(batches))["target"]
    except DataError:
        # Says how many fail alike, if others do.
        check_data(data.train, data.val, weight_map=data.weight_map, skip_bad=skip_bad)
        raise


def refuse_unsuited_loss(
    loss: nn.Module, config: Config, data: Data, *, total: int, batch_size: int, pixels: int
) -> None:
    """Refuse a loss that would silently do nothing, or lacks the weight map it is made for."""
    if getattr(loss, "needs_weight", False) and data.weight_map is None:
        raise ConfigError(
            f"{config.loss.name} needs a weight map, and data.weight_map is not set\n"
            "   -> data.weight_map='{name: boundary}'   computed from the labels: heavier near borders of classes\n"
            "   -> data.weight_map='{name: unet_border}'   as for U-Net: heavy in the gaps between objects\n"
            "   -> data.weight_map='{name: file}'   read from a third folder, weights/{split}/{stem}.png or .npy"
        )
    num_classes = data.train.num_classes
    channels = getattr(loss, "logits_channels", num_classes)
    if channels != num_classes and (channels, num_classes) != (1, 2):
        raise ConfigError(
            f"{config.loss.name} takes {channels} logits per pixel, but the data have {num_classes} classes"
        )
    unfit = describe_unfit_call(loss)
    if unfit is not None:
        raise ConfigError(f"loss: {config.loss.name}: {unfit}")
    check_run = find_method(loss, "check_run")
    if check_run is not None:
        call_accepted(
            check_run,
            iterations=total,
            pixels_per_batch=pixels,
            images_per_batch=batch_size,
            accumulate=config.train.accumulate,
        )


def total_iterations(config: Config, *, images: int, batch_size: int) -> int:
    """Optimiser updates of the run."""
    if config.train.iterations is not None:
        return config.train.iterations
    assert config.train.epochs is not None  # a configuration has one of the two
    # By the number that was written: the product of its float may be a little more than whole, and rounded up.
    epochs = Fraction(str(config.train.epochs))
    return max(1, math.ceil(epochs * images / (batch_size * config.train.accumulate)))


def build_plan(config: Config, data: Data, amp_dtype: torch.dtype | None, total: int) -> Plan:
    """Every interval in iterations."""
    every = partial(schedule.iterations, total=total)

    def at_least_one(value: int | str) -> int:
        return max(1, every(value)) if schedule.parse_duration(value) else 0

    return Plan(
        iterations=total,
        evaluate_every=at_least_one(config.eval.every),
        checkpoint_every=at_least_one(config.train.checkpoint_every),
        pictures_every=at_least_one(config.log.images_every),
        log_every=at_least_one(config.log.every),
        num_classes=data.train.num_classes,
        ignore_index=data.train.ignore_index,
        seed=config.seed,
        accumulate=config.train.accumulate,
        clip_norm=config.train.clip_norm,
        aux_weight=config.train.aux_weight,
        ema_decay=config.train.ema,
        find_unused=config.train.find_unused_parameters,
        shard=config.train.shard,
        calibration=config.eval.calibration,
        views=build_views(config, getattr(data.train, "resize", None)),
        amp_dtype=amp_dtype,
    )


def build_views(config: Config, resize: tuple[int, int] | None) -> Views:
    """How images are shown to the network outside of training, which has them in the size `resize`, if it is one."""
    options = config.predict
    tile = None if options.tile is None else (options.tile[0], options.tile[1])
    return Views(
        resize=resize,
        tile=tile,
        overlap=options.overlap,
        blend=options.blend,
        flip=options.flip,
        scales=tuple(options.scales),
    )


def build_learning_rate(config: Config, total: int) -> Callable[[int], float]:
    """Iteration to learning rate."""
    within = (0.0, 0.5, 0.999)  # no update has the progress 1
    shape = build_shape(config.schedule.name, config.schedule.params, "schedule", least=0.0, looked_at=within)
    warmup = schedule.iterations(config.schedule.warmup, total)
    if warmup >= total:
        raise ConfigError(
            f"schedule.warmup={warmup} but the run has {total} iterations -> schedule.warmup: 5%"
        )
    return partial(
        schedule.learning_rate,
        base=config.optimizer.params["lr"],
        total=total,
        shape=shape,
        warmup=warmup,
        warmup_factor=config.schedule.warmup_factor,
    )
