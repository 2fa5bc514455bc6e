"""Training a sharded model in two processes, and the same without sharding it.

`python -m tests.distributed.sharded_updates FOLDER` trains every case in two processes, forked from one that has
imported torch. Each saves, by case and by way of training (`whole`, `sharded`, ...), the loss of every update, the
states that were to be checkpoints, and how many numbers of gradients and of the optimizer it held.
"""

import copy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed.fsdp
import torch.multiprocessing
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel  # noqa: F401 (once, before the forks: it takes seconds)

from segkit.config.load import config_from_mapping
from segkit.distributed.ranks import ALONE, Ranks, joined_ranks
from segkit.distributed.shard import ShardedModel, whole_tensor
from segkit.errors import ConfigError
from segkit.evaluation.evaluate import evaluate
from segkit.training.build_together import build_together
from segkit.training.parallel import require_all_gradients
from tests.distributed.same_updates import IGNORED, KeptLosses, free_ports, join_as, register_data_sets

UPDATES, HALFWAY = 12, 6
UNET = {"name": "unet", "width": 8, "depth": 2, "norm": "group"}
#: name: the blocks that differ from those of `make_config`.
CASES: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9}},
    "dropout, clipped, accumulated": {
        "model": {**UNET, "dropout": 0.2},
        # Adam makes a whole step of a gradient that is all rounding, unless eps says what is small.
        "optimizer": {"name": "adamw", "lr": 0.003, "eps": 1e-4},
        "train": {"clip_norm": 0.5, "accumulate": 2},
    },
    "one logit": {"data": {"name": "two_patchy_shapes"}, "loss": {"name": "bce"}},
    # In one memory format: batch norm over as few values as here makes much of the last digit.
    "batch norm": {
        "model": {"name": "lraspp_mobilenet_v3_large"},
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
        "train": {"channels_last": False},
    },
}

#: Those that are trained from checkpoints too.
RESUMED = [case for case in CASES if case != "batch norm"]


def make_config(case: str, root: str, *, shard: bool) -> Any:
    """The configuration of a case. One of the two processes has no validation image."""
    blocks: dict[str, Any] = {
        "name": "sharded",
        "device": "cpu",
        "model": UNET,
        "data": {"name": "patchy_shapes", "size": 32, "train_size": 20, "val_size": 2},
        "loss": {"name": "ce"},
        "optimizer": {"name": "adamw", "lr": 0.003},
        "augment": {"name": "none"},
        "train": {"iterations": UPDATES, "batch_size": 4, "workers": 0, "checkpoint_every": HALFWAY, "shard": shard},
        "eval": {"batch_size": 2, "images": 1, "every": 3},
        "log": {"dir": root, "images_every": 4},
    }  # fmt: skip
    for block, values in CASES[case].items():
        blocks[block] = values if block in ("optimizer", "model", "loss") else {**blocks[block], **values}
    return config_from_mapping(blocks, origin=case)


class Kept:
    """A run without a folder: its losses, its checkpoints by iteration, and the numbers that its updates needed."""

    def __init__(
        self, case: str, ranks: Ranks, root: str, *, shard: bool, after: dict[str, Any] | None = None
    ):
        config = make_config(case, root, shard=shard)
        self.experiment = build_together(config if ranks.main else None, overfit=None, ranks=ranks)
        self.recorder = KeptLosses(self.experiment.data.train.class_names, ranks)
        self.states: dict[int, dict[str, Any]] = {}
        self.trainer = self.experiment.trainer(
            recorder=self.recorder,
            save=self.save,
            examples=self.experiment.examples() if ranks.main else (),
        )
        if after is not None:
            self.trainer.load_state_dict(copy.deepcopy(after))
        self.gradients = 0
        self.trainer.optimizer.register_step_pre_hook(self.count)
        self.finished = self.trainer.fit()

    def save(self, state: dict[str, Any], iteration: int, best: bool) -> None:
        if not best:
            self.states[iteration] = copy.deepcopy(state)

    def count(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self.gradients = sum(
            own_numbers(each.grad) for group in optimizer.param_groups for each in group["params"]
        )

    def results(self) -> dict[str, Any]:
        kept = self.trainer.optimizer.state
        # The main process by itself, as for the pictures at the end.
        alone = evaluate(
            lambda image: self.trainer.forward(self.trainer.model, image),
            self.trainer.model,
            replace(self.experiment, ranks=ALONE).val_batches() if self.experiment.ranks.main else (),
            num_classes=self.trainer.plan.num_classes,
            ignore_index=IGNORED,
            device=self.trainer.device,
        ) if self.experiment.ranks.main else None  # fmt: skip
        return {
            "finished": self.finished,
            "losses": self.recorder.losses,
            "states": self.states,
            "gradients": self.gradients,
            "moments": sum(own_numbers(value) for each in kept.values() for value in each.values()),
            "ce": None if alone is None else alone.ce,
        }


def own_numbers(tensor: Any) -> int:
    """How many numbers of a tensor this process holds."""
    return (tensor.to_local() if hasattr(tensor, "to_local") else tensor).numel()


def train_all(ranks: Ranks, root: str) -> dict[str, dict[str, Any]]:
    """Every case: whole, sharded, and both from the checkpoint in the middle of the other and of the sharded run."""
    found = {}
    for case in CASES:
        whole, sharded = (Kept(case, ranks, root, shard=shard).results() for shard in (False, True))
        found[case] = {"whole": whole, "sharded": sharded}
        if case not in RESUMED:
            continue
        middle = {
            name: ranks.share(run["states"].get(HALFWAY))
            for name, run in (("whole", whole), ("sharded", sharded))
        }
        found[case] |= {
            "sharded after sharded": Kept(case, ranks, root, shard=True, after=middle["sharded"]).results(),
            "sharded after whole": Kept(case, ranks, root, shard=True, after=middle["whole"]).results(),
            "whole after sharded": Kept(case, ranks, root, shard=False, after=middle["sharded"]).results(),
        }
    return found


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.left_out = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)

    def forward(self, image: Tensor) -> Tensor:
        return self.used(image)


class HalfUsed(nn.Module):
    """A model that leaves out a layer within a block, and one beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.spare = nn.Conv2d(3, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.block(image)


def start_and_refusal(ranks: Ranks) -> dict[str, Any]:
    """The weights on this process before and after sharding, and what is said of those without a gradient."""
    torch.manual_seed(ranks.rank)
    model = HalfUsed().to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sharded = ShardedModel(model, ranks, torch.device("cpu"))
    after = {name: whole_tensor(value) for name, value in model.state_dict().items()}
    sharded(torch.randn(2, 3, 8, 8)).square().mean().backward()
    try:
        require_all_gradients(model)
    except ConfigError as error:
        return {"before": before, "after": after, "refusal": str(error)}
    return {"before": before, "after": after, "refusal": ""}


def run_process(number: int, folder: str, port: int) -> None:
    """What one of two processes does."""
    torch.set_num_threads(1)
    join_as(number, 2, port)
    with joined_ranks() as ranks:
        found = {**train_all(ranks, folder), "start and refusal": start_and_refusal(ranks)}
        torch.save(found, Path(folder) / f"{number}.pt")
        ranks.share()


if __name__ == "__main__":
    register_data_sets()
    torch.multiprocessing.start_processes(run_process, (sys.argv[1], free_ports()), 2, start_method="fork")
