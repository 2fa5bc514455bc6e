"""Seconds of an update, by segkit and by a plain loop: also a program, that another checkout's segkit can be run by.

PYTHONPATH=CHECKOUT python scripts/bench/training/update_sides.py '{"side": "segkit", "mapping": {...}, "updates": 8}'

So it takes nothing from scripts/, and of segkit what all versions have.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional as F

from segkit.config.load import config_from_mapping
from segkit.registry import MODELS
from segkit.runs.preflight import SilentRecorder
from segkit.training.build import build, build_data


def measure(*, side: str, mapping: Mapping[str, Any], updates: int) -> dict[str, Any]:
    """The median over `updates`, after two that do not count."""
    step = {"segkit": make_update, "plain loop": make_plain_step}[side](mapping)
    step()
    step()
    taken = []
    for _ in range(updates):
        started = time.perf_counter()
        step()
        taken.append(time.perf_counter() - started)
    return {"seconds": statistics.median(taken)}


def make_update(mapping: Mapping[str, Any]) -> Callable[[], object]:
    """The Trainer's update of a configuration, on its first batch."""
    experiment = build(config_from_mapping(mapping, origin="bench"))
    batch = next(iter(experiment.train_batches(0, num_batches=1, workers=0)))
    trainer = experiment.trainer(recorder=SilentRecorder(), save=lambda *arguments: None)
    return lambda: trainer.update([batch])


def make_plain_step(mapping: Mapping[str, Any]) -> Callable[[], object]:
    """As a tutorial has it, in fp32: F.cross_entropy of every output of the model, at the size of the label."""
    config = config_from_mapping(mapping, origin="bench")
    data, count = build_data(config).train, config.train.batch_size
    samples = [data[index] for index in range(count)]
    image = torch.stack([torch.as_tensor(sample.image) for sample in samples]).float() / 255
    target = torch.stack([torch.as_tensor(sample.target) for sample in samples]).long()
    model = MODELS.get(config.model.name)(data.num_classes, 3, **config.model.params)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        output = model(image)
        logits = list(output.values()) if isinstance(output, dict) else [output]
        wide = [
            F.interpolate(each, target.shape[-2:], mode="bilinear", align_corners=False) for each in logits
        ]
        losses = [F.cross_entropy(each, target, ignore_index=data.ignore_index) for each in wide]
        loss = losses[0] + 0.4 * sum(losses[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
