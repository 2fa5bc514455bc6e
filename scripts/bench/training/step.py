"""A whole training step: the Trainer beside a plain PyTorch loop with the same model, batch and optimizer."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.bench.losses import peers
from scripts.bench.measure.clock import time_in_turns
from scripts.bench.measure.rows import Row, rows_of
from scripts.bench.measure.settings import Settings
from segkit.config.load import config_from_mapping
from segkit.runs.preflight import SilentRecorder
from segkit.training.build import build
from segkit.training.experiment import Experiment

TASK = "scripts.bench.training.step:measure"
PLAIN_CE, PLAIN_OHEM = "plain loop, cross-entropy", "plain loop, OHEM by full sort"
REFERENCE = "loop as in torchvision's reference, cross-entropy"


@dataclass(frozen=True)
class StepCase:
    """`batch` images of `size` x `size` through a U-Net, in fp32 or under autocast."""

    size: int
    batch: int
    width: int
    depth: int
    amp: str = "off"

    @property
    def name(self) -> str:
        """`U-Net, width 16, depth 3, 8 images of 128 x 128`; a precision that is not fp32 is added."""
        precision = "" if self.amp == "off" else f", {self.amp}"
        return (
            f"U-Net, width {self.width}, depth {self.depth}, {self.batch} images of {self.size} x {self.size}"
            f"{precision}"
        )


SMALL = StepCase(32, 2, 4, 2)
#: Where what the loop itself takes shows most, and what configs/camvid/ trains.
CASES = (StepCase(128, 8, 16, 3),)
GPU_CASES = (*CASES, StepCase(320, 16, 32, 4, "bf16"))


def bench_step(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Rows of time per step on generated images; images/s are the batch divided by it."""
    on_gpu = torch.device(settings.device).type == "cuda"
    rows: list[Row] = []
    for case in (SMALL,) if settings.small else GPU_CASES if on_gpu else CASES:
        tell(f"step: {case.name}")
        arguments = {"case": asdict(case), "rounds": settings.rounds, "device": settings.device}
        found = settings.measure(TASK, arguments)
        baselines = (PLAIN_CE, REFERENCE, PLAIN_OHEM)
        made = rows_of(found, bench="step", case=case.name, baselines=baselines, on_gpu=on_gpu)
        rows += [row for row in made if row.baseline != PLAIN_OHEM or "ohem" in row.entry.lower()]
    return rows


def measure(*, case: Mapping[str, Any], rounds: int, device: str) -> dict[str, Any]:
    """In one process: seconds per step of the StepCase that `case` describes."""
    experiments = {name: make_experiment(name, StepCase(**case), device) for name in ("ce", "ohem_ce")}
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


def make_experiment(loss: str, case: StepCase, device: str) -> Experiment:
    """A U-Net on generated shapes."""
    mapping = {
        "name": "bench",
        "device": device,
        "data": {"name": "shapes", "size": case.size, "train_size": 2 * case.batch, "val_size": 1},
        "model": {"name": "unet", "width": case.width, "depth": case.depth},
        "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9},
        "loss": {"name": loss},
        "train": {"iterations": 1000, "batch_size": case.batch, "workers": 0, "amp": case.amp},
    }
    return build(config_from_mapping(mapping, origin="bench"))


def autocast(experiment: Experiment) -> torch.autocast:
    """The precision that the Trainer would take."""
    dtype = experiment.plan.amp_dtype
    return torch.autocast(experiment.device.type, dtype=dtype, enabled=dtype is not None)


def plain_step(
    experiment: Experiment, batch: Mapping[str, Any], loss: Callable[..., Tensor]
) -> Callable[[], None]:
    """The same step as a tutorial writes it, on a copy of the model."""
    model: nn.Module = copy.deepcopy(experiment.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    ignore_index, target = experiment.plan.ignore_index, batch["target"].long()

    def step() -> None:
        model.train()
        with autocast(experiment):
            logits = model(experiment.preprocess(batch["image"]))
            if logits.shape[-2:] != target.shape[-2:]:
                logits = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
            value = loss(logits, target, ignore_index=ignore_index)
        optimizer.zero_grad()
        value.backward()
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
        with autocast(experiment):
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
