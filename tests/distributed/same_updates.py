"""Training in several processes, and in one that sees the same batches.

`python -m tests.distributed.same_updates FOLDER UPDATES` trains every case in one process, in two and in three, which
are forked from one that has imported torch. Each saves, by case, the loss of every update, the weights at the end, and
what was counted of every validation image.
"""

import os
import socket
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel  # noqa: F401 (once, before the forks: it takes seconds)

from segkit.config.load import config_from_mapping
from segkit.data.datasets.shapes import Shapes
from segkit.data.sample import Sample
from segkit.distributed.ranks import ALONE, Ranks, joined_ranks
from segkit.evaluation.evaluate import evaluate
from segkit.registry import DATASETS, LOSSES
from segkit.runs.recording.pending import PendingValues
from segkit.training.build_together import build_together

#: Of a run in `make test`, and in `make test-heavy`.
FEW, MANY = 10, 30
IGNORED = 255


#: Shapes that were drawn, by split, size and index: drawing them anew for every case would be half of the work.
DRAWN: dict[tuple[str, int, int, int], Sample] = {}


class PatchyShapes(Shapes):
    """Shapes of which every other image has no valid pixel, and the others fewer the later they come."""

    ignore_index = IGNORED

    def __getitem__(self, index: int) -> Sample:
        key = self.split, self.height, self.width, index
        if key not in DRAWN:
            DRAWN[key] = super().__getitem__(index)
        sample = replace(DRAWN[key], image=DRAWN[key].image.clone(), target=DRAWN[key].target.clone())
        if index % 2:
            sample.target[:] = IGNORED
        else:
            sample.target[: index + 1] = IGNORED
        return sample


#: What a loss needs to be trained here, by name; the rest are trained as they are.
OPTIONS: dict[str, dict[str, Any]] = {
    "bootstrapped_ce": {"top_p": 0.3, "start_warm": 5, "end_warm": 20},
    "ohem_ce": {"thresh": 0.1, "n_min": "1/3"},
    "pixel": {"criterion": {"name": "focal"}, "selection": {"name": "top_k", "k": 200}},
    "sum": {"terms": [{"name": "ohem_ce", "thresh": 0.5, "n_min": "1/8"}, {"name": "dice", "weight": 0.5}]},
    "weighted_mask_ce": {"normalize": "weights"},
}
#: name: (loss block, what else differs)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{name: ({"name": name, **OPTIONS.get(name, {})}, {}) for name in LOSSES.names()},
    "accumulated ce": ({"name": "ce", "class_weights": [0.5, 2, 1, 1, 1]}, {"train": {"accumulate": 2}}),
    "accumulated sum": (
        {"name": "sum", "terms": [{"name": "ce"}, {"name": "dice", "weight": 0.5}]},
        {"train": {"accumulate": 2}},
    ),
    "ce of each image": ({"name": "ce", "scope": "image"}, {}),
    "clipped, averaged": ({"name": "ce"}, {"train": {"clip_norm": 0.5, "ema": 0.9}}),
    "batch norm": ({"name": "ce"}, {"model": {"norm": "batch"}}),
    "few images": ({"name": "ce"}, {"data": {"val_size": 2}}),
}
#: The cases of each number of processes: all of two, and of three those in which a third could make a difference.
CASES_OF = {
    1: list(CASES),
    2: list(CASES),
    3: [
        "ohem_ce",
        "bootstrapped_ce",
        "lovasz",
        "sum",
        "weighted_mask_ce",
        "accumulated ce",
        "accumulated sum",
        "batch norm",
        "few images",
    ],
}


def make_config(case: str, root: str, updates: int) -> Any:
    """The configuration of a case, for six images of 32x32 in an update."""
    loss, changes = CASES[case]
    data = {"name": "patchy_shapes", "size": 32, "train_size": 20, "val_size": 7}
    data |= {"weight_map": {"name": "boundary"}} if loss["name"] == "weighted_mask_ce" else {}
    model = {"name": "unet", "width": 4, "depth": 1, "norm": "group"}
    if loss["name"] == "bce":
        data |= {"name": "two_patchy_shapes"}
    blocks = {
        "name": "same",
        "device": "cpu",
        "model": model,
        "data": data,
        "loss": loss,
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
        "augment": {"name": "none"},
        "train": {"iterations": updates, "batch_size": 6, "workers": 0, "amp": "off"},
        "eval": {"batch_size": 2, "images": 0, "every": 5},
        "log": {"dir": root},
    }
    for block, values in changes.items():
        blocks[block] = {**blocks[block], **values}
    return config_from_mapping(blocks, origin=case)


class TwoPatchyShapes(PatchyShapes):
    """The same with two classes: anything, or nothing."""

    class_names = ("background", "shape")
    num_classes = 2
    palette = ((0, 0, 0), (255, 255, 255))

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        sample.target[(sample.target > 0) & (sample.target != IGNORED)] = 1
        return sample


def register_data_sets() -> None:
    """Give both their names. Not on import: the tests import this too, and have the data sets of segkit only."""
    DATASETS.register("patchy_shapes")(PatchyShapes)
    DATASETS.register("two_patchy_shapes")(TwoPatchyShapes)


class KeptLosses:
    """A recorder that only keeps the loss of every update, as the run's own would read it."""

    def __init__(self, class_names: Any, ranks: Ranks):
        self.pending, self.losses = PendingValues(class_names, ranks), []

    def update(self, iteration, values, batches, *, waited):
        self.pending.add(iteration, values, [])

    def flush(self):
        self.losses += [update.values["loss"] for update in self.pending.read()]

    def untrained(self, result): ...
    def restart_clock(self): ...
    def evaluation(self, iteration, result, *, best): ...
    def pictures(self, iteration, panels): ...


class Sent:
    """Counts the bytes that this process gives to collectives while it is entered: those of the losses, not those of
    gradients, which DistributedDataParallel sends from C++."""

    names = ("all_reduce", "all_gather", "broadcast")

    def __init__(self) -> None:
        self.bytes = 0

    def __enter__(self) -> "Sent":
        self.originals = {name: getattr(dist, name) for name in self.names}
        for name, original in self.originals.items():
            setattr(dist, name, partial(self.count, original))
        return self

    def __exit__(self, *_: object) -> None:
        for name, original in self.originals.items():
            setattr(dist, name, original)

    def count(self, collective: Any, *arguments: Any, **options: Any) -> Any:
        tensor = arguments[-1]
        self.bytes += tensor.numel() * tensor.element_size()
        return collective(*arguments, **options)


def train(case: str, ranks: Ranks, root: str, updates: int) -> dict[str, Any]:
    """Train one case and evaluate it, in all processes."""
    config = make_config(case, root, updates)
    experiment = build_together(config if ranks.main else None, overfit=None, ranks=ranks)
    recorder = KeptLosses(experiment.data.train.class_names, ranks)
    trainer = experiment.trainer(recorder=recorder, save=lambda state, iteration, best: None)
    update, sent = trainer.update, []

    def counted_update(micro_batches: Any) -> Any:
        with Sent() as counted:
            values = update(micro_batches)
        sent.append(counted.bytes)
        return values

    trainer.update = counted_update
    trainer.fit()
    result = trainer.evaluate_model()
    # What the main process ships, scored by itself on all images.
    alone = evaluate(
        lambda image: trainer.forward(trainer.evaluated_model, image),
        trainer.evaluated_model,
        replace(experiment, ranks=ALONE).val_batches(),
        num_classes=trainer.plan.num_classes,
        ignore_index=IGNORED,
        device=trainer.device,
    )
    assert result is not None and alone is not None
    return {
        "losses": recorder.losses,
        "sent": sent,
        "weights": {name: value.detach().clone() for name, value in trainer.model.state_dict().items()},
        **{
            f"{name} {key}": value
            for name, found in (("evaluation", result), ("alone", alone))
            for key, value in (
                ("matrices", found.matrices.dense()),
                ("ce", found.ce),
                ("places", found.places),
                ("names", found.names),
            )
        },
    }


def train_all(ranks: Ranks, root: str, updates: int) -> dict[str, Any]:
    """Every case of so many processes, in these."""
    return {case: train(case, ranks, root, updates) for case in CASES_OF[ranks.world]}


def join_as(number: int, world: int, port: int) -> None:
    """Have the environment of process `number` of `world` on this machine, as torchrun would."""
    os.environ |= {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def run_process(number: int, folder: str, updates: int, port: int) -> None:
    """What one of three processes does: train alone, with one other, and with all, as far as it is among them."""
    torch.set_num_threads(1)
    for world in CASES_OF:
        if number < world:
            join_as(number, world, port + world)
            with joined_ranks() as ranks:
                torch.save(train_all(ranks, folder, updates), Path(folder) / f"{world}-{number}.pt")
                ranks.share()


def free_ports() -> int:
    """The first of four ports that nobody listens on."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
        if port < 65000:
            return port


if __name__ == "__main__":
    register_data_sets()
    # Forked: one process has imported torch for all, and has done nothing yet that a fork would not survive.
    torch.multiprocessing.start_processes(
        run_process, (sys.argv[1], int(sys.argv[2]), free_ports()), max(CASES_OF), start_method="fork"
    )
