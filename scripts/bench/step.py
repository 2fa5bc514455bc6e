"""A whole training step: the Trainer beside a plain PyTorch loop with the same model, batch and optimizer."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.bench import peers
from scripts.bench.clock import time_in_turns
from scripts.bench.rows import Row, rows_of
from scripts.bench.settings import Settings
from segkit.config.load import config_from_mapping
from segkit.runs.preflight import SilentRecorder
from segkit.training.build import build
from segkit.training.experiment import Experiment

TASK = "scripts.bench.step:measure"
PLAIN_CE, PLAIN_OHEM = "plain loop, cross-entropy", "plain loop, OHEM by full sort"
REFERENCE = "loop as in torchvision's reference, cross-entropy"


def bench_step(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Rows of time per step on generated images; images/s are the batch divided by it."""
    size, batch = (32, 2) if settings.small else (128, 8)
    case = f"U-Net, width 16, depth 3, {batch} images of {size} x {size}"
    tell(f"step: {case}")
    arguments = {"size": size, "batch": batch, "rounds": settings.rounds, "device": settings.device}
    found = settings.measure(TASK, arguments)
    made = rows_of(found, bench="step", case=case, baselines=(PLAIN_CE, REFERENCE, PLAIN_OHEM))
    return [row for row in made if row.baseline != PLAIN_OHEM or "ohem" in row.entry.lower()]


def measure(*, size: int, batch: int, rounds: int, device: str) -> dict[str, Any]:
    """In one process: seconds per step."""
    experiments = {name: make_experiment(name, size, batch, device) for name in ("ce", "ohem_ce")}
    place = experiments["ce"].device
    examples = next(iter(experiments["ce"].train_batches(0, num_batches=1, workers=0)))
    examples = {
        key: value.to(place) if isinstance(value, Tensor) else value for key, value in examples.items()
    }
    calls = {
        PLAIN_CE: plain_step(experiments["ce"], examples, peers.plain),
        REFERENCE: reference_step(experiments["ce"], examples),
        PLAIN_OHEM: plain_step(experiments["ohem_ce"], examples, peers.sorted_ohem),
    }
    for name, experiment in experiments.items():
        trainer = experiment.trainer(recorder=SilentRecorder(), save=lambda *arguments: None)
        calls[f"segkit, {name}"] = lambda trainer=trainer: trainer.update([examples])
    return {"seconds": time_in_turns(calls, rounds=rounds, device=place)}


def make_experiment(loss: str, size: int, batch: int, device: str) -> Experiment:
    """A small U-Net on generated shapes."""
    mapping = {
        "name": "bench",
        "device": device,
        "data": {"name": "shapes", "size": size, "train_size": 2 * batch, "val_size": 1},
        "model": {"name": "unet", "width": 4 if size < 64 else 16, "depth": 2 if size < 64 else 3},
        "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9},
        "loss": {"name": loss},
        "train": {"iterations": 1000, "batch_size": batch, "workers": 0, "amp": "off"},
    }
    return build(config_from_mapping(mapping, origin="bench"))


def plain_step(
    experiment: Experiment, batch: Mapping[str, Any], loss: Callable[..., Tensor]
) -> Callable[[], None]:
    """The same step as a tutorial writes it, on a copy of the model."""
    model: nn.Module = copy.deepcopy(experiment.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    ignore_index, target = experiment.plan.ignore_index, batch["target"].long()

    def step() -> None:
        model.train()
        logits = model(experiment.preprocess(batch["image"]))
        if logits.shape[-2:] != target.shape[-2:]:
            logits = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
        optimizer.zero_grad()
        loss(logits, target, ignore_index=ignore_index).backward()
        optimizer.step()

    return step


def reference_step(experiment: Experiment, batch: Mapping[str, Any]) -> Callable[[], None]:
    """The same step as torchvision's training script for segmentation has it: every output of the model at the size
    of the label, a share of the auxiliary one, a scheduler that is stepped, and the loss read for a meter."""
    model: nn.Module = copy.deepcopy(experiment.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    total, ignore_index = experiment.plan.iterations, experiment.plan.ignore_index
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (1 - min(step, total) / total) ** 0.9
    )
    target = batch["target"].long()

    def step() -> None:
        model.train()
        output = model(experiment.preprocess(batch["image"]))
        losses = {
            name: F.cross_entropy(
                F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False),
                target,
                ignore_index=ignore_index,
            )
            for name, logits in (output if isinstance(output, dict) else {"out": output}).items()
        }
        loss = losses["out"] + 0.5 * losses["aux"] if "aux" in losses else losses["out"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        loss.item()

    return step
